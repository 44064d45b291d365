"""Darcy flow: manufactured and published solutions, order, an independent scheme, bad input."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import diags
from scipy.sparse.linalg import spsolve
from tolerances import assert_close

from monarch_sciml.solvers import Darcy2d, cosine_random_field


def mesh(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(0, 1, n, dtype=torch.float64)
    return torch.meshgrid(x, x, indexing="ij")


def centres(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = (torch.arange(n - 1, dtype=torch.float64) + 0.5) / (n - 1)
    return torch.meshgrid(x, x, indexing="ij")


def manufactured(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u = sin πx sin 2πy, a = 2 + x + cos(πy)/2: exact u, f at the nodes, a in the cells."""
    x, y = mesh(n)
    p, s, c = math.pi, torch.sin, torch.cos
    u = s(p * x) * s(2 * p * y)
    a, a_x, a_y = 2 + x + c(p * y) / 2, 1.0, -p * s(p * y) / 2
    u_x, u_y = p * c(p * x) * s(2 * p * y), 2 * p * s(p * x) * c(2 * p * y)
    f = 5 * p**2 * a * u - a_x * u_x - a_y * u_y
    x, y = centres(n)
    return u, f, 2 + x + c(p * y) / 2


def two_phase(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    psi = cosine_random_field(1, (2 * n - 1, 2 * n - 1), generator=generator)
    return torch.where(psi[:, 1::2, 1::2] >= 0, 12.0, 4.0).double()


class TestExactSolutions:
    def test_order_two(self):
        errors = []
        for n in (17, 33, 65):
            u, f, a = manufactured(n)
            found = Darcy2d(n).solve(a[None], forcing=f)[0]
            errors.append(float((found - u).abs().max()))
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.all((orders > 1.95) & (orders < 2.1)), orders
        assert errors[-1] < 2e-3

    def test_torsion_of_a_square(self):
        """a = 1, f = 1: the series of Timoshenko and Goodier, 0.0736714 at the centre."""
        u = Darcy2d(65).solve(torch.ones(1, 64, 64))[0]
        k = torch.arange(1, 60, 2, dtype=torch.float64)
        terms = (-1) ** ((k - 1) / 2) / (k**3 * torch.cosh(k * math.pi / 2))
        centre = 1 / 8 - 4 / math.pi**3 * terms.sum()
        assert float(centre) == pytest.approx(0.07367135, abs=1e-7)
        assert float(u[32, 32]) == pytest.approx(float(centre), rel=5e-4)

    def test_layers_in_series(self):
        """Where a jumps along x the flux a u_x goes on."""
        n = 65
        x, _ = centres(n)
        a = torch.where(x < 0.5, 12.0, 4.0)
        u = Darcy2d(n).solve(a[None])[0]
        h = 1 / (n - 1)
        left = 12 * (3 * u[32] - 4 * u[31] + u[30]) / (2 * h)
        right = 4 * (-3 * u[32] + 4 * u[33] - u[34]) / (2 * h)
        assert torch.allclose(left[8:-8], right[8:-8], rtol=0.01, atol=1e-3)

    def test_scaling_and_walls(self):
        a = two_phase(33)
        solver = Darcy2d(33)
        u = solver.solve(a)
        assert torch.allclose(solver.solve(3 * a, forcing=6.0), 2 * u, rtol=1e-8)
        for edge in (u[:, 0], u[:, -1], u[:, :, 0], u[:, :, -1]):
            assert torch.equal(edge, torch.zeros_like(edge))
        assert (u[:, 1:-1, 1:-1] > 0).all()  # the maximum principle

    def test_transposed_and_mirrored(self):
        a, solver = two_phase(33, seed=3), Darcy2d(33)
        u = solver.solve(a)
        assert_close(solver.solve(a.mT), u.mT, relative=1e-09)
        assert_close(solver.solve(a.flip(1)), u.flip(1), relative=1e-09)


def finite_volumes(a: np.ndarray, n: int) -> np.ndarray:
    """Vertex-centred finite volumes, another scheme: face coefficients are means of two cells."""
    padded = np.pad(a, 1, mode="edge")
    along_x = (padded[1:-1, :-1] + padded[1:-1, 1:]) / 2  # between [i, j] and [i+1, j]
    along_y = (padded[:-1, 1:-1] + padded[1:, 1:-1]) / 2
    inner = np.arange((n - 2) ** 2).reshape(n - 2, n - 2)
    east, north = along_x[1:, 1:-1], along_y[1:-1, 1:]
    west, south = along_x[:-1, 1:-1], along_y[1:-1, :-1]
    centre = (east + west + north + south).ravel()
    off_x = -east.ravel()[: -(n - 2)]
    off_y = (-north * (np.arange(n - 2) < n - 3)).ravel()[:-1]
    matrix = diags([centre, off_x, off_x, off_y, off_y], [0, n - 2, 2 - n, 1, -1], format="csc")
    u = np.zeros((n, n))
    u[1:-1, 1:-1] = spsolve(matrix, np.full(inner.size, 1 / (n - 1) ** 2)).reshape(inner.shape)
    return u


class TestTwoPhases:
    def test_agrees_with_finite_volumes(self):
        n = 97
        a = two_phase(n)
        theirs = finite_volumes(a[0].numpy(), n)
        ours = Darcy2d(n).solve(a)[0].numpy()
        assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 3e-3

    @pytest.mark.parametrize("seed", [0, 1])
    def test_converges_to_a_fine_grid(self, seed):
        exact = Darcy2d(257).solve(two_phase(257, seed))[0]
        errors = []
        for n, step in ((33, 8), (65, 4), (129, 2)):
            u = Darcy2d(n).solve(two_phase(n, seed))[0]
            errors.append(float((u - exact[::step, ::step]).norm() / exact[::step, ::step].norm()))
        assert errors[1] < 8e-3
        assert errors[2] < 4e-3
        assert errors[2] < errors[1] < errors[0]

    def test_batch_equals_single_samples(self):
        solver = Darcy2d(17)
        a = torch.cat([two_phase(17, seed) for seed in range(3)])
        together = solver.solve(a)
        alone = torch.cat([solver.solve(one[None]) for one in a])
        assert torch.equal(together, alone)

    def test_high_contrast(self):
        a = torch.where(two_phase(33) > 8, 1e4, 1.0)
        u = Darcy2d(33).solve(a)[0].numpy()
        direct = finite_volumes(a[0].numpy(), 33)
        assert np.linalg.norm(u - direct) / np.linalg.norm(direct) < 0.06
        assert np.isfinite(u).all()


class TestBadInput:
    @pytest.mark.parametrize(
        ("coefficient", "match"),
        [
            (torch.ones(8, 8), r"shape \(n_samples, 8, 8\)"),
            (torch.ones(1, 9, 9), "shape"),
            (torch.zeros(1, 8, 8), "positive"),
            (torch.full((1, 8, 8), math.nan), "finite"),
        ],
    )
    def test_coefficient(self, coefficient, match):
        with pytest.raises(ValueError, match=match):
            Darcy2d(9).solve(coefficient)

    def test_forcing(self):
        with pytest.raises(ValueError, match="forcing"):
            Darcy2d(9).solve(torch.ones(1, 8, 8), forcing=torch.ones(8, 8))
        with pytest.raises(ValueError, match="forcing"):
            Darcy2d(9).solve(torch.ones(1, 8, 8), forcing=math.inf)

    def test_points(self):
        with pytest.raises(ValueError, match="n_points"):
            Darcy2d(2)
