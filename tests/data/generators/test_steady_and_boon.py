"""Generators of Darcy flow, the driven cavity and BOON's two problems."""

import math

import h5py
import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.data import FieldFile, PairModule, TrajectoryModule
from monarch_sciml.data.generators.generate import sample_generator, sample_rng
from monarch_sciml.solvers import Darcy2d, LidDrivenCavity, cosine_random_field

pytestmark = pytest.mark.usefixtures("one_thread")

STEADY = ("darcy", "lid_driven_cavity")
FIELDS = {
    "darcy": ("coefficient", "pressure"),
    "heat_neumann": ("temperature",),
    "stokes_second": ("velocity",),
    "lid_driven_cavity": ("lid_velocity", "log10_reynolds", "u", "v", "stream_function"),
}
BOUNDARY = {
    "darcy": "dirichlet",
    "heat_neumann": "neumann",
    "stokes_second": "dirichlet",
    "lid_driven_cavity": "wall",
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_the_file_says(name, tmp_path, make):
    file = FieldFile(make(name, tmp_path / "a.h5"))
    assert file.fields == FIELDS[name]
    assert set(file.boundary) == {BOUNDARY[name]}
    assert set(file.domain_extent) == {1.0}
    assert file.n_times == (1 if name in STEADY else 4)
    assert file.about["generator"] == name
    assert file.about["dtype"] == "float32"
    assert "equation" in file.about["parameters"]
    with h5py.File(file.path) as opened:
        x = opened["coordinates/x"][()]
    assert (x[0], x[-1], len(x)) == (0.0, 1.0, file.grid_shape[0])


class TestDarcy:
    def test_equals_the_field_and_the_solver(self, tmp_path, make, read):
        fields = read(make("darcy", tmp_path / "a.h5", seed=2))[3, 0]
        psi = cosine_random_field(1, (33, 33), generator=sample_generator(2, 3))
        a = torch.where(psi >= 0, 12.0, 4.0)
        assert torch.equal(fields[0], a[0, ::4, ::4])
        pressure = Darcy2d(17).solve(a[:, 1::2, 1::2])
        assert torch.equal(fields[1], pressure[0, ::2, ::2].float())

    def test_two_values_and_walls(self, tmp_path, make, read):
        path = make("darcy", tmp_path / "a.h5", high=3.0, low=1.0)
        fields = read(path)
        assert set(fields[:, :, 0].unique().tolist()) == {1.0, 3.0}
        u = fields[:, 0, 1]
        for wall in (u[:, 0], u[:, -1], u[..., 0], u[..., -1]):
            assert not wall.any()
        assert (u[:, 1:-1, 1:-1] > 0).all()
        module = PairModule(path, n_train=3, n_test=2)
        assert module.spec.fields == ("pressure",)
        assert module.train[0]["input"].shape == (1, 1, 9, 9)

    def test_same_medium_on_another_grid(self, tmp_path, make, read):
        coarse = read(make("darcy", tmp_path / "a.h5"))
        fine = read(make("darcy", tmp_path / "b.h5", grid=65))
        assert torch.equal(fine[:, :, 0], coarse[:, :, 0])
        u, v = fine[:, :, 1], coarse[:, :, 1]
        assert 1e-4 < (u - v).norm() / u.norm() < 0.03

    def test_errors(self, tmp_path, make):
        for change, match in (
            ({"resolution": 8}, "`resolution` - 1 must divide `grid` - 1, 16"),
            ({"low": 0.0}, "low"),
            ({"high": math.inf}, "high"),
            ({"grid": 2}, "grid"),
        ):
            with pytest.raises(ValueError, match=match):
                make("darcy", tmp_path / "a.h5", **change)


class TestBoon:
    def test_heat_starts_at_its_cosine(self, tmp_path, make, read):
        path = make("heat_neumann", tmp_path / "a.h5", seed=2)
        u = read(path)
        x = np.linspace(0, 1, 17)
        for sample in range(5):
            omega = sample_rng(2, sample).uniform(2.01, 3.99)
            expected = torch.from_numpy(np.cos(omega * np.pi * x)).float()
            assert torch.equal(u[sample, 0, 0], expected)
        assert FieldFile(path).layout.times == pytest.approx((0, 2 / 3, 4 / 3, 2))
        module = TrajectoryModule(path, n_train=3, n_test=2, n_steps_in=1, n_steps_out=3)
        assert module.spec.dt == pytest.approx(2 / 3)

    def test_heat_keeps_its_slopes(self, tmp_path, make, read):
        u = read(make("heat_neumann", tmp_path / "a.h5", resolution=1025, dtype="float64"))
        slope = 1024 * (1.5 * u[..., -1] - 2 * u[..., -2] + 0.5 * u[..., -3])
        expected = 5 * math.sin(math.pi * 4 / 3)
        assert (slope[:, 2, 0] - expected).abs().max() < 0.05
        left = 1024 * (-1.5 * u[..., 0] + 2 * u[..., 1] - 0.5 * u[..., 2])
        assert left[:, 1:].abs().max() < 1e-3

    def test_stokes_wall(self, tmp_path, make, read):
        u = read(make("stokes_second", tmp_path / "a.h5", seed=5, dtype="float64"))
        times = torch.linspace(0, 1.2, 4, dtype=torch.float64)
        for sample in range(5):
            omega = sample_rng(5, sample).uniform(3.0, 4.0)
            assert_close(u[sample, :, 0, 0], 2 * torch.cos(omega * times), relative=1e-09)
            k = math.sqrt(omega / 0.2)
            assert float(u[sample, 0, 0, -1]) == pytest.approx(2 * math.exp(-k) * math.cos(k))

    @pytest.mark.parametrize("name", ["heat_neumann", "stokes_second"])
    def test_errors(self, name, tmp_path, make):
        own = {"heat_neumann": ("diffusivity", "flux"), "stokes_second": ("viscosity", "amplitude")}
        for change, match in (
            ({"t_end": -1.0}, "t_end"),
            ({"n_times": 1}, "n_times"),
            ({"lowest": 0.0}, "lowest"),
            ({"lowest": 3.0, "highest": 2.0}, "highest"),
            ({own[name][0]: 0.0}, own[name][0]),
            ({own[name][1]: math.nan}, own[name][1]),
        ):
            with pytest.raises(ValueError, match=match):
                make(name, tmp_path / "a.h5", **change)


class TestLidDrivenCavity:
    def test_equals_the_solver(self, tmp_path, make, read):
        fields = read(make("lid_driven_cavity", tmp_path / "a.h5", seed=2, dtype="float64"))[4, 0]
        lid, reynolds = fields[0, :, 0], 10 ** float(fields[1, 0, 0])
        assert 50 <= reynolds <= 100
        stream, velocity = LidDrivenCavity(9).solve(lid[None], reynolds=reynolds)
        assert torch.allclose(fields[2:4], velocity[0], atol=1e-10)
        assert torch.allclose(fields[4], stream[0], atol=1e-10)

    def test_inputs_and_walls(self, tmp_path, make, read):
        path = make("lid_driven_cavity", tmp_path / "a.h5")
        lid, number, u, v, stream = read(path)[:, 0].unbind(1)
        assert torch.equal(lid, lid[:, :, :1].expand_as(lid))
        assert torch.equal(number, number[:, :1, :1].expand_as(number))
        assert torch.equal(u[:, :, -1], lid[:, :, -1])
        assert not lid[:, [0, -1]].any()
        for wall in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0]):
            assert not u[wall].any() and not v[wall].any() and not stream[wall].any()
        module = PairModule(
            path,
            n_train=3,
            n_test=2,
            input_fields=["lid_velocity", "log10_reynolds"],
            target_fields=["u", "v"],
        )
        assert module.train[0]["target"].shape == (1, 2, 9, 9)

    def test_profile(self, tmp_path, make, read):
        lid = read(make("lid_driven_cavity", tmp_path / "a.h5", seed=7, dtype="float64"))[1, 0, 0]
        rng = sample_rng(7, 1)
        rng.uniform()  # the Reynolds number's
        speed, a = rng.uniform(0.5, 1.5), 0.5 * rng.standard_normal(4) / [1, 2, 3, 4]
        x = np.linspace(0, 1, 9)
        waves = sum(a[m] * np.cos((m + 1) * np.pi * x) for m in range(4))
        assert_close(lid[:, 0], 16 * x**2 * (1 - x) ** 2 * (speed + waves), relative=1e-09)

    def test_same_flow_on_another_grid(self, tmp_path, make, read):
        fine = read(make("lid_driven_cavity", tmp_path / "a.h5", grid=33, resolution=9))
        coarse = read(make("lid_driven_cavity", tmp_path / "b.h5", grid=17, resolution=9))
        assert torch.allclose(fine[:, :, :2], coarse[:, :, :2], atol=1e-6)
        assert 1e-6 < (fine - coarse)[:, :, 2:].norm() / fine[:, :, 2:].norm() < 0.01

    def test_errors(self, tmp_path, make):
        for change, match in (
            ({"resolution": 4}, "must divide"),
            ({"lowest_reynolds": 0.0}, "lowest_reynolds"),
            ({"lowest_reynolds": 200.0}, "highest_reynolds"),
            ({"lowest_reynolds": 1e7, "highest_reynolds": 1e7}, "steady flow"),
            ({"grid": 4}, "grid"),
        ):
            with pytest.raises(ValueError, match=match):
                make("lid_driven_cavity", tmp_path / "a.h5", **change)
        assert not list(tmp_path.iterdir())
