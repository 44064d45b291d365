"""Waves in a medium: exact and manufactured solutions, orders, interfaces, another scheme."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from monarch_sciml.solvers.spectral_elements import SpectralElements
from monarch_sciml.solvers.wave_in_medium import WaveInMedium

TAU = 2 * math.pi


def uneven(*x):
    """A smooth periodic speed on one or two axes."""
    waves = [torch.sin(TAU * points) for points in x]
    product = waves[0] if len(x) == 1 else waves[0][:, None] + waves[1].square()
    return torch.exp(0.3 * product)


def even(*x):
    return torch.ones([len(points) for points in x])


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def orders(errors):
    return [math.log2(a / b) for a, b in pairwise(errors)]


class TestElements:
    @pytest.mark.parametrize("periodic", [False, True])
    def test_derivative_quadrature_and_interpolation(self, periodic):
        axis = SpectralElements(12, degree=6, periodic=periodic)
        x, local = axis.points, axis.local_points
        wave, slope = np.sin(TAU * x), TAU * np.cos(TAU * local)
        assert np.abs(axis.derivative @ wave - slope).max() < 1e-4
        assert axis.weights @ wave**2 == pytest.approx(0.5, rel=1e-8)
        points = np.array([0.0, 0.123, 0.5, 1.0])
        assert np.abs(axis.interpolation(points) @ wave - np.sin(TAU * points)).max() < 1e-5
        assert np.allclose(axis.sharing @ x**0, 1.0)

    @pytest.mark.parametrize("periodic", [False, True])
    def test_bound_of_the_eigenvalues(self, periodic):
        axis = SpectralElements(5, degree=4, periodic=periodic)
        gradient = axis.derivative.toarray()
        stiffness = gradient.T @ (axis.local_weights[:, None] * gradient)
        largest = np.linalg.eigvals(stiffness / axis.weights[:, None]).real.max()
        assert 0.5 * axis.largest_eigenvalue < largest <= axis.largest_eigenvalue * (1 + 1e-9)

    def test_points_outside(self):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            SpectralElements(2, degree=2, periodic=True).interpolation(np.array([1.5]))


class TestExact:
    def test_standing_wave_in_the_square(self):
        omega, errors = TAU * math.sqrt(5), []
        for n in (32, 64):
            solver = WaveInMedium(n, even, n_dims=2)
            x = solver.points
            shape = torch.cos(2 * TAU * x)[:, None] * torch.sin(TAU * x)
            fields, times = solver.solve(shape[None], record_times=[0.0, 0.3])
            assert torch.equal(fields[0, 0, 0], shape) and times.tolist() == [0.0, 0.3]
            errors.append(relative(fields[0, 1, 0], math.cos(0.3 * omega) * shape))
            velocity = -omega * math.sin(0.3 * omega) * shape
            assert relative(fields[0, 1, 1], velocity) < 30 * errors[-1]
        assert min(orders(errors)) > 3.6 and errors[-1] < 1e-4

    @pytest.mark.parametrize("sides", ["periodic", "dirichlet"])
    def test_manufactured_solution_in_two_dimensions(self, sides):
        """u = cos(t) sin(2πx) sin(2πy) under the force that this needs, with the cubic term."""

        def space(x, y):
            return torch.sin(TAU * x)[:, None] * torch.sin(TAU * y)

        def c_squared(x, y):
            return uneven(x, y).square()

        def force(x):
            u, c2 = space(x, x), c_squared(x, x)
            dx = TAU * torch.cos(TAU * x)[:, None] * torch.sin(TAU * x)
            dy = TAU * torch.sin(TAU * x)[:, None] * torch.cos(TAU * x)
            # c² = exp(0.6 (sin 2πx + sin² 2πy))
            slope_x = 0.6 * TAU * torch.cos(TAU * x)[:, None] * c2
            slope_y = 0.6 * 2 * TAU * (torch.sin(TAU * x) * torch.cos(TAU * x)) * c2
            stretched = slope_x * dx + slope_y * dy - 2 * TAU**2 * c2 * u
            return lambda t: -math.cos(t) * (u + stretched) + 5 * (math.cos(t) * u) ** 3

        errors = []
        for n in (16, 32, 64):
            solver = WaveInMedium(n, uneven, n_dims=2, sides=sides, cubic=5.0)
            x = solver.points
            fields, _ = solver.solve(space(x, x)[None], t_end=0.5, force=force(x))
            errors.append(relative(fields[0, 0, 0], math.cos(0.5) * space(x, x)))
        assert min(orders(errors)) > 3.5 and errors[-1] < 1e-4

    def test_layer_reflects_and_transmits_as_the_impedances_say(self):
        """A pulse to the right at c = 1 meets c = 2 at x = 1/2: R = −1/3, T = 2/3."""
        solver = WaveInMedium(
            256,
            lambda x: torch.where(x < 0.5, 1.0, 2.0).double(),
            n_dims=1,
            sides="absorbing",
        )
        x = solver.points

        def pulse(s):
            return torch.exp(-(((s - 0.3) / 0.03) ** 2))

        velocity = 2 * (x - 0.3) / 0.03**2 * pulse(x)  # −c u_x: to the right
        fields, _ = solver.solve(pulse(x)[None], velocity[None], t_end=0.35)
        left = pulse(x - 0.35) - pulse(1 - x - 0.35) / 3
        right = 2 / 3 * pulse(0.5 + (x - 0.5) / 2 - 0.35)
        assert relative(fields[0, 0, 0], torch.where(x < 0.5, left, right)) < 1e-3

    @pytest.mark.parametrize("n_dims", [1, 2])
    def test_absorbing_sides_let_waves_out(self, n_dims):
        solver = WaveInMedium(48, even, n_dims=n_dims, sides="absorbing")
        pulse = torch.exp(-(((solver.points - 0.5) / 0.1) ** 2))
        u0 = pulse if n_dims == 1 else pulse[:, None] * pulse
        fields, _ = solver.solve(u0[None], record_times=[0.0, 1.5])
        energy = solver.energy(fields)[0]
        # the condition is exact at right angles; obliquely a part comes back
        assert energy[1] < (1e-6 if n_dims == 1 else 2e-2) * energy[0]


class TestAgainstOthers:
    def test_finite_differences_converge_to_it_with_second_order(self):
        def finite_differences(n):
            x = torch.arange(n, dtype=torch.float64) / n
            c2 = uneven(x + 0.5 / n).square()  # between x_i and x_i+1
            dt, u = 0.5 / n, torch.cos(TAU * x)
            previous, steps = None, n  # to t = 0.5
            for _ in range(steps):
                flux = c2 * (u.roll(-1) - u) * n
                change = dt**2 * ((flux - flux.roll(1)) * n - 5 * u**3)
                u, previous = (u + change / 2 if previous is None else 2 * u - previous + change), u
            return u

        solver = WaveInMedium(128, uneven, n_dims=1, cubic=5.0)
        fields, _ = solver.solve(torch.cos(TAU * solver.points)[None], t_end=0.5)
        errors = []
        for n in (64, 128, 256):
            x = torch.arange(n, dtype=torch.float64) / n
            wanted = solver.interpolation(x) @ fields[0, 0, 0]
            errors.append(relative(finite_differences(n), wanted))
        assert all(1.8 < order < 2.2 for order in orders(errors))

    @pytest.mark.parametrize("sides", ["periodic", "dirichlet"])
    def test_energy_is_kept(self, sides):
        solver = WaveInMedium(24, uneven, n_dims=2, sides=sides, cubic=5.0)
        x = solver.points
        u0 = torch.sin(TAU * x)[:, None] * torch.sin(TAU * x)
        fields, _ = solver.solve(torch.stack([u0, 2 * u0]), record_times=[0.0, 0.3, 0.6])
        energy = solver.energy(fields)
        assert energy.shape == (2, 3)
        torch.testing.assert_close(energy, energy[:, :1].expand(2, 3), rtol=1e-3, atol=0.0)
        assert fields[0, 2, 1].norm() > fields[0, 0, 0].norm()  # it moves

    def test_samples_do_not_depend_on_their_neighbours(self):
        solver = WaveInMedium(16, uneven, n_dims=2, cubic=1.0)
        u0 = torch.randn(3, 16, 16, dtype=torch.float64, generator=torch.manual_seed(0))
        dt = solver.largest_dt / 4  # noise has waves that longer steps damp
        together, _ = solver.solve(u0, dt=dt, t_end=0.1)
        alone, _ = solver.solve(u0[1:2], dt=dt, t_end=0.1)
        assert torch.equal(together[1:2], alone)

    def test_steps_that_lose_energy_are_refused(self):
        solver = WaveInMedium(128, even, n_dims=1, cubic=1e4)
        u0 = 1.5 * torch.cos(TAU * solver.points)[None]
        with pytest.raises(ValueError, match=r"within 2 %, got a change of 28 % .* smaller `dt`"):
            solver.solve(u0, t_end=0.5, n_record=4)
        fields, _ = solver.solve(u0, dt=solver.largest_dt / 4, t_end=0.5, n_record=4)
        energy = solver.energy(fields)
        assert float((energy / energy[:, :1] - 1).abs().max()) < 0.02


class TestEigenfunctions:
    def test_homogeneous_square(self):
        """sin(πjx) sin(πky), ω = π c √(j² + k²), between Dirichlet sides."""
        solver = WaveInMedium(24, lambda *x: 2 * even(*x), n_dims=2, sides="dirichlet")
        frequencies, functions = solver.eigenfunctions(6)
        wanted = 2 * math.pi * torch.tensor([2.0, 5.0, 5.0, 8.0, 10.0, 10.0]).sqrt()
        torch.testing.assert_close(frequencies, wanted.double(), rtol=1e-4, atol=0)
        first = 2 * torch.sin(math.pi * solver.points)[:, None] * torch.sin(math.pi * solver.points)
        torch.testing.assert_close(functions[0].abs(), first, rtol=0, atol=1e-3)

    def test_they_swing_in_an_uneven_medium(self):
        solver = WaveInMedium(64, uneven, n_dims=1)
        frequencies, functions = solver.eigenfunctions(6)
        fields, _ = solver.solve(functions, t_end=0.4)
        wanted = torch.cos(0.4 * frequencies)[:, None] * functions
        assert frequencies[0] < 1e-3  # the constant of a periodic medium
        torch.testing.assert_close(fields[:, 0, 0], wanted, rtol=0, atol=1e-3)

    def test_errors(self):
        with pytest.raises(ValueError, match="below the 16 nodes"):
            WaveInMedium(16, even, n_dims=1).eigenfunctions(16)
        with pytest.raises(ValueError, match="must not absorb, got 2 with absorbing"):
            WaveInMedium(16, even, n_dims=1, sides="absorbing").eigenfunctions(2)


class TestErrors:
    def test_stable_up_to_the_largest_step_and_refused_beyond(self):
        solver = WaveInMedium(32, uneven, n_dims=2)
        u0 = torch.randn(1, 32, 32, dtype=torch.float64, generator=torch.manual_seed(0))
        fields, _ = solver.solve(u0, dt=solver.largest_dt, t_end=200 * solver.largest_dt)
        assert solver.energy(fields) < 1.01 * solver.energy(torch.stack([u0, 0 * u0], 1)[None])
        with pytest.raises(ValueError, match="`dt` must be at most"):
            solver.solve(u0, dt=1.01 * solver.largest_dt, t_end=1.0)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"n_points": 18}, "multiple of 4, got 18. Take 20"),
            ({"n_points": 4}, "at least 8"),
            ({"n_dims": 3}, "`n_dims`"),
            ({"sides": "open"}, "`sides`"),
            ({"cubic": -1.0}, "`cubic`"),
            ({"speed": lambda x: x - 0.5}, "positive and finite everywhere, got 20 other values"),
            ({"speed": lambda x: x.sqrt() * math.nan}, "positive and finite"),
            ({"speed": lambda x: torch.ones(3)}, "tensor grid"),
        ],
    )
    def test_arguments(self, change, match):
        with pytest.raises(ValueError, match=match):
            WaveInMedium(**{"n_points": 32, "speed": even, "n_dims": 1, **change})

    def test_fields(self):
        solver = WaveInMedium(16, even, n_dims=1)
        with pytest.raises(ValueError, match=r"`u0` must have shape \(n_samples, 16\)"):
            solver.solve(torch.zeros(1, 15), t_end=1.0)
        with pytest.raises(ValueError, match="`velocity`"):
            solver.solve(torch.zeros(2, 16), torch.zeros(1, 16), t_end=1.0)
        with pytest.raises(ValueError, match="finite"):
            solver.solve(torch.full((1, 16), math.nan), t_end=1.0)
