"""Burgers' equation: exact and manufactured solutions, orders, exponax, scipy, published data."""

import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.io import loadmat
from tolerances import GROWTH, assert_close

from monarch_sciml.solvers.burgers import BurgersNeumann, BurgersPeriodic
from monarch_sciml.solvers.legendre import differentiation, gauss_lobatto, interpolation

pytestmark = pytest.mark.usefixtures("one_thread")

SHOCK = Path(__file__).parents[2] / "../shared/pde/burgers_shock.mat"


def cole_hopf(x, t, viscosity, extent=1.0, amplitude=0.9):
    """u = −2ν θ_x / θ with the heat solution θ = 1 + a exp(−ν k² t) cos kx."""
    k = 2 * math.pi / extent
    a = amplitude * math.exp(-viscosity * k**2 * t)
    return 2 * viscosity * a * k * torch.sin(k * x) / (1 + a * torch.cos(k * x))


def relative(got, wanted):
    return float((got - wanted).norm() / wanted.norm())


class TestPeriodic:
    @pytest.mark.parametrize(("n_points", "extent"), [(128, 1.0), (129, 3.0)])
    def test_cole_hopf(self, n_points, extent):
        solver = BurgersPeriodic(n_points, viscosity=0.1, domain_extent=extent)
        u0 = cole_hopf(solver.points, 0.0, 0.1, extent)[None]
        u, times = solver.solve(u0, dt=2e-3, record_times=[0.0, 0.1, 0.5])
        assert u.dtype == torch.float64
        for frame, t in zip(u[0], times.tolist(), strict=True):
            assert relative(frame, cole_hopf(solver.points, t, 0.1, extent)) < 2e-8
        assert torch.equal(u[:, 0], u0)

    def test_fourth_order_in_time(self):
        solver = BurgersPeriodic(128, viscosity=0.1)
        exact = cole_hopf(solver.points, 0.5, 0.1)
        u0 = cole_hopf(solver.points, 0.0, 0.1)[None]
        errors = [relative(solver.solve(u0, dt=dt, t_end=0.5)[0], exact) for dt in (0.02, 0.01)]
        assert 3.7 < math.log2(errors[0] / errors[1]) < 4.3

    def test_spectral_in_space(self):
        errors = []
        for n in (20, 26, 32):
            solver = BurgersPeriodic(n, viscosity=0.1)
            u0 = cole_hopf(solver.points, 0.0, 0.1, amplitude=0.6)[None]
            u, _ = solver.solve(u0, dt=2e-3, t_end=0.2)
            errors.append(relative(u, cole_hopf(solver.points, 0.2, 0.1, amplitude=0.6)))
        assert errors[0] > 20 * errors[1] > 400 * errors[2]

    def test_manufactured(self):
        nu, k = 0.05, 2 * math.pi

        def exact(x, t):
            return 0.5 + math.cos(t) * torch.sin(k * x)

        def source(x, t):
            s, c = torch.sin(k * x), torch.cos(k * x)
            slope = k * math.cos(t) * c
            return -math.sin(t) * s + exact(x, t) * slope + nu * k**2 * math.cos(t) * s

        solver = BurgersPeriodic(32, viscosity=nu, source=source)
        u, _ = solver.solve(exact(solver.points, 0.0)[None], dt=1e-2, t_end=1.0)
        assert relative(u[0, 0], exact(solver.points, 1.0)) < 1e-6

    @pytest.mark.skipif(not SHOCK.exists(), reason="third-party data sets are not here")
    def test_published_shock(self):
        """Raissi's PINN data: u(0) = −sin πx on [−1, 1], ν = 0.01/π; odd, so the walls are free."""
        data = loadmat(SHOCK)
        solver = BurgersPeriodic(2048, viscosity=0.01 / math.pi, domain_extent=2.0)
        u0 = -torch.sin(math.pi * (solver.points - 1))[None]
        keep = [0, 25, 50, 99]
        u, _ = solver.solve(u0, dt=2e-3, record_times=data["t"].ravel()[keep].tolist())
        # the interpolating series of sines (the field is odd) at the points of the file
        modes = torch.arange(1025)
        sines = torch.sin(math.pi * modes[:, None] * torch.from_numpy(data["x"].ravel() + 1))
        got = -2 / 2048 * torch.fft.rfft(u[0]).imag @ sines
        assert relative(got, torch.from_numpy(data["usol"].T[keep])) < 2e-6

    @pytest.mark.skipif(find_spec("exponax") is None, reason="exponax is not installed")
    def test_agrees_with_exponax(self, tmp_path):
        n, dt, n_steps, nu = 256, 2e-3, 250, 0.01
        x = torch.arange(n, dtype=torch.float64) / n
        u0 = torch.sin(2 * math.pi * x) + 0.5 * torch.cos(4 * math.pi * x) + 0.2
        ours, _ = BurgersPeriodic(n, viscosity=nu).solve(u0[None], dt=dt, t_end=dt * n_steps)
        np.save(tmp_path / "before.npy", u0.numpy())
        code = f"""
import jax
jax.config.update("jax_enable_x64", True)
import exponax as ex, jax.numpy as jnp, numpy as np
stepper = ex.stepper.Burgers(1, 1.0, {n}, {dt}, diffusivity={nu}, conservative=True, order=4)
after = ex.repeat(stepper, {n_steps})(jnp.asarray(np.load("before.npy"))[None])
np.save("after.npy", np.array(after[0]))
"""
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        theirs = torch.from_numpy(np.load(tmp_path / "after.npy"))
        assert relative(ours[0, 0], theirs) < 1e-9
        assert relative(ours[0, 0], u0) > 0.5

    def test_mean_is_kept_and_moves_the_solution(self):
        solver = BurgersPeriodic(64, viscosity=0.1)
        u0 = cole_hopf(solver.points, 0.0, 0.1, amplitude=0.5)[None]
        still, _ = solver.solve(u0, dt=5e-3, t_end=0.25)
        moved, _ = solver.solve(u0 + 2.0, dt=5e-3, t_end=0.25)  # by 2.0 · 0.25, half the torus
        assert relative(moved.roll(-32, dims=-1), still + 2.0) < 1e-7


