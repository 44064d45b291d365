"""The Well's files, written here by its specification (docs/data_format.md)."""

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.commands.info import info
from monarch_sciml.data import TheWellFile, TrajectoryModule, open_fields

N, T, X, Y = 3, 5, 6, 4


def noise(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def varying(dataset, samples=True, times=True, dims=(True, True)):
    dataset.attrs["sample_varying"], dataset.attrs["time_varying"] = samples, times
    dataset.attrs["dim_varying"] = list(dims)


FIELDS = {
    "pressure": noise(N, T, X, Y),
    "speed": noise(N, X, Y),  # constant in time
    "wall": noise(X, Y),  # for all trajectories
    "profile": noise(N, T, Y),  # the same along x
    "velocity": noise(N, T, X, Y, 2),
    "D": noise(N, T, X, Y, 2, 2),
}


def write(path, boundaries=(("x", "PERIODIC"), ("y", "WALL")), time_varies=False):
    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="acoustic", grid_type="cartesian", n_spatial_dims=2, n_trajectories=N
        )
        file.attrs["simulation_parameters"], file.attrs["Re"] = ["Re"], 1e4
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        time = np.arange(T, dtype=np.float32) * 0.25
        dims["time"] = np.outer([1, 2, 1], time) if time_varies else time
        dims["time"].attrs["sample_varying"] = time_varies
        dims["x"] = np.linspace(0, 1, X, endpoint=False, dtype=np.float32)
        dims["y"] = np.linspace(0, 3, Y, dtype=np.float32)
        for name in "xy":
            dims[name].attrs["sample_varying"] = dims[name].attrs["time_varying"] = False
        conditions = file.create_group("boundary_conditions")
        for index, (axis, kind) in enumerate(boundaries):
            group = conditions.create_group(f"{axis}_{kind}_{index}")
            group.attrs["associated_dims"], group.attrs["associated_fields"] = [axis], []
            group.attrs["bc_type"] = kind
            group.attrs["sample_varying"] = group.attrs["time_varying"] = False
            group["mask"] = np.isin(np.arange({"x": X, "y": Y}[axis]), (0, -1))
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = ["Schmidt"]
        scalars["Schmidt"] = np.float32(0.5)
        scalars["Schmidt"].attrs["sample_varying"] = False
        scalars["Schmidt"].attrs["time_varying"] = False
        names = {"t0_fields": ["pressure", "speed", "wall", "profile"], "t1_fields": ["velocity"]}
        for order, held in (names | {"t2_fields": ["D"]}).items():
            group = file.create_group(order)
            group.attrs["field_names"] = held
            for name in held:
                group[name] = FIELDS[name]
                varying(group[name])
        varying(file["t0_fields/speed"], times=False)
        varying(file["t0_fields/wall"], samples=False, times=False)
        varying(file["t0_fields/profile"], dims=(False, True))
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "acoustic.hdf5")


class TestFields:
    def test_names(self, path):
        file = open_fields(path)
        assert isinstance(file, TheWellFile)
        tensors = ("D_xx", "D_xy", "D_yx", "D_yy")
        scalars = ("pressure", "speed", "wall", "profile")
        assert file.fields == (*scalars, "velocity_x", "velocity_y", *tensors)
        assert file.layout.constant == ("speed", "wall")
        assert (file.n_samples, file.n_times, file.grid_shape) == (N, T, (X, Y))

    @pytest.mark.parametrize("samples", [slice(None), slice(1, 2), slice(0, 3, 2)])
    @pytest.mark.parametrize("times", [slice(None), slice(1, 4, 2)])
    def test_values_against_broadcast_arrays(self, path, samples, times):
        everywhere = {
            "pressure": FIELDS["pressure"],
            "speed": FIELDS["speed"][:, None],
            "wall": FIELDS["wall"][None, None],
            "profile": FIELDS["profile"][:, :, None],
            "velocity_y": FIELDS["velocity"][..., 1],
            "D_yx": FIELDS["D"][..., 1, 0],
        }
        file = open_fields(path)
        for name, values in everywhere.items():
            expected = np.broadcast_to(values, (N, T, X, Y))[samples, times]
            read = file.read(samples, times, [name])
            assert torch.equal(read[:, :, 0], torch.tensor(expected.copy())), name
        together = file.read(samples, times, list(everywhere))
        assert torch.equal(together[:, :, 4:5], file.read(samples, times, ["velocity_y"]))
        assert torch.equal(together[:, :, 2:3], file.read(samples, times, ["wall"]))

    def test_tensors_stored_flat(self, path):
        with h5py.File(path, "r+") as file:
            values = file["t2_fields/D"][()]
            del file["t2_fields/D"]
            file["t2_fields/D"] = values.reshape(N, T, X, Y, 4)
            varying(file["t2_fields/D"])
        read = open_fields(path).read(fields=["D_xy"])
        assert torch.equal(read[:, :, 0], torch.from_numpy(FIELDS["D"][..., 0, 1]))

    def test_trajectories(self, path):
        module = TrajectoryModule(path, n_train=2, n_test=1, n_steps_in=2, n_steps_out=2)
        spec = module.spec
        assert "speed" not in spec.fields
        assert "pressure" in spec.fields
        assert spec.dt == 0.25
        assert spec.boundary == ("periodic", "wall")
        assert spec.domain_extent == (1.0, 3.0)  # the last cell of a periodic axis counts


