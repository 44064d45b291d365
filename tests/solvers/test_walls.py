"""Waves, advection and diffusion between walls: exact modes, finite differences, random series."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.fft import dstn
from scipy.integrate import solve_ivp
from tolerances import assert_close

from monarch_sciml.solvers.advection_diffusion import AdvectionDiffusion
from monarch_sciml.solvers.random_series import evaluate_series, random_sine_series
from monarch_sciml.solvers.wave import solve_wave


def even(n):
    return torch.linspace(0.0, 1.0, n, dtype=torch.float64)


def draw(*modes, seed=0, alpha=2.5):
    return random_sine_series(modes, alpha=alpha, tau=7.0, rng=np.random.default_rng(seed))


class TestRandomSeries:
    def test_evaluation_is_the_discrete_sine_transform_of_scipy(self):
        a = draw(6, 9)
        inner = evaluate_series(a, [even(12), even(17)])[1:-1, 1:-1]
        padded = torch.zeros(10, 15, dtype=torch.float64)
        padded[:6, :9] = a
        assert_close(inner, dstn(padded.numpy(), type=1) / 4, relative=1e-09)

    def test_walls_are_zero_exactly(self):
        values = evaluate_series(draw(20, 20), [even(33)] * 2)
        walls = torch.cat([values[0], values[-1], values[:, 0], values[:, -1]])
        assert torch.equal(walls, torch.zeros_like(walls))

    def test_cosines_by_hand(self):
        a = torch.tensor([[0.5, -2.0]], dtype=torch.float64)
        x = torch.tensor([0.1, 0.7])
        wanted = 0.5 * torch.cos(math.pi * x.double()) - 2 * torch.cos(2 * math.pi * x.double())
        assert torch.allclose(evaluate_series(a, [x], kind="cosine")[0], wanted)

    def test_three_axes_by_hand(self):
        a = torch.randn(2, 3, 4, 2, dtype=torch.float64)
        x, y, z = even(5), even(6), even(7)
        waves = [torch.sin(math.pi * torch.outer(p, torch.arange(1, m + 1))) for p, m in
                 ((x, 3), (y, 4), (z, 2))]  # fmt: skip
        wanted = torch.einsum("bijk,xi,yj,zk->bxyz", a, *waves)
        assert_close(evaluate_series(a, [x, y, z]), wanted, relative=1e-09)

    @pytest.mark.parametrize("modes", [(12,), (8, 8)])
    def test_spectrum_and_mean_square(self, modes):
        rng = np.random.default_rng(1)
        draws = torch.stack(
            [random_sine_series(modes, alpha=2.0, tau=3.0, rng=rng) for _ in range(4000)]
        )
        axes = torch.meshgrid(*[torch.arange(1.0, m + 1) for m in modes], indexing="ij")
        expected = (math.pi**2 * sum(m**2 for m in axes) + 9) ** -2.0
        expected *= 2 ** len(modes) / expected.sum()  # a sine has mean square 1/2
        ratio = draws.square().mean(dim=0) / expected
        assert ratio.mean() == pytest.approx(1.0, abs=0.02)
        assert ratio.min() > 0.85 and ratio.max() < 1.15

    def test_errors(self):
        with pytest.raises(ValueError, match="an axis for each of the 2"):
            evaluate_series(torch.ones(3), [even(3)] * 2)
        with pytest.raises(ValueError, match="'sine', 'cosine'"):
            evaluate_series(torch.ones(3), [even(3)], kind="tan")
        with pytest.raises(ValueError, match="n_modes"):
            draw(0)


class TestWave:
    def test_one_mode(self):
        a = torch.zeros(1, 3, 3, dtype=torch.float64)
        a[0, 2, 1] = 2.0
        x, y = even(9), even(11)
        fields, times = solve_wave(a, [x, y], speed=1.5, record_times=[0.0, 0.2, 0.9])
        shape = torch.outer(torch.sin(3 * math.pi * x), torch.sin(2 * math.pi * y))
        omega = 1.5 * math.pi * math.sqrt(13)
        for t, frame in zip(times.tolist(), fields[0], strict=True):
            assert_close(frame[0], 2 * math.cos(omega * t) * shape, relative=1e-09)
            assert_close(frame[1], -2 * omega * math.sin(omega * t) * shape, relative=1e-09)

    def test_leapfrog_converges_to_it_with_second_order(self):
        a = draw(4, 4, alpha=3.0)[None]
        errors = []
        for n in (17, 33, 65):
            exact, _ = solve_wave(a, [even(n)] * 2, speed=1.0, t_end=0.5)
            u = solve_wave(a, [even(n)] * 2, speed=1.0, record_times=[0.0])[0][0, 0, 0]
            steps = n - 1  # dt = h / 2
            previous, now = None, u
            for _ in range(steps):
                change = torch.zeros_like(now)
                change[1:-1, 1:-1] = 0.25 * (
                    now[2:, 1:-1] + now[:-2, 1:-1] + now[1:-1, 2:] + now[1:-1, :-2]
                    - 4 * now[1:-1, 1:-1]
                )  # fmt: skip
                following = now + change / 2 if previous is None else 2 * now - previous + change
                previous, now = now, following
            errors.append(float((now - exact[0, 0, 0]).norm() / exact[0, 0, 0].norm()))
        orders = [math.log2(p / q) for p, q in pairwise(errors)]
        assert all(1.8 < order < 2.2 for order in orders)

    def test_energy_is_kept(self):
        a, n = draw(5, 5)[None], 41
        fields, _ = solve_wave(a, [even(n)] * 2, speed=2.0, record_times=[0.0, 0.37, 1.1])
        u, velocity = fields[0, :, 0], fields[0, :, 1]
        # sums over the grid are exact for these modes; the gradient by the sine coefficients
        spectrum = torch.from_numpy(dstn(u[:, 1:-1, 1:-1].numpy(), type=1, axes=(1, 2)))
        m = torch.arange(1, n - 1, dtype=torch.float64)
        squared = m[:, None] ** 2 + m[None, :] ** 2
        gradient = (math.pi**2 * squared * (spectrum / (n - 1) ** 2).square()).sum((1, 2)) / 4
        kinetic = velocity.square().sum((1, 2)) / (n - 1) ** 2
        energy = kinetic + 4.0 * gradient
        assert torch.allclose(energy, energy[:1].expand(3), rtol=1e-10)
        assert kinetic[0] == 0 and kinetic[1] > 0.1 * energy[1]

    def test_one_axis(self):
        fields, _ = solve_wave(draw(8)[None], [even(9)], speed=1.0, t_end=2.0)
        start, _ = solve_wave(draw(8)[None], [even(9)], speed=1.0, record_times=[0.0])
        assert_close(fields[:, 0, 0], start[:, 0, 0], relative=1e-09)  # a string has period 2

    def test_errors(self):
        with pytest.raises(ValueError, match=r"each of 2 `points`, got \(1, 3\)"):
            solve_wave(torch.ones(1, 3), [even(3)] * 2, speed=1.0, t_end=1.0)
        with pytest.raises(ValueError, match="speed"):
            solve_wave(torch.ones(1, 3), [even(3)], speed=0.0, t_end=1.0)


class TestAdvectionDiffusion:
    @pytest.mark.parametrize(("c", "kappa"), [(1.0, 0.1), (1.0, 0.01), (-2.0, 0.02)])
    def test_exact_modes_with_boundary_layer(self, c, kappa):
        """e^{c x / 2κ} sin(nπx) decays at the rate κ n² π² + c² / 4κ."""
        solver = AdvectionDiffusion(80, velocity=(c,), diffusivity=kappa)
        x, wall = solver.points, 1.0 if c > 0 else 0.0
        u0 = torch.exp(c * (x - wall) / (2 * kappa)) * torch.sin(3 * math.pi * x)
        u, times = solver.solve(u0[None], record_times=[0.02, 0.05, 0.08])
        for t, frame in zip(times.tolist(), u[0], strict=True):
            decay = math.exp(-(kappa * 9 * math.pi**2 + c**2 / (4 * kappa)) * t)
            assert (frame - decay * u0).abs().max() < 1e-8 * u0.abs().max()

    def test_exact_mode_in_two_dimensions(self):
        solver = AdvectionDiffusion(48, velocity=(1.0, -0.5), diffusivity=0.05)
        x, y = solver.points[:, None], solver.points[None, :]
        u0 = torch.exp(10 * (x - 1) - 5 * y) * torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
        u, _ = solver.solve(u0[None], t_end=0.3)
        decay = math.exp(-0.3 * (0.05 * 5 * math.pi**2 + 1.25 / 0.2))
        assert (u[0, 0] - decay * u0).abs().max() < 1e-9

    def test_spectral_in_space(self):
        coarse_to_fine = []
        for n in (16, 19, 22):
            solver = AdvectionDiffusion(n, velocity=(1.0,), diffusivity=0.04)
            u, _ = solver.solve(torch.sin(math.pi * solver.points)[None], t_end=0.6)
            coarse_to_fine.append(solver.interpolation(even(41)) @ u[0, 0])
        solver = AdvectionDiffusion(96, velocity=(1.0,), diffusivity=0.04)
        u, _ = solver.solve(torch.sin(math.pi * solver.points)[None], t_end=0.6)
        exact = solver.interpolation(even(41)) @ u[0, 0]
        errors = [float((v - exact).norm() / exact.norm()) for v in coarse_to_fine]
        assert errors[0] > 30 * errors[1] > 900 * errors[2]

    def test_agrees_with_finite_differences_of_scipy(self):
        c, kappa = 1.0, 0.02
        solver = AdvectionDiffusion(64, velocity=(c,), diffusivity=kappa)
        a = draw(6)
        u, _ = solver.solve(evaluate_series(a, [solver.points])[None], t_end=0.2)
        found = []
        for n in (400, 800):
            h = 1 / n

            def slope(_, v, h=h):
                wide = np.concatenate([[0.0], v, [0.0]])
                diffusion = kappa * (wide[2:] - 2 * v + wide[:-2]) / h**2
                return diffusion - c * (wide[2:] - wide[:-2]) / (2 * h)

            start = evaluate_series(a, [even(n + 1)])[1:-1].numpy()
            options = {"lband": 1, "uband": 1, "rtol": 1e-9, "atol": 1e-11}
            found.append(solve_ivp(slope, (0, 0.2), start, "LSODA", **options).y[:, -1])
        extrapolated = found[1][1::2] + (found[1][1::2] - found[0]) / 3
        ours = (solver.interpolation(even(401)) @ u[0, 0])[1:-1].numpy()
        assert np.linalg.norm(ours - extrapolated) < 1e-5 * np.linalg.norm(ours)
        assert ours[-8] > 0.5 * abs(ours).max()  # the layer: from there it falls to zero

    def test_walls_absorb_and_records_may_be_uneven(self):
        solver = AdvectionDiffusion(24, velocity=(1.0, 0.5), diffusivity=0.1)
        start = evaluate_series(draw(4, 4), [solver.points] * 2)[None]
        u, _ = solver.solve(start, record_times=[0.0, 0.1, 0.3, 0.4])
        direct, _ = solver.solve(start, t_end=0.4)
        assert torch.equal(u[:, 0], start)
        assert_close(u[:, -1], direct[:, 0], relative=1e-09)
        assert u[:, 1:, [0, -1]].abs().max() == 0 and u[:, 1:, :, [0, -1]].abs().max() == 0

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"velocity": ()}, "one or two"),
            ({"velocity": (1.0, 1.0, 1.0)}, "one or two"),
            ({"velocity": (float("inf"),)}, "finite"),
            ({"diffusivity": 0.0}, "diffusivity"),
            ({"diffusivity": 1e-3}, "16 nodes must resolve .* got 0.001. Take 100 nodes"),
            ({"n_points": 3}, "n_points"),
            ({"u0": torch.zeros(1, 8)}, r"shape \(n_samples, 16\)"),
            ({"u0": torch.full((1, 16), float("nan"))}, "finite"),
        ],
    )
    def test_errors(self, change, match):
        options = {"n_points": 16, "velocity": (1.0,), "diffusivity": 0.2, **change}
        u0 = options.pop("u0", torch.zeros(1, 16))
        with pytest.raises(ValueError, match=match):
            AdvectionDiffusion(options.pop("n_points"), **options).solve(u0, t_end=1.0)