class TestNeumann:
    NU = 0.1 / math.pi

    def wave(self, x, t):
        return math.cos(t) * torch.cos(math.pi * x) + math.sin(2 * t) * torch.cos(
            math.pi * (x + 1) / 2
        )

    def source(self, x, t):
        a, b = math.cos(t), math.sin(2 * t)
        p, q = math.pi, math.pi / 2
        first, second = torch.cos(p * x), torch.cos(q * (x + 1))
        slope = -a * p * torch.sin(p * x) - b * q * torch.sin(q * (x + 1))
        curve = -a * p**2 * first - b * q**2 * second
        change = -math.sin(t) * first + 2 * math.cos(2 * t) * second
        return change + self.wave(x, t) * slope - self.NU * curve

    def error(self, n_points, dt):
        solver = BurgersNeumann(n_points, viscosity=self.NU, source=self.source)
        u, _ = solver.solve(self.wave(solver.points, 0.0)[None], dt=dt, t_end=1.0)
        return float((u[0, 0] - self.wave(solver.points, 1.0)).abs().max())

    def test_manufactured_spectral_in_space(self):
        errors = [self.error(n, 2e-3) for n in (14, 17, 20)]
        assert errors[0] > 30 * errors[1] > 900 * errors[2]
        assert self.error(32, 2e-3) < 1e-9

    def test_manufactured_order_in_time(self):
        errors = [self.error(32, dt) for dt in (16e-3, 8e-3)]
        assert math.log2(errors[0] / errors[1]) > 3.5

    def test_agrees_with_finite_volumes_of_scipy(self):
        coefficients = torch.tensor([0.7, -0.4, 0.3, 0.2], dtype=torch.float64)

        def initial(x):
            n = torch.arange(1, 5)[:, None]
            return coefficients @ torch.cos(n * math.pi * (x + 1) / 2)

        solver = BurgersNeumann(128, viscosity=self.NU)
        u, _ = solver.solve(initial(solver.points)[None], dt=2e-3, t_end=1.0)
        coarse, fine = (self.finite_volumes(initial, n) for n in (256, 768))
        # cells of the coarse grid have every third centre of the fine one
        extrapolated = fine[1::3] + (fine[1::3] - coarse) / 8
        centres = torch.from_numpy((np.arange(256) + 0.5) / 128 - 1)
        ours = solver.interpolation(centres) @ u[0, 0]
        assert relative(ours, extrapolated) < 2e-6 < relative(ours, fine[1::3])
        assert relative(ours, initial(centres)) > 0.5

    def finite_volumes(self, initial, n_cells):
        width, nu = 2 / n_cells, self.NU
        centres = torch.from_numpy((np.arange(n_cells) + 0.5) * width - 1)

        def slope(_, u):
            wide = np.concatenate([u[:1], u, u[-1:]])  # reflected at the walls: u_x = 0
            square = wide**2 / 2
            convection = (square[2:] - square[:-2]) / (2 * width)
            return nu * (wide[2:] - 2 * u + wide[:-2]) / width**2 - convection

        result = solve_ivp(
            slope,
            (0, 1),
            initial(centres).numpy(),
            "LSODA",
            lband=1,
            uband=1,
            rtol=1e-9,
            atol=1e-10,
        )
        return torch.from_numpy(result.y[:, -1])

    def test_walls_stay_flat(self):
        solver = BurgersNeumann(64, viscosity=0.1)
        u, _ = solver.solve(torch.cos(math.pi * solver.points)[None] + 0.5, dt=5e-3, t_end=0.7)
        slopes = torch.from_numpy(differentiation(solver.points.numpy())) @ u[0, 0]
        assert slopes[[0, -1]].abs().max() < 1e-6 * slopes.abs().max()

    def test_constants_and_other_intervals(self):
        solver = BurgersNeumann(16, viscosity=0.1, domain=(0.0, 3.0))
        u, _ = solver.solve(torch.full((2, 16), -1.5), dt=1e-2, t_end=0.5)
        assert_close(u, -1.5, growth=50 * GROWTH)  # steps
        assert (solver.points[0], solver.points[-1]) == (0.0, 3.0)


