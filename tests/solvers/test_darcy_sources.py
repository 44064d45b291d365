"""Flow to wells in one rock: a manufactured solution, another scheme, conservation, refusals."""

import math
from itertools import pairwise

import numpy as np
import pytest
import skfem
import torch
from skfem.helpers import dot, grad
from tolerances import assert_close

from monarch_sciml.solvers.darcy_sources import DarcySources


def rock(x, y):
    return torch.exp(torch.sin(2 * x)[:, None] * torch.cos(3 * y))


class TestManufactured:
    """u = cos(x + 1/2) cos(πy): no flow through y = 0 and y = 1, any pressure at the sides."""

    beta = 2.0

    def pressure(self, x):
        return torch.cos(x + 0.5)[:, None] * torch.cos(math.pi * x)

    def source(self, x):
        """−∇·(k (1 + β u²) ∇u) by torch's derivatives."""
        grid = torch.meshgrid(x, x, indexing="ij")
        a, b = (axis.clone().requires_grad_() for axis in grid)
        u = torch.cos(a + 0.5) * torch.cos(math.pi * b)
        k = torch.exp(torch.sin(2 * a) * torch.cos(3 * b)) * (1 + self.beta * u**2)
        slopes = torch.autograd.grad(u.sum(), (a, b), create_graph=True)
        terms = [
            torch.autograd.grad((k * slope).sum(), axis, retain_graph=True)[0]
            for slope, axis in zip(slopes, (a, b), strict=True)
        ]
        return -sum(terms)

    def test_order(self):
        errors = []
        for n in (9, 17, 33):
            solver = DarcySources(n, rock, nonlinearity=self.beta)
            exact = self.pressure(solver.points)
            sides = torch.stack([exact[0], exact[-1]])[None]
            found = solver.solve(self.source(solver.points)[None], sides)[0]
            errors.append(float((found - exact).norm() / exact.norm()))
        assert all(math.log2(a / b) > 3.5 for a, b in pairwise(errors)) and errors[-1] < 1e-5


def test_newton_on_finite_elements_finds_the_same_flow():
    """scikit-fem's quadratic elements with Newton's method on the equation as it is written."""
    beta, n = 3.0, 17
    solver = DarcySources(n, rock, nonlinearity=beta)
    y = solver.points
    source = 20 * torch.exp(-((y[:, None] - 0.4) ** 2 + (y - 0.6) ** 2) / 0.02)
    sides = torch.stack([torch.cos(math.pi * y), -0.5 * torch.ones(n)])[None]
    found = solver.solve(source[None], sides)[0]

    line = np.linspace(0, 1, 33)
    basis = skfem.Basis(skfem.MeshQuad.init_tensor(line, line), skfem.ElementQuad2(), intorder=6)

    def k(x):
        return np.exp(np.sin(2 * x[0]) * np.cos(3 * x[1]))

    @skfem.BilinearForm
    def jacobian(u, v, w):
        p = w["p"]
        return k(w.x) * ((1 + beta * p**2) * dot(grad(u), grad(v))
                         + 2 * beta * p * u * dot(grad(p), grad(v)))  # fmt: skip

    @skfem.LinearForm
    def residual(v, w):
        p = w["p"]
        f = 20 * np.exp(-((w.x[0] - 0.4) ** 2 + (w.x[1] - 0.6) ** 2) / 0.02)
        return f * v - k(w.x) * (1 + beta * p**2) * dot(grad(p), grad(v))

    places = basis.doflocs
    held = np.flatnonzero((places[0] == 0) | (places[0] == 1))
    p = np.zeros(basis.N)
    p[held] = np.where(places[0] == 0, np.cos(math.pi * places[1]), -0.5)[held]
    for _ in range(12):
        state = {"p": basis.interpolate(p)}
        matrix, right = jacobian.assemble(basis, **state), residual.assemble(basis, **state)
        p += skfem.solve(*skfem.condense(matrix, right, D=held))
    at = np.array(np.meshgrid(line[::4], line[::4], indexing="ij")).reshape(2, -1)
    wanted = (basis.probes(at) @ p).reshape(9, 9)
    to_points = solver.interpolation(torch.from_numpy(line[::4]))
    error = (to_points @ found @ to_points.T).numpy() - wanted
    assert np.abs(error).max() < 2e-3 * np.abs(wanted).max()


def test_without_wells_in_a_homogeneous_rock_the_pressure_is_known():
    """β = 0: a straight line. β > 0: u + β u³ / 3 is a straight line."""
    for beta in (0.0, 4.0):
        solver = DarcySources(9, lambda x, y: torch.ones(len(x), len(y)), nonlinearity=beta)
        sides = torch.tensor([1.0, -0.5])[:, None].expand(1, 2, 9)
        u = solver.solve(torch.zeros(1, 9, 9), sides)[0]
        v = u + beta * u**3 / 3
        line = v[:1] + (v[-1:] - v[:1]) * solver.points[:, None]
        assert_close(v, line, relative=1e-12)
        assert torch.equal(u[0], torch.ones(9, dtype=torch.float64))


def test_samples_do_not_depend_on_their_neighbours():
    solver = DarcySources(9, rock, nonlinearity=1.0)
    generator = torch.manual_seed(0)
    source, sides = torch.randn(3, 9, 9, generator=generator), torch.randn(3, 2, 9)
    together = solver.solve(source, sides)
    assert torch.equal(together[1:2], solver.solve(source[1:2], sides[1:2]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_points": 18}, "one more than a multiple of 4, got 18. Take 21"),
        ({"n_points": 5}, "at least 9"),
        ({"nonlinearity": -1.0}, "`nonlinearity`"),
        ({"permeability": lambda x, y: -rock(x, y)}, "permeability must be positive"),
        ({"permeability": lambda x, y: torch.ones(len(x))}, r"tensor grid .* got \(10,\)"),
    ],
)
def test_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        DarcySources(**{"n_points": 9, "permeability": rock, "nonlinearity": 1.0, **change})


def test_fields():
    solver = DarcySources(9, rock, nonlinearity=1.0)
    with pytest.raises(ValueError, match="`source` must have shape"):
        solver.solve(torch.zeros(1, 9, 8), torch.zeros(1, 2, 9))
    with pytest.raises(ValueError, match="`sides` must have shape"):
        solver.solve(torch.zeros(1, 9, 9), torch.zeros(2, 2, 9))
    with pytest.raises(ValueError, match="`source` must be finite"):
        solver.solve(torch.full((1, 9, 9), math.nan), torch.zeros(1, 2, 9))