class TestBoundary:
    @pytest.mark.parametrize(
        ("conditions", "expected"),
        [
            ([("x", "PERIODIC"), ("y", "PERIODIC")], ("periodic", "periodic")),
            ([("x", "wall"), ("y", "open")], ("wall", "open")),
            ([("x", "OPEN")], ("open", "open")),  # open where none is told
        ],
    )
    def test_of_each_axis(self, tmp_path, conditions, expected):
        assert open_fields(write(tmp_path / "a.h5", conditions)).boundary == expected

    def test_condition_on_both_axes(self, tmp_path):
        """A maze: walls on all of the upper side and on some of the inside, y open below."""
        path = write(tmp_path / "a.h5", [])
        with h5py.File(path, "r+") as file:
            mask = np.zeros((X, Y), bool)
            mask[2:4, 1] = mask[:, -1] = mask[0, 0] = True
            group = file.create_group("boundary_conditions/xy_wall")
            group.attrs["associated_dims"], group.attrs["bc_type"] = ["x", "y"], "WALL"
            group["mask"] = mask
        assert open_fields(path).boundary == ("open", "wall")

    def test_mask_of_each_sample_and_names_as_bytes(self, tmp_path):
        path = write(tmp_path / "a.h5", [])
        with h5py.File(path, "r+") as file:
            group = file.create_group("boundary_conditions/xy")
            group.attrs["associated_dims"] = np.array([b"x", b"y"])
            group.attrs["bc_type"] = b"PERIODIC"
            mask = np.zeros((N, X, Y), bool)
            mask[:, 0] = mask[:, -1] = True
            group["mask"] = mask
        # part of each end of y is periodic too: the corners
        assert open_fields(path).boundary == ("periodic", "periodic")


class TestInfoAndTimes:
    def test_describe(self, path):
        about = open_fields(path).describe()
        assert about["parameters"] == {"Re": 1e4, "Schmidt": 0.5}
        assert (about["dataset"], about["grid_type"]) == ("acoustic", "cartesian")
        text = info(path)
        for words in ("The Well (PDE fields)", "velocity_y", "periodic, wall", "speed, wall"):
            assert words in text

    def test_times_that_differ_between_trajectories(self, tmp_path):
        file = open_fields(write(tmp_path / "a.h5", time_varies=True))
        assert (file.n_times, file.dt, file.layout.times) == (T, None, None)


class TestBadFiles:
    def test_field_that_is_not_there(self, path):
        with h5py.File(path, "r+") as file:
            del file["t1_fields/velocity"]
        with pytest.raises(ValueError, match=r"`t1_fields` of .* its `field_names`, got no velo"):
            open_fields(path)

    def test_shape_that_does_not_fit(self, path):
        with h5py.File(path, "r+") as file:
            del file["t1_fields/velocity"]
            file["t1_fields/velocity"] = noise(N, T, X, Y, 3)
            varying(file["t1_fields/velocity"])
        with pytest.raises(ValueError, match=r"velocity` of .*\(3, 5, 6, 4\), got .*2 components"):
            open_fields(path)

    def test_other_files(self, tmp_path):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["tensor"] = noise(3, 4)
        with pytest.raises(ValueError, match=r"must hold `dimensions`.*got \['tensor'\]"):
            TheWellFile(tmp_path / "x.h5")

    def test_lacking_attributes_and_truncation(self, path):
        with h5py.File(path, "r+") as file:
            del file.attrs["n_trajectories"]
        with pytest.raises(ValueError, match=r"must be a complete HDF5 file, got parts that do"):
            open_fields(path)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(ValueError, match=r"acoustic\.hdf5 must be a complete HDF5 file"):
            open_fields(path)