class TestLegendre:
    @pytest.mark.parametrize("n", [3, 4, 7, 32, 129])
    def test_exact_for_polynomials(self, n):
        nodes, weights = gauss_lobatto(n, 1.0, 4.0)
        assert (np.diff(nodes) > 0).all() and weights.sum() == pytest.approx(3.0, rel=1e-13)
        t, degree = (nodes - 2.5) / 1.5, n - 1
        slope = differentiation(nodes) @ t**degree
        # the sums of absolute entries of a row grow as n²
        assert_close(slope, degree * t ** (degree - 1) / 1.5, growth=GROWTH * n**2)
        even = 2 * ((2 * n - 3) // 2)
        assert weights @ t**even == pytest.approx(3.0 / (even + 1), rel=1e-12)

    def test_interpolation(self):
        nodes, _ = gauss_lobatto(40, -1.0, 1.0)
        points = np.concatenate([np.linspace(-1, 1, 21), nodes[[3, 7]]])
        matrix = interpolation(nodes, points)
        assert np.allclose(matrix @ np.exp(nodes), np.exp(points), rtol=1e-13)
        assert np.array_equal(matrix[-2], np.eye(40)[3])


class TestBadInput:
    def test_unresolved_shock(self):
        solver = BurgersPeriodic(64, viscosity=1e-3)
        u0 = torch.sin(2 * math.pi * solver.points)[None]
        with pytest.raises(
            ValueError, match=r"at most 0\.001 of .* at t = 0\.5 with 64 points\. Ta"
        ):
            solver.solve(u0, dt=1e-3, t_end=0.5)
        walled = BurgersNeumann(48, viscosity=1e-2)
        with pytest.raises(ValueError, match="Take more points"):
            walled.solve(-torch.sin(math.pi * walled.points / 2)[None], dt=1e-3, t_end=1.0)

    def test_divergence(self):
        solver = BurgersPeriodic(64, viscosity=1e-3)
        u0 = 1e4 * torch.sin(2 * math.pi * solver.points)[None]
        with pytest.raises(ValueError, match="smaller `dt`"):
            solver.solve(u0, dt=0.1, t_end=20.0)

    @pytest.mark.parametrize("kind", [BurgersPeriodic, BurgersNeumann])
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"viscosity": 0.0}, "viscosity"),
            ({"n_points": 3}, "n_points"),
            ({"n_points": 8}, r"shape \(n_samples, 8\)"),
            ({"u0": torch.full((1, 16), float("nan"))}, "finite"),
            ({"dt": -1.0}, "dt"),
            ({"t_end": 0.0}, "t_end"),
        ],
    )
    def test_one_line(self, kind, change, match):
        options = {"n_points": 16, "viscosity": 0.1, "u0": torch.zeros(1, 16), "dt": 0.1, **change}
        with pytest.raises(ValueError, match=match) as caught:
            solver = kind(options["n_points"], viscosity=options["viscosity"])
            solver.solve(options["u0"], dt=options["dt"], t_end=options.get("t_end", 0.5))
        assert "\n" not in str(caught.value)

    def test_domains(self):
        with pytest.raises(ValueError, match="interval"):
            BurgersNeumann(8, viscosity=0.1, domain=(1.0, 1.0))
        with pytest.raises(ValueError, match="domain_extent"):
            BurgersPeriodic(8, viscosity=0.1, domain_extent=0.0)
