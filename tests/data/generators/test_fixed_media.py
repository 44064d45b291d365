"""Flow in one rock and waves over one floor: what the files hold, and what is refused."""

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data import FieldFile, PairModule
from monarch_sciml.solvers.media import Medium

pytestmark = pytest.mark.usefixtures("one_thread")


class TestShallowWater:
    def test_fields_and_cells(self, tmp_path, make, read):
        path = make("shallow_water", tmp_path / "a.h5")
        file = FieldFile(path)
        assert file.fields == ("surface", "discharge_x", "discharge_y", "depth")
        assert file.layout.constant == ("depth",) and set(file.boundary) == {"wall"}
        with h5py.File(path) as opened:
            assert np.allclose(opened["coordinates/x"][()], (np.arange(8) + 0.5) / 8)
        fields = read(path)
        assert fields[:, 0, 1:3].abs().max() == 0 < fields[:, 1, 1:3].abs().min()
        assert torch.equal(fields[:, :, 3], fields[:1, :1, 3].expand(5, 3, 8, 8))
        volume = fields[:, :, 0].double().sum((2, 3))
        torch.testing.assert_close(volume, volume[:, :1].expand(5, 3), rtol=0, atol=1e-5)

    def test_surface_has_the_amplitude(self, tmp_path, make, read):
        options = {"n_dims": 1, "n_samples": 200, "batch_size": 100, "t_end": 1e-3, "n_times": 2}
        path = make("shallow_water", tmp_path / "a.h5", amplitude=0.05, resolution=16, **options)
        surface = read(path, "surface")[:, 0]
        assert float(surface.square().mean().sqrt()) == pytest.approx(0.05, rel=0.15)

    def test_where_the_floor_is_dry(self, tmp_path, make, read):
        shallow = Medium(contrast=1.5, mean=0.2)
        path = make("shallow_water", tmp_path / "a.h5", medium=shallow, amplitude=1.0)
        water = read(path, "surface") + read(path, "depth")
        assert water.min() > -1e-7 and (water[:, 0] < 1e-7).any()

    @pytest.mark.parametrize("grid", [8, 32])
    def test_a_given_depth_is_that_of_the_stored_cells(self, tmp_path, make, read, grid):
        depth = 1 + np.arange(8) / 8
        np.save(tmp_path / "depth.npy", depth)
        medium = Medium(kind="given", file=tmp_path / "depth.npy")
        options = {"n_dims": 1, "grid": grid, "resolution": 8, "medium": medium}
        found = read(make("shallow_water", tmp_path / "a.h5", **options), "depth")[0, 0, 0].numpy()
        inside = np.s_[1:-1] if grid > 8 else np.s_[:]  # at walls the mean of the finer cells bends
        np.testing.assert_allclose(found[inside], depth[inside], rtol=5e-3 if grid > 8 else 1e-6)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"resolution": 5}, "must divide `grid`"),
            ({"n_modes": 9}, "at most half of `grid`, 16"),
            ({"amplitude": 0.0}, "amplitude"),
            ({"gravity": -1.0}, "gravity"),
            ({"n_dims": 3}, "n_dims"),
        ],
    )
    def test_bad_arguments(self, tmp_path, make, change, match):
        with pytest.raises(ValueError, match=match):
            make("shallow_water", tmp_path / "a.h5", **change)
        assert not list(tmp_path.iterdir())


class TestDarcySources:
    def test_fields_sides_and_pairs(self, tmp_path, make, read):
        path = make("darcy_sources", tmp_path / "a.h5")
        assert FieldFile(path).fields == ("source", "side_pressure", "permeability", "pressure")
        assert FieldFile(path).boundary == ("dirichlet", "neumann")
        source, sides, rock, pressure = read(path)[:, 0].unbind(1)
        assert torch.equal(rock, rock[:1].expand_as(rock)) and rock.min() > 0
        for side in (0, -1):
            torch.testing.assert_close(pressure[:, side], sides[:, side], rtol=1e-5, atol=1e-6)
        assert source.max() > 10 and source.min() < -10
        names = {"input_fields": ["source", "side_pressure"], "target_fields": ["pressure"]}
        module = PairModule(path, n_train=3, n_test=2, **names)
        assert module.train[0]["input"].shape == (1, 2, 9, 9)

    def test_same_flow_at_another_resolution(self, tmp_path, make, read):
        coarse = read(make("darcy_sources", tmp_path / "a.h5", grid=33))
        fine = read(make("darcy_sources", tmp_path / "b.h5", grid=33, resolution=17))
        torch.testing.assert_close(fine[..., ::2, ::2], coarse, rtol=1e-5, atol=1e-5)

    def test_layers_that_end_at_elements_are_exact(self, tmp_path, make, read):
        """A jump inside an element costs a percent; the refusals keep it out."""
        medium = Medium(kind="layered", n_layers=8, contrast=1.0)
        flows = [
            read(make("darcy_sources", tmp_path / f"{n}.h5", grid=n, medium=medium), "pressure")
            for n in (33, 65)
        ]
        assert float((flows[0] - flows[1]).norm() / flows[1].norm()) < 1e-3

    def test_the_map_is_not_linear(self, tmp_path, make, read):
        flows = [
            read(make("darcy_sources", tmp_path / f"{beta}.h5", nonlinearity=beta), "pressure")
            for beta in (0.0, 3.0)
        ]
        assert float((flows[0] - flows[1]).norm() / flows[0].norm()) > 0.2

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"grid": 18}, "`grid` must be one more than a multiple of 4, got 18. Take 21"),
            ({"grid": 9}, "must exceed `resolution`, 9"),
            (
                {"medium": Medium(kind="layered", n_layers=5)},
                "5 layers must end where two elements meet, got 8 .* Take a `grid` of 41",
            ),
            ({"well_radius": 0.02}, "at least 1 nodes within `well_radius`, 0.02.*Take 50 or more"),
            (
                {"medium": Medium(correlation_length=0.05)},
                "2.5 nodes within `medium.correlation_length`, 0.05, got 1.7 of 33. Take 50",
            ),
            ({"n_wells": 0}, "n_wells"),
            ({"well_radius": 0.0}, "well_radius"),
            ({"nonlinearity": -1.0}, "nonlinearity"),
        ],
    )
    def test_bad_arguments(self, tmp_path, make, change, match):
        with pytest.raises(ValueError, match=match):
            make("darcy_sources", tmp_path / "a.h5", **change)
        assert not list(tmp_path.iterdir())
