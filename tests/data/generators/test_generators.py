"""What each generator of trajectories makes."""

import math

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data import FieldFile, TrajectoryModule
from monarch_sciml.data.generators.generate import sample_rng
from monarch_sciml.solvers.burgers import BurgersNeumann, BurgersPeriodic

pytestmark = pytest.mark.usefixtures("one_thread")

BOUNDARY = {
    "navier_stokes": "periodic",
    "burgers_periodic": "periodic",
    "burgers_neumann": "neumann",
    "diffusion_reaction": "neumann",
    "wave": "dirichlet",
    "advection_diffusion": "dirichlet",
    "wave_in_medium": "periodic",
}
every_generator = pytest.mark.parametrize("name", BOUNDARY)


def centre(u, axis):
    """Centre of |u| (n, H, W) along an axis of the unit square."""
    weights = u.abs().sum(dim=(0, 3 - axis))
    return float(weights @ torch.linspace(0, 1, len(weights)) / weights.sum())


@every_generator
def test_spec_and_frames(name, tmp_path, make):
    module = TrajectoryModule(
        make(name, tmp_path / "a.h5"), n_train=3, n_test=2, n_steps_in=1, n_steps_out=2
    )
    spec, file = module.spec, module.source
    assert set(spec.boundary) == {BOUNDARY[name]}
    assert file.about["generator"] == name and file.about["dtype"] == "float32"
    assert "equation" in file.about["parameters"]
    assert file.dt == pytest.approx(file.layout.times[2] - file.layout.times[1])
    first = file.layout.times[0]
    assert first == pytest.approx(0.1 if name == "navier_stokes" else 0.0)
    with h5py.File(file.path) as opened:
        axes = [opened[f"coordinates/{axis}"][()] for axis in "xy"[: len(file.grid_shape)]]
    for axis, extent in zip(axes, file.domain_extent, strict=True):
        inside = axis[-1] - axis[0]
        walls_stored = BOUNDARY[name] != "periodic" and name != "diffusion_reaction"
        assert inside == pytest.approx(extent if walls_stored else extent - axis[1] + axis[0])


@every_generator
@pytest.mark.parametrize("change", [{"t_end": -1.0}, {"n_times": 0}])
def test_bad_times_leave_nothing(name, tmp_path, change, make):
    with pytest.raises(ValueError, match=next(iter(change))):
        make(name, tmp_path / "a.h5", **change)
    assert not list(tmp_path.iterdir())


class TestBurgersPeriodic:
    def test_equals_the_solver_and_the_series(self, tmp_path, make, read):
        fields = read(make("burgers_periodic", tmp_path / "a.h5", seed=2, resolution=32))
        x = torch.arange(64, dtype=torch.float64) / 64
        xi, eta = sample_rng(2, 1).standard_normal((16, 2)).T
        k = 2 * math.pi * np.arange(1, 17)
        size = math.sqrt(2) * 25 / (k**2 + 25)
        waves = k[:, None] * x.numpy()
        u0 = torch.from_numpy((size * xi) @ np.cos(waves) + (size * eta) @ np.sin(waves))
        u, _ = BurgersPeriodic(64, viscosity=0.1).solve(u0[None], dt=0.05, t_end=1.0, n_record=2)
        assert torch.allclose(fields[1, 0, 0], u0[::2].float(), atol=1e-6)
        assert torch.allclose(fields[1, 1:, 0], u[0, :, ::2].float(), atol=1e-6)

    def test_spectrum_of_the_initial_field(self, tmp_path, make, read):
        path = make("burgers_periodic", tmp_path / "a.h5", n_samples=2000, batch_size=2000)
        power = (torch.fft.rfft(read(path)[:, 0, 0]) / 64).abs().square().mean(dim=0)
        k = 2 * math.pi * torch.arange(1, 17)
        ratio = power[1:17] / (625 / (k**2 + 25) ** 2)
        assert power[0] < 1e-12  # zero mean
        assert ratio.mean() == pytest.approx(1.0, abs=0.03)

    def test_same_functions_on_a_finer_grid(self, tmp_path, make, read):
        coarse = read(make("burgers_periodic", tmp_path / "a.h5"))
        fine = read(make("burgers_periodic", tmp_path / "b.h5", grid=128))
        assert torch.allclose(fine[..., ::2], coarse, atol=1e-5)

    def test_errors(self, tmp_path, make):
        for change, match in (
            ({"resolution": 7}, "divide"),
            ({"n_modes": 32}, "below half of `grid`, 64"),
            ({"viscosity": 1e-4, "dt": 1e-3}, "Take more points"),
            ({"n_times": 1}, "at least 2"),
        ):
            with pytest.raises(ValueError, match=match):
                make("burgers_periodic", tmp_path / "a.h5", **change)
        assert not list(tmp_path.iterdir())


