"""Which axis of which array is what: told by names and coordinates, named by the user, or asked."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray
from scipy.io import savemat

from monarch_sciml.data import ArrayFields, PairModule, TrajectoryModule, open_fields
from monarch_sciml.data.array_files import MemoryArrays

CASES = Path(__file__).parents[3] / "../shared/cases/fields"
N, T, X, Y = 6, 4, 8, 5


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def read(arrays, **options):
    return ArrayFields(MemoryArrays(arrays), **options)


def reading(arrays, **options):
    return read(arrays, **options).about["reading"]


x, y, t = np.linspace(0, 1, X), np.linspace(0, 2, Y), np.linspace(0, 3, T)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"u": noise(N, T, X), "x": x, "t": t}, {"u": "sample,time,x"}),
        ({"u": noise(N, X, T), "x": x, "t": t[None]}, {"u": "sample,x,time"}),
        ({"w": noise(T, X, Y), "x": x[:, None], "y": y, "tspan": t}, {"w": "time,x,y"}),
        ({"w": noise(Y, X), "x": x, "y": y, "t": t}, {"w": "y,x"}),
        ({"u": noise(N, T, X, 2), "x": x, "t": t}, {"u": "sample,time,x,channel"}),
        ({"u": noise(N, 1, X), "f": noise(N, X), "x": x}, {"u": "sample,1,x", "f": "sample,x"}),
        ({"u": noise(X, T, X), "x": x, "t": t}, {"u": "sample,time,x"}),  # samples come first
        ({"u": noise(N, T, X), "t": t}, {"u": "sample,time,x"}),
        ({"u": noise(N, T, X), "m": noise(X), "x": x, "t": t}, {"u": "sample,time,x", "m": "x"}),
        ({"u": noise(N, X), "nu": noise(N), "x": x}, {"u": "sample,x", "nu": "sample"}),
        ({"x": noise(N, X), "y": noise(N, X)}, {"x": "sample,x", "y": "sample,x"}),
        ({"a": noise(N, X, Y), "u": noise(N, X, Y)}, {"a": "sample,x,y", "u": "sample,x,y"}),
        ({"x": noise(N, X, 1), "y": noise(N, X, 1)}, {"x": "sample,x,1", "y": "sample,x,1"}),
        ({"x": noise(N, 2, X), "y": noise(N, 1, X)}, {"x": "sample,channel,x", "y": "sample,1,x"}),
        ({"a": noise(N, X, 3), "u": noise(N, X, 2)}, dict.fromkeys("au", "sample,x,channel")),
        ({"x": noise(N, X, 3), "y": noise(N, X)}, {"x": "sample,x,channel", "y": "sample,x"}),
    ],
)  # fmt: skip
def test_names_and_coordinates_that_leave_one_reading(arrays, expected):
    assert reading(arrays) == expected


@pytest.mark.parametrize(
    "arrays",
    [
        {"u": noise(N, T, X)},
        {"u": noise(X, X), "x": x, "t": np.linspace(0, 9, X)},
        {"u": noise(N, X, X), "x": x, "y": 2 * x},
        {"x": noise(N, X), "y": noise(N, T, X, seed=1)},
        {"x": noise(N, 3, X, Y), "y": noise(N, 3, X, Y)},
        {"u": noise(T, X, 2), "x": x, "t": t},
        {"u": noise(N, T + 1, X), "x": x, "t": t},
        {"first": noise(N, X), "second": noise(N, X)},
    ],
)
def test_several_readings_are_asked_for(arrays):
    with pytest.raises(ValueError, match=r"axes.*Pass `axes`|Pass `axes`") as told:
        read(arrays)
    assert "\n" not in str(told.value)
    # a remedy that the message names works
    words = str(told.value).partition("Pass `axes`, ")[2]
    example = words.partition(":" if words.startswith("one of") else "example")[2].split()[0]
    assert read(arrays, axes=example.strip(".,;")).n_samples >= 1


def test_a_square_grid_of_equal_coordinates_has_one_reading():
    file = read({"u": noise(N, X, X), "x": x, "y": x})
    assert (file.about["reading"], file.grid_shape) == ({"u": "sample,x,y"}, (X, X))


def test_the_first_frame_is_no_field_of_its_own():
    u = noise(N, T, X)
    file = read({"input": u[:, 0], "output": u, "tspan": t, "x": x})
    assert (file.fields, file.dt) == (("output",), 1.0)
    assert "`input` is left out: it is the first frame" in file.about["notes"][0]
    assert read({"x": u[:, 0], "y": u}).about["reading"] == {"y": "sample,time,x"}
    force = read({"input": noise(N, X, seed=1), "output": u, "tspan": t, "x": x})
    assert (force.fields, force.layout.constant) == (("input", "output"), ("input",))


@pytest.mark.parametrize("axes", ["sample,time,x,y", "sample,channel,time,y,x", "y,time,x,sample"])
@pytest.mark.parametrize("flip", [(), ("x",), ("x", "time")])
def test_named_axes_give_each_value_its_place(axes, flip):
    sizes = {"sample": N, "time": T, "channel": 2, "x": X, "y": Y}
    names = axes.split(",")
    whole = noise(*(sizes[name] for name in names))
    points = {"x": x, "t": t}
    turned = {
        {"x": "x", "time": "t"}[axis]: points[{"x": "x", "time": "t"}[axis]][::-1] for axis in flip
    }
    file = read({"u": whole, **points, **turned}, axes=axes)
    grid = tuple(name for name in names if name in "xy")
    assert (file.layout.axes, file.grid_shape) == (grid, tuple(sizes[name] for name in grid))
    right = np.flip(whole, [names.index(axis) for axis in flip])
    order = [names.index(name) for name in ("sample", "time", "channel", *grid) if name in names]
    right = right.transpose(order)
    right = right if "channel" in names else right[:, :, None]
    window = file.read(slice(1, 5, 2), slice(0, 3, 2))
    assert torch.equal(window, torch.from_numpy(right[1:5:2, 0:3:2].copy()))
    assert all(a < b for a, b in zip(file.layout.times, file.layout.times[1:]))
    notes = [note for note in file.about.get("notes", ()) if "falls: turned round" in note]
    assert len(notes) == len(flip)


def test_arrays_with_fewer_axes_have_those_that_fit():
    arrays = {"u": noise(N, T, X), "force": noise(N, X), "m": noise(X), "nu": noise(N, 1)}
    file = read(arrays, axes="sample,time,x")
    assert file.about["reading"] == {
        "u": "sample,time,x", "force": "sample,x", "m": "x", "nu": "sample,1",
    }  # fmt: skip
    assert file.layout.constant == ("force", "m", "nu")
    values = file.read(slice(2, 4), slice(1, 3))
    assert torch.equal(values[:, 1, 3], torch.from_numpy(arrays["nu"][2:4]).expand(2, X))
    assert torch.equal(values[1, 0, 1], torch.from_numpy(arrays["force"][3]))


def test_axes_of_each_array():
    arrays = {"k": noise(X, N), "u": noise(N, X), "other": noise(3, 3)}
    file = read(arrays, axes={"k": "x,sample", "u": "sample,x"})
    assert torch.equal(file.read()[:, 0, 0], torch.from_numpy(arrays["k"].T.copy()))
    assert file.about["notes"] == ["left out: other (3, 3)"]
    assert file.layout.pair == (("k",), ("u",))


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ("sample,time", r"every axis of an array.* got sample,time"),
        ("sample,time,width", "must name each axis once, out of sample, time, channel"),
        ("sample,x,x", "must name each axis once"),
        ({"u": "sample,x"}, r"each of the 3 axes of `u` \(6, 4, 8\), got sample,x"),
        ({"v": "sample,time,x"}, r"one of the arrays of .*: u \(6, 4, 8\).*got 'v'"),
        ("sample,time,1", "must name every axis|at least one of a grid"),
    ],
)
def test_axes_that_do_not_fit_are_refused(axes, words):
    with pytest.raises(ValueError, match=words) as told:
        read({"u": noise(N, T, X)}, axes=axes)
    assert "\n" not in str(told.value)


def test_numbers_of_samples_and_of_the_file():
    file = read({"x": noise(N, X), "y": noise(N, X), "nu": noise(N, 1), "visc": np.array([[0.1]])})
    assert file.layout.pair == (("x", "nu"), ("y",))
    assert file.about["parameters"] == {"viscosity": 0.1}


def test_channels_and_complex_values_are_fields():
    u = noise(N, 2, X) + 1j * noise(N, 2, X, seed=1)
    file = read({"x": u, "y": u[:, :1]})
    inputs = ("x_0.real", "x_0.imag", "x_1.real", "x_1.imag")
    assert file.layout.pair == (inputs, ("y.real", "y.imag"))
    assert torch.equal(
        file.read(fields=["x_1.imag"])[:, 0, 0], torch.from_numpy(u[:, 1].imag.copy())
    )


def test_only_what_matlab_wrote_is_reversed(tmp_path):
    for marked in (False, True):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["a"], file["u"] = noise(N, X), noise(N, X)
            if marked:
                file["u"].attrs["MATLAB_class"] = np.bytes_("double")
        source = open_fields(tmp_path / "a.h5")
        assert (source.n_samples, source.grid_shape) == ((X, (N,)) if marked else (N, (X,)))


def test_netcdf_dimensions_name_the_axes(tmp_path):
    values = noise(N, T, Y, X)
    held = xarray.Dataset(
        {"u": (("member", "time", "lat", "lon"), values), "s": (("member", "other"), noise(N, 3))},
        coords={"lon": x, "lat": y[::-1], "time": t},
    )
    held.rename(member="case").to_netcdf(tmp_path / "a.nc", engine="scipy")
    file = open_fields(tmp_path / "a.nc")
    assert (file.layout.axes, file.grid_shape, file.dt) == (("y", "x"), (Y, X), 1.0)
    assert file.about["notes"] == ["left out: s (6, 3)", "y falls: turned round"]
    assert torch.equal(file.read()[:, :, 0], torch.from_numpy(values[:, :, ::-1].copy()))


def chebyshev(tmp_path):
    points = np.cos(np.pi * np.arange(17) / 16)
    savemat(tmp_path / "a.mat", {"x": points, "t": np.arange(9.0), "u": noise(17, 9)})
    return tmp_path / "a.mat"


def test_points_that_are_not_equally_spaced(tmp_path):
    path = chebyshev(tmp_path)
    sizes = {"split": "time", "n_train": 4, "n_test": 4, "n_steps_in": 1, "n_steps_out": 2}
    with pytest.raises(ValueError, match=r"along x must be equally spaced, got steps from 0.0192"):
        TrajectoryModule(path, **sizes)
    data = TrajectoryModule(path, **sizes, spacing="any")  # the remedy of that line
    assert data.source.layout.uneven == ("x",)
    assert list(data.source.layout.coordinates[0]) == sorted(data.source.layout.coordinates[0])
    assert "x is not equally spaced" in open_fields(path).about["notes"]


def test_points_that_rise_and_fall_are_refused():
    with pytest.raises(ValueError, match="must rise or fall along x, got values that do both"):
        read({"u": noise(T, X), "x": np.abs(x - 0.5), "t": t})


def test_modules_pass_axes_on(tmp_path):
    np.save(tmp_path / "a.npy", noise(N, T, X))
    np.save(tmp_path / "b.npy", noise(N, T, X, seed=1))
    options = {"n_train": 4, "n_test": 2, "axes": "sample,time,x", "test_path": tmp_path / "b.npy"}
    pairs = PairModule(tmp_path / "a.npy", input_frame=0, target_frame=-1, **options)
    assert pairs.train[0]["input"].shape == (1, 1, X)
    channels = PairModule(
        tmp_path / "a.npy", n_train=4, n_test=2, axes="sample,channel,x",
        input_fields=["u_0", "u_1"], target_fields=["u_3"],
    )  # fmt: skip
    assert channels.train[0]["input"].shape == (1, 2, X)


PARTS = ("x.real", "x.imag")
EXPECTED = {  # file: (samples, frames, grid), fields, inputs
    "bench_unmerged.hdf5": ((20, 11, (32,)), ("tensor",), ()),
    "py_names.h5": ((60, 1, (64,)), ("a", "u"), ("a",)),
    "py_traj.h5": ((40, 11, (32,)), ("u",), ()),
    "plain_u.h5": ((20, 11, (32,)), ("u",), ()),
    "chebyshev.mat": ((1, 21, (33,)), ("u",), ()),
    "descending.mat": ((1, 21, (32,)), ("u",), ()),
    "complex_pair.pt": ((60, 1, (64,)), (*PARTS, "y.real", "y.imag"), PARTS),
    "oned_NL1.pt": ((60, 1, (64,)), ("x", "y"), ("x",)),
    "ch_first_1.pt": ((40, 1, (16, 16)), ("x", "y"), ("x",)),
    "ch_first_2_1.pt": ((40, 1, (16, 16)), ("x_0", "x_1", "y"), ("x_0", "x_1")),
    "numpy_inside.pt": ((60, 1, (64,)), ("x", "y"), ("x",)),
    "pair.npz": ((60, 1, (64,)), ("x", "y"), ("x",)),
    "wave.nc": ((1, 11, (32,)), ("u",), ()),
    "pino_burgers.mat": ((20, 11, (32,)), ("output",), ()),
    "struct.mat": ((60, 1, (64,)), ("a", "u"), ("a",)),
}  # fmt: skip


@pytest.mark.skipif(not CASES.exists(), reason="files of others are not here")
@pytest.mark.parametrize("name", EXPECTED)
def test_files_that_people_have(name):
    file = open_fields(CASES / name)
    sizes = (file.n_samples, file.n_times, file.grid_shape)
    assert (sizes, file.fields, file.layout.inputs) == EXPECTED[name]
    assert file.read(slice(2)).shape[1:] == (file.n_times, len(file.fields), *file.grid_shape)
