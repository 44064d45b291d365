"""Diffusion-reaction: manufactured solution, order, an independent solver, uniform fields."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from scipy.integrate import solve_ivp

from monarch_sciml.solvers.diffusion_reaction import DiffusionReaction2d

D, K = (1e-3, 5e-3), 5e-3


def noise(n, count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, n, n, generator=generator, dtype=torch.float64)


class TestManufactured:
    """u = e^{−t} cos πx cos 2πy, v = sin(t) cos 2πx cos πy: without flux at x, y = ±1."""

    D = (0.05, 0.1)

    def exact(self, x, y, t):
        c, pi = torch.cos, math.pi
        u = math.exp(-t) * c(pi * x) * c(2 * pi * y)
        return torch.stack([u, math.sin(t) * c(2 * pi * x) * c(pi * y)])

    def source(self, x, y, t):
        u, v = self.exact(x, y, t)
        change_u = -u
        change_v = math.cos(t) * torch.cos(2 * math.pi * x) * torch.cos(math.pi * y)
        five = 5 * math.pi**2  # −Δ of both
        first = change_u + self.D[0] * five * u - (u - u**3 - K - v)
        return torch.stack([first, change_v + self.D[1] * five * v - (u - v)])

    def error(self, n):
        solver = DiffusionReaction2d(n, diffusivity=self.D, rtol=1e-8, source=self.source)
        x, y = solver.points[:, None], solver.points[None, :]
        fields, _ = solver.solve(self.exact(x, y, 0.0)[None], t_end=0.5)
        return float((fields[0, 0] - self.exact(x, y, 0.5)).abs().max())

    def test_second_order(self):
        errors = [self.error(n) for n in (12, 24, 48)]
        orders = [math.log2(a / b) for a, b in pairwise(errors)]
        assert all(1.8 < order < 2.2 for order in orders)
        assert errors[-1] < 5e-3


def test_agrees_with_an_implicit_solver_on_a_sparse_matrix():
    n, start = 12, noise(12)
    line = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n)).tolil()
    line[0, 0] = line[-1, -1] = -1.0  # nothing passes the walls
    eye = sparse.identity(n)
    laplacian = (sparse.kron(line, eye) + sparse.kron(eye, line)).tocsr() * (n / 2) ** 2

    def slope(_, state):
        u, v = np.split(state, 2)
        return np.concatenate(
            [D[0] * (laplacian @ u) + u - u**3 - K - v, D[1] * (laplacian @ v) + u - v]
        )

    times = [0.5, 2.0, 5.0]
    theirs = solve_ivp(
        slope, (0, 5), start.numpy().ravel(), "LSODA", t_eval=times, rtol=1e-9, atol=1e-11
    )
    ours, recorded = DiffusionReaction2d(n).solve(start, record_times=times)
    assert recorded.tolist() == times
    wanted = torch.from_numpy(theirs.y.T.reshape(3, 2, n, n))
    assert (ours[0] - wanted).abs().max() < 1e-5
    assert (ours[0, -1] - start[0]).abs().max() > 1.0


def test_uniform_fields_follow_the_reaction_alone():
    start = torch.tensor([0.8, -0.3], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 6, 6)
    ours, _ = DiffusionReaction2d(6, threshold=0.1).solve(start, t_end=3.0)
    theirs = solve_ivp(
        lambda _, s: [s[0] - s[0] ** 3 - 0.1 - s[1], s[0] - s[1]], (0, 3), [0.8, -0.3],
        rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    assert np.allclose(ours[0, 0].flatten(1).T, theirs.y[:, -1], atol=1e-6)


def test_discrete_cosines_decay_at_their_own_rate():
    """The source takes the reaction back, so that v_t = Dv Δv stands alone."""
    n, rate = 16, 0.1
    mode = torch.cos(math.pi * (torch.arange(n) + 0.5) / n)[:, None].expand(n, n).double()
    decay = rate * (2 - 2 * math.cos(math.pi / n)) / (2 / n) ** 2

    def exact(t):
        return 1 + math.exp(-decay * t) * mode

    solver = DiffusionReaction2d(
        n,
        diffusivity=(0.0, rate),
        threshold=0.0,
        rtol=1e-9,
        source=lambda x, y, t: exact(t).expand(2, n, n),
    )
    start = torch.stack([torch.zeros_like(mode), exact(0.0)])[None]
    fields, _ = solver.solve(start, t_end=2.0)
    assert (fields[0, 0, 1] - exact(2.0)).abs().max() < 1e-7
    assert solver.points[0] == pytest.approx(-1 + 1 / n)


def test_samples_are_solved_on_their_own():
    start = noise(8, count=3)
    together, _ = DiffusionReaction2d(8).solve(start, t_end=1.0, n_record=2)
    alone, _ = DiffusionReaction2d(8).solve(start[1:2], t_end=1.0, n_record=2)
    assert torch.equal(together[1:2], alone)
    first, _ = DiffusionReaction2d(8).solve(start, record_times=[0.0, 1.0])
    assert torch.equal(first[:, 0], start)
    assert torch.equal(DiffusionReaction2d(8).solve(start, record_times=[0.0])[0][:, 0], start)


def test_progress_counts_samples(capsys):
    shares = []
    DiffusionReaction2d(4).solve(noise(4, count=4), t_end=0.1, progress=shares.append)
    assert shares == [0.25] * 4
    DiffusionReaction2d(4).solve(noise(4, count=4), t_end=0.1, progress=True)
    assert "4/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "start", "match"),
    [
        ({"diffusivity": (-1.0, 0.0)}, noise(4), "diffusivity"),
        ({"threshold": float("nan")}, noise(4), "threshold"),
        ({"rtol": 0.0}, noise(4), "rtol"),
        ({"domain_extent": 0.0}, noise(4), "domain_extent"),
        ({"n_cells": 1}, noise(4), "n_cells"),
        ({}, noise(5), r"shape \(n_samples, 2, 4, 4\)"),
        ({}, noise(4) * float("inf"), "finite"),
        ({}, noise(4) * 1e200, "stay finite, got NaN or infinity at t = 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_bad_input_is_one_line(options, start, match):
    with pytest.raises(ValueError, match=match) as caught:
        DiffusionReaction2d(**{"n_cells": 4, **options}).solve(start, t_end=1.0)
    assert "\n" not in str(caught.value)