class TestBurgersNeumann:
    def series(self, x, seed, sample, n_modes=12, half=1):
        n = np.arange(1, n_modes + 1)
        size = 25 / ((math.pi * n) ** 2 + 25) * sample_rng(seed, sample).standard_normal(n_modes)
        return torch.from_numpy(size @ np.cos(n[:, None] * math.pi * (x.numpy() + 1) / 2 * half))

    def test_equals_the_solver_and_the_series(self, tmp_path, make, read):
        fields = read(make("burgers_neumann", tmp_path / "a.h5", seed=2))
        x = torch.linspace(-1, 1, 17, dtype=torch.float64)
        assert torch.allclose(fields[1, 0, 0], self.series(x, 2, 1).float(), atol=1e-6)
        solver = BurgersNeumann(48, viscosity=0.1)
        u, _ = solver.solve(self.series(solver.points, 2, 1)[None], dt=0.02, t_end=1.0)
        wanted = solver.interpolation(x) @ u[0, 0]
        assert torch.allclose(fields[1, 2, 0], wanted.float(), atol=1e-6)

    def test_whole_waves_are_symmetric_at_first(self, tmp_path, make, read):
        fields = read(make("burgers_neumann", tmp_path / "a.h5", whole_waves=True))
        x = torch.linspace(-1, 1, 17, dtype=torch.float64)
        wanted = self.series(x, 0, 3, n_modes=6, half=2)
        assert torch.allclose(fields[3, 0, 0], wanted.float(), atol=1e-6)
        assert torch.allclose(fields[:, 0], fields[:, 0].flip(-1), atol=1e-5)
        assert not torch.allclose(fields[:, 1], fields[:, 1].flip(-1), atol=1e-2)

    def test_same_functions_at_another_resolution(self, tmp_path, make, read):
        coarse = read(make("burgers_neumann", tmp_path / "a.h5"))
        fine = read(make("burgers_neumann", tmp_path / "b.h5", resolution=33))
        assert torch.allclose(fine[..., ::2], coarse, atol=1e-6)

    def test_frames_between(self, tmp_path, make, read):
        ends = read(make("burgers_neumann", tmp_path / "a.h5"))
        frames = read(make("burgers_neumann", tmp_path / "b.h5", n_times=5))
        assert frames.shape[1] == 5
        assert torch.allclose(frames[:, ::2], ends, atol=1e-5)

    def test_errors(self, tmp_path, make):
        for change, match in (
            ({"n_modes": 25}, "at most half of `grid`, 48"),
            ({"viscosity": 3e-3, "dt": 2e-3}, "Take more points"),
            ({"resolution": 1}, "resolution"),
        ):
            with pytest.raises(ValueError, match=match):
                make("burgers_neumann", tmp_path / "a.h5", **change)


class TestDiffusionReaction:
    def test_initial_noise_and_coarse_cells(self, tmp_path, make, read):
        fine = read(make("diffusion_reaction", tmp_path / "a.h5", seed=2))
        wanted = torch.from_numpy(sample_rng(2, 4).standard_normal((2, 8, 8))).float()
        assert torch.equal(fine[4, 0], wanted)
        path = make("diffusion_reaction", tmp_path / "b.h5", seed=2, resolution=4)
        blocks = fine.view(5, 3, 2, 4, 2, 4, 2).mean(dim=(4, 6))
        assert torch.allclose(read(path), blocks, atol=1e-6)
        with h5py.File(path) as file:
            assert np.allclose(file["coordinates/x"], [-0.75, -0.25, 0.25, 0.75])
        assert FieldFile(path).fields == ("activator", "inhibitor")

    def test_errors(self, tmp_path, make):
        for change, match in (
            ({"resolution": 3}, "divide"),
            ({"diffusivity": (-1.0, 1.0)}, "diffusivity"),
            ({"rtol": 0.0}, "rtol"),
        ):
            with pytest.raises(ValueError, match=match):
                make("diffusion_reaction", tmp_path / "a.h5", **change)


@pytest.mark.parametrize("name", ["wave", "advection_diffusion"])
class TestWalls:
    def test_zero_at_the_walls_and_unit_mean_square(self, name, tmp_path, make, read):
        path = make(name, tmp_path / "a.h5", n_samples=60, batch_size=20, resolution=33)
        u = read(path)[:, :, 0]
        for wall in (u[..., 0, :], u[..., -1, :], u[..., 0], u[..., -1]):
            assert wall.abs().max() < 1e-7
        # the mean over the box: a sine's sum over the inner points of the grid is exact
        assert u[:, 0].square().sum((1, 2)).mean() / 32**2 == pytest.approx(1.0, abs=0.2)

    def test_same_fields_at_another_resolution(self, name, tmp_path, make, read):
        coarse = read(make(name, tmp_path / "a.h5"))
        fine = read(make(name, tmp_path / "b.h5", resolution=17))
        assert torch.allclose(fine[..., ::2, ::2], coarse, atol=1e-5)


def test_wave_starts_at_rest_and_needs_a_speed(tmp_path, make, read):
    path = make("wave", tmp_path / "a.h5")
    assert read(path, "velocity")[:, 0].abs().max() == 0
    assert read(path, "velocity")[:, 1].abs().max() > 0.1
    with pytest.raises(ValueError, match="speed"):
        make("wave", tmp_path / "b.h5", speed=0.0)


def test_advection_diffusion_in_one_dimension_and_its_axes(tmp_path, make, read):
    line = FieldFile(make("advection_diffusion", tmp_path / "a.h5", velocity=(1.0,)))
    assert line.grid_shape == (9,) and line.boundary == ("dirichlet",)
    right = read(make("advection_diffusion", tmp_path / "b.h5", velocity=(1.0, 0.0)))[:, -1, 0]
    down = read(make("advection_diffusion", tmp_path / "c.h5", velocity=(0.0, 1.0)))[:, -1, 0]
    assert centre(right, 1) > centre(right, 2) + 0.1  # carried along its own axis
    assert centre(down, 2) > centre(down, 1) + 0.1
    for change, match in (
        ({"diffusivity": 1e-4}, "resolve layers"),
        ({"n_modes": 13}, "half of `grid`, 24"),
        ({"velocity": ()}, "one or two"),
        ({"tau": math.nan}, "`tau` must be finite and at least 0, got nan"),
    ):
        with pytest.raises(ValueError, match=match):
            make("advection_diffusion", tmp_path / "d.h5", **change)
