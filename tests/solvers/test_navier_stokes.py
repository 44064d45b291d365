"""Navier-Stokes on the torus: exact solutions, order of convergence, exponax, bad input."""

import math
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.solvers import (
    NavierStokes2d,
    fno_forcing,
    gaussian_random_field,
    solve_navier_stokes,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_field(n_samples: int, shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return gaussian_random_field(n_samples, shape, generator=seeded(seed), dtype=torch.float64)


def grid(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    axes = (torch.arange(n, dtype=torch.float64) / n for n in shape)
    x, y = torch.meshgrid(*axes, indexing="ij")
    return x, y


class TestGaussianRandomField:
    def test_standard_deviation_and_mean(self):
        w0 = gaussian_random_field(400, (64, 64), generator=seeded(0))
        assert w0.dtype == torch.float32
        assert w0.std() == pytest.approx(0.263, abs=0.005)
        assert w0.mean(dim=(1, 2)).abs().max() < 1e-7

    @pytest.mark.parametrize("shape", [(32, 32), (21, 16)])
    def test_spectrum(self, shape):
        alpha, tau = 2.5, 7.0
        fields = gaussian_random_field(4000, shape, generator=seeded(1), dtype=torch.float64)
        power = (torch.fft.fft2(fields) / math.prod(shape)).abs().square().mean(dim=0)
        k_x = torch.fft.fftfreq(shape[0], 1 / shape[0])[:, None]
        k_y = torch.fft.fftfreq(shape[1], 1 / shape[1])[None, :]
        # two independent halves of variance (√2 σ λ)² meet in the real part: |.|² has mean 2σ²λ²
        expected = 2 * tau**3 * (4 * math.pi**2 * (k_x**2 + k_y**2) + tau**2) ** -alpha
        low = (k_x.abs() < 5) & (k_y.abs() < 5) & (k_x**2 + k_y**2 > 0)
        ratio = (power / expected)[low]
        assert ratio.mean() == pytest.approx(1.0, abs=0.01)
        assert ratio.min() > 0.9
        assert ratio.max() < 1.1

    def test_same_law_on_every_grid(self):
        coarse, fine = (
            gaussian_random_field(300, (n, n), generator=seeded(2)).std() for n in (24, 48)
        )
        assert coarse == pytest.approx(float(fine), rel=0.03)

    @pytest.mark.parametrize("shape", [(16,), (8, 6, 5)])
    def test_other_dimensions(self, shape):
        fields = gaussian_random_field(3, shape, alpha=2.0, tau=3.0, generator=seeded(0))
        assert fields.shape == (3, *shape)
        assert torch.isfinite(fields).all()

    def test_seeded(self):
        first, again, other = (
            gaussian_random_field(2, (8, 8), generator=seeded(s)) for s in (3, 3, 4)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


class TestExactSolutions:
    @pytest.mark.parametrize("shape", [(16, 16), (15, 20), (9, 9)])
    @pytest.mark.parametrize("wave", [(1, 0), (0, 2), (2, -1)])
    def test_single_mode_decays(self, shape, wave):
        x, y = grid(shape)
        w0 = torch.cos(2 * math.pi * (wave[0] * x + wave[1] * y) + 0.3)[None]
        w, times = solve_navier_stokes(
            w0, viscosity=0.02, t_end=1.0, n_record=2, dt=5e-3, forcing=None
        )
        rate = 0.02 * 4 * math.pi**2 * (wave[0] ** 2 + wave[1] ** 2)
        decay = torch.exp(-rate * times)[None, :, None, None]
        assert (w - w0[:, None] * decay).abs().max() < 4e-5

    def test_forced_mode_reaches_its_analytic_value(self):
        shape, viscosity = (12, 18), 0.05
        x, y = grid(shape)
        w, times = solve_navier_stokes(
            torch.zeros(1, *shape, dtype=torch.float64),
            viscosity=viscosity,
            t_end=2.0,
            n_record=4,
            dt=1e-3,
        )
        rate = viscosity * 8 * math.pi**2
        growth = ((1 - torch.exp(-rate * times)) / rate)[:, None, None]
        assert (w[0] - growth * fno_forcing(x, y)).abs().max() < 2e-8

    def test_inviscid_flow_keeps_energy_enstrophy_and_mean(self):
        w0 = smooth_field(2, (32, 32)) + 0.5
        w, _ = solve_navier_stokes(w0, viscosity=0.0, t_end=1.0, dt=2e-3, forcing=None)
        kept = solve_navier_stokes(w0, viscosity=0.0, t_end=1e-9, dt=1e-9, forcing=None)[0]
        assert w.mean() == pytest.approx(float(w0.mean()), abs=1e-12)
        assert w.square().mean() == pytest.approx(float(kept.square().mean()), rel=1e-6)
        assert (w[:, 0] - w0).abs().max() > 0.01  # it did move

    def test_advection_term(self):
        """One tiny step: (w1 - w0) / dt equals −u·∇w, worked out by hand."""
        shape, dt = (24, 24), 1e-6
        x, y = grid(shape)
        two_pi = 2 * math.pi
        w0 = torch.sin(two_pi * x) + torch.cos(two_pi * 2 * y) + 0.4 * torch.sin(two_pi * (x - y))
        # ψ = Σ w_k / |2πk|²; u = ψ_y, v = −ψ_x
        u = (-torch.sin(two_pi * 2 * y) / (2 * two_pi)) - 0.4 * torch.cos(two_pi * (x - y)) / (
            2 * two_pi
        )
        v = -torch.cos(two_pi * x) / two_pi - 0.4 * torch.cos(two_pi * (x - y)) / (2 * two_pi)
        w_x = two_pi * (torch.cos(two_pi * x) + 0.4 * torch.cos(two_pi * (x - y)))
        w_y = -two_pi * (2 * torch.sin(two_pi * 2 * y) + 0.4 * torch.cos(two_pi * (x - y)))
        w1, _ = solve_navier_stokes(w0[None], viscosity=0.0, t_end=dt, dt=dt, forcing=None)
        rate = (w1[0, 0] - w0) / dt
        assert (rate + u * w_x + v * w_y).abs().max() < 1e-4
        assert rate.abs().max() > 0.5


class TestConvergence:
    def test_order_two_in_dt(self):
        w0 = smooth_field(2, (32, 32))
        finest, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=1.0, dt=1.25e-3)
        steps = (4e-2, 2e-2, 1e-2)
        errors = [
            float((solve_navier_stokes(w0, viscosity=1e-3, t_end=1.0, dt=dt)[0] - finest).norm())
            for dt in steps
        ]
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.all((orders > 1.9) & (orders < 2.15)), orders

    def test_float32_follows_float64(self):
        w0 = smooth_field(2, (32, 32))
        exact, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=2.0)
        single, _ = solve_navier_stokes(w0.float(), viscosity=1e-3, t_end=2.0)
        assert single.dtype == torch.float32
        assert (single - exact).norm() / exact.norm() < 2e-5

    def test_resolution_does_not_matter_when_resolved(self):
        fine = smooth_field(1, (64, 64))
        spectrum = torch.fft.rfft2(fine)
        spectrum[:, 8:-7] = 0
        spectrum[:, :, 8:] = 0
        fine = torch.fft.irfft2(spectrum, s=(64, 64))
        options = {"viscosity": 5e-3, "t_end": 1.0, "dt": 2e-2}
        w_fine, _ = solve_navier_stokes(fine, **options)
        w_coarse, _ = solve_navier_stokes(fine[:, ::2, ::2].contiguous(), **options)
        error = (w_fine[..., ::2, ::2] - w_coarse).norm() / w_coarse.norm()
        assert error < 1e-5

    @pytest.mark.skipif(find_spec("exponax") is None, reason="exponax is not installed")
    def test_agrees_with_exponax(self, tmp_path):
        n, dt, n_steps = 48, 1e-2, 100
        w0 = smooth_field(1, (n, n), seed=5)
        ours, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=dt * n_steps, dt=dt, forcing=None)
        theirs = solved_by_exponax(w0, tmp_path, dt=dt, n_steps=n_steps, viscosity=1e-3)
        assert (ours[:, 0] - theirs).norm() / theirs.norm() < 1e-5
        assert (ours[:, 0] - w0).norm() / w0.norm() > 0.05


def solved_by_exponax(w0, folder, *, dt, n_steps, viscosity):
    """Solve in a process of its own: JAX is multithreaded and makes a later fork a warning."""
    np.save(folder / "before.npy", w0.numpy().astype(np.float32))
    code = f"""
import exponax as ex, jax.numpy as jnp, numpy as np
stepper = ex.stepper.NavierStokesVorticity(
    2, 1.0, {w0.shape[-1]}, {dt}, diffusivity={viscosity}, vorticity_convection_scale=-1.0
)
np.save("after.npy", np.array(ex.repeat(stepper, {n_steps})(jnp.asarray(np.load("before.npy")))))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return torch.from_numpy(np.load(folder / "after.npy")).double()


class TestRecords:
    def test_times_and_uneven_steps(self):
        w0 = smooth_field(1, (16, 16))
        times = [0.0, 0.1, 0.137, 0.5]
        w, recorded = solve_navier_stokes(w0, viscosity=1e-2, record_times=times, dt=7e-3)
        assert recorded.tolist() == times
        assert torch.equal(w[:, 0], w0)
        direct, _ = solve_navier_stokes(w0, viscosity=1e-2, t_end=0.5, dt=7e-3)
        assert (w[:, -1] - direct[:, 0]).abs().max() < 1e-5

    def test_batch_equals_single_samples(self):
        w0 = smooth_field(3, (16, 20))
        together, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=0.2, n_record=2)
        alone = [solve_navier_stokes(w[None], viscosity=1e-3, t_end=0.2, n_record=2)[0] for w in w0]
        assert_close(together, torch.cat(alone), relative=1e-09)

    def test_forcing_given_as_values_or_function(self):
        w0 = smooth_field(1, (16, 16))
        x, y = grid((16, 16))
        by_function, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=0.2)
        by_values, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=0.2, forcing=fno_forcing(x, y))
        without, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=0.2, forcing=None)
        assert torch.equal(by_function, by_values)
        assert not torch.allclose(by_function, without, atol=1e-4)

    def test_progress_bar_counts_steps(self, capsys):
        w0 = smooth_field(1, (8, 8))
        solve_navier_stokes(w0, viscosity=1e-3, t_end=0.25, dt=1e-2, progress=True)
        assert "25/25" in capsys.readouterr().err


class TestBadInput:
    def test_divergence_is_one_line(self):
        w0 = 1e4 * smooth_field(3, (16, 16))
        with pytest.raises(ValueError, match=r"finite.* t = .*dt = 0\.05.*smaller `dt`") as caught:
            solve_navier_stokes(w0, viscosity=1e-4, t_end=50.0, dt=0.05)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"viscosity": -1.0, "t_end": 1.0}, "viscosity"),
            ({"viscosity": float("nan"), "t_end": 1.0}, "viscosity"),
            ({"viscosity": 1e-3}, "t_end"),
            ({"viscosity": 1e-3, "t_end": -1.0}, "t_end"),
            ({"viscosity": 1e-3, "t_end": 1.0, "dt": 0.0}, "dt"),
            ({"viscosity": 1e-3, "t_end": 1.0, "n_record": 0}, "n_record"),
            ({"viscosity": 1e-3, "t_end": 1.0, "record_times": [1.0]}, "replaces"),
            ({"viscosity": 1e-3, "record_times": [1.0, 0.5]}, "increasing"),
            ({"viscosity": 1e-3, "record_times": []}, "increasing"),
            ({"viscosity": 1e-3, "t_end": 1.0, "forcing": torch.zeros(4, 8)}, "forcing"),
        ],
    )
    def test_options(self, options, match):
        with pytest.raises(ValueError, match=match):
            solve_navier_stokes(torch.zeros(1, 8, 8), **options)

    def test_fields(self):
        with pytest.raises(ValueError, match="finite"):
            solve_navier_stokes(torch.full((1, 8, 8), math.nan), viscosity=1e-3, t_end=1.0)
        with pytest.raises(ValueError, match="dtype"):
            solve_navier_stokes(torch.zeros(1, 8, 8, dtype=torch.half), viscosity=1, t_end=1.0)
        with pytest.raises(ValueError, match="two axes"):
            solve_navier_stokes(torch.zeros(1, 8), viscosity=1e-3, t_end=1.0)
        with pytest.raises(ValueError, match="shape"):
            NavierStokes2d((8, 8), viscosity=1e-3).solve(torch.zeros(1, 8, 9), dt=0.1, t_end=1.0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_equals_cpu():
    w0 = smooth_field(2, (32, 32))
    cpu, _ = solve_navier_stokes(w0, viscosity=1e-3, t_end=0.5)
    gpu, _ = solve_navier_stokes(w0.cuda(), viscosity=1e-3, t_end=0.5)
    assert (gpu.cpu() - cpu).norm() / cpu.norm() < 1e-10
