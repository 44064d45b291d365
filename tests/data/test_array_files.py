"""Files of named arrays: every kind gives the same arrays, window by window."""

import pickle
import sys
import warnings
from contextlib import suppress

import h5py
import numpy as np
import pytest
import torch
import torch.utils.data
import xarray
from scipy.io import savemat

from monarch_sciml._reading import file_kind
from monarch_sciml.data import open_fields
from monarch_sciml.data.array_files import MemoryArrays, open_arrays, selected

VALUES = np.random.default_rng(0).standard_normal((4, 5, 6))


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["u"], file["text"] = VALUES, "no numbers"


def write_mat73(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["u"] = VALUES.T  # MATLAB stores column-major: HDF5 sees the axes reversed
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_npy(path, save):
    with path.open("wb") as stream:
        save(stream, VALUES)


def dataset():
    return xarray.Dataset({"u": (("sample", "time", "x"), VALUES)})


WRITERS = {
    "npy": lambda path: write_npy(path, np.save),
    "npz": lambda path: write_npy(path, lambda stream, u: np.savez(stream, u=u)),
    "torch": lambda path: torch.save({"u": torch.from_numpy(VALUES), "n": 3}, path),
    "matlab 5": lambda path: savemat(path, {"u": VALUES, "text": "no numbers"}, appendmat=False),
    "matlab 7.3": write_mat73,
    "hdf5": write_hdf5,
    "netcdf 3": lambda path: dataset().to_netcdf(path, engine="scipy"),
    "zarr": lambda path: dataset().to_zarr(path, consolidated=False),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_gives_the_same_arrays(tmp_path, kind):
    path = tmp_path / "set.data"  # the name does not matter
    WRITERS[kind](path)
    assert file_kind(path) == kind
    file = open_arrays(path)
    assert file.shapes == {"u": (4, 5, 6)}
    assert (file.dtype("u"), file.is_complex("u")) == (np.dtype("f8"), False)
    again = pickle.loads(pickle.dumps(file))  # to a worker process
    for reader in (file, again):
        assert np.array_equal(reader.window("u"), VALUES)
        window = reader.window("u", (slice(1, 4, 2), 3, slice(None)))
        assert np.array_equal(window, VALUES[1:4:2, 3])
    with file.opened() as read:
        assert np.array_equal(read("u", (slice(2),)), VALUES[:2])


def test_netcdf_4_names_its_axes(tmp_path):
    dataset().to_netcdf(tmp_path / "set.nc", engine="h5netcdf")
    file = open_arrays(tmp_path / "set.nc")
    assert (file.container, file.dims) == ("NetCDF", {"u": ("sample", "time", "x")})
    assert np.array_equal(file.window("u", (slice(1, 3),)), VALUES[1:3])


def test_netcdf_without_xarray_says_what_to_install(tmp_path, monkeypatch):
    dataset().to_netcdf(tmp_path / "set.nc", engine="scipy")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"set\.nc .*got no xarray. Install .*\[netcdf\]") as told:
        open_arrays(tmp_path / "set.nc")
    assert "\n" not in str(told.value)


def test_arrays_inside_structs_groups_and_dicts(tmp_path):
    savemat(tmp_path / "a.mat", {"data": {"a": VALUES[0], "in": {"u": VALUES}}, "other": VALUES})
    torch.save({"data": {"a": VALUES[0], "in": {"u": VALUES}}, "other": VALUES}, tmp_path / "a.pt")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/a"], file["data/in/u"], file["other"] = VALUES[0], VALUES, VALUES
    for name in ("a.mat", "a.pt", "a.h5"):
        file = open_arrays(tmp_path / name)
        for variable in ("data.in.u", "data/in/u"):
            one = selected(file, variable)
            assert one.shapes == {"u": (4, 5, 6)}
            assert np.array_equal(one.window("u"), VALUES)
        assert set(selected(file, "data").shapes) >= {"a"}
        with pytest.raises(ValueError, match=r"one of the arrays of .*data.a \(5, 6\).* got 'b'"):
            selected(file, "b")


def test_one_struct_is_looked_into(tmp_path):
    savemat(tmp_path / "a.mat", {"data": {"a": VALUES[0], "u": VALUES}})
    assert set(selected(open_arrays(tmp_path / "a.mat"), None).shapes) == {"a", "u"}


@pytest.mark.parametrize("dtype", ["?", "<i2", "<f4", "<f8", "<c8", "<c16", ">f8"])
def test_arrays_of_numpy_inside_a_pickle(tmp_path, dtype):
    values = (10 * VALUES).astype(dtype)
    torch.save({"u": values}, tmp_path / "a.pt")
    assert np.array_equal(open_arrays(tmp_path / "a.pt").window("u"), values)


@pytest.mark.parametrize("new", [False, True])
def test_a_type_of_numpy_whose_state_is_damaged_is_refused(tmp_path, new):
    """numpy.dtype itself crashes on a state with an entry less."""
    path = tmp_path / "a.pt"
    torch.save({"u": VALUES}, path, _use_new_zipfile_serialization=new)
    content = path.read_bytes()
    state = b"NNNJ\xff\xff\xff\xff"  # of a type without fields
    assert content.count(state) == 1
    path.write_bytes(content.replace(state[:4], b"N\x80NJ"))
    with warnings.catch_warnings(), suppress(ValueError):  # read, or refused
        warnings.simplefilter("ignore")  # of the protocol
        assert np.array_equal(open_arrays(path).window("u"), VALUES)


@pytest.mark.parametrize("values", [np.array(["a"]), np.array([None]), np.zeros(2, [("a", "i4")])])
def test_arrays_that_are_no_numbers_are_refused(tmp_path, values):
    torch.save({"u": values}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="must hold tensors or arrays of numbers, got an"):
        open_arrays(tmp_path / "a.pt")


def test_short_floats_of_torch_are_read_as_single_precision(tmp_path):
    values = torch.randn(3, 4).bfloat16()
    torch.save([values, values], tmp_path / "a.pt")
    file = open_arrays(tmp_path / "a.pt")
    assert list(file.shapes) == ["0", "1"]
    assert file.dtype("1") == np.float32
    assert np.array_equal(file.window("1"), values.float().numpy())


def test_a_file_of_old_torch_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    torch.save({"u": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    monkeypatch.setattr("monarch_sciml._memory.available_bytes", lambda: 4000)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=r"4\.0 kB free") as told:
        patch.setattr(torch, "load", None)  # not called
        open_arrays(path)
    assert str(told.value).startswith(f"the content of {path} of ")
    remedy = str(told.value).partition("Save it again, ")[2].partition(":")[0]
    exec(remedy, {"torch": torch, "path": path})
    assert open_arrays(path).shapes == {"u": (1000,)}  # mapped into memory


def test_a_pickled_data_set_tells_how_to_save_its_tensors(tmp_path, monkeypatch):
    x, y = torch.randn(3, 4), torch.randn(3, 4)
    torch.save(torch.utils.data.TensorDataset(x, y), tmp_path / "old.pt")
    with pytest.raises(ValueError, match=r"got a torch\.utils.*TensorDataset") as told:
        open_arrays(tmp_path / "old.pt")
    remedy = str(told.value).partition("save its tensors: ")[2].rstrip(".")
    monkeypatch.chdir(tmp_path)
    exec(remedy, {"torch": torch, "loaded": torch.load("old.pt", weights_only=False)})
    assert np.array_equal(open_arrays(tmp_path / "set.pt").window("y"), y.numpy())


def test_pickles_of_objects_are_never_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", u=np.array([{"x": 1}], dtype=object), x=VALUES)
    with pytest.raises(ValueError, match=r"a\.npy must be a complete \.npy file"):
        open_arrays(tmp_path / "a.npy")
    assert list(open_arrays(tmp_path / "a.npz").shapes) == ["x"]


@pytest.mark.parametrize("kind", ["npy", "npz", "torch", "matlab 5", "hdf5", "netcdf 3"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_a_file_cut_off_is_one_line(tmp_path, kind, share):
    WRITERS[kind](tmp_path / "set.data")
    content = (tmp_path / "set.data").read_bytes()
    (tmp_path / "set.data").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"set\.data must ") as told:
        open_arrays(tmp_path / "set.data").window("u")
    assert "\n" not in str(told.value)


def test_memory_takes_tensors_of_any_kind():
    file = MemoryArrays({"a": torch.ones(2, requires_grad=True), "b": torch.ones(2).half()})
    assert [file.dtype(name) for name in file.shapes] == [np.float32, np.float32]
    with pytest.raises(ValueError, match="`c` must be an array of numbers, got str"):
        MemoryArrays({"c": "text"})


def test_a_number_beside_tensors_in_a_pt_file(tmp_path):
    """A tensor without axes made the file look damaged."""
    x = torch.rand(20, 16)
    torch.save({"x": x, "y": 2 * x, "visc": torch.tensor(1e-3)}, tmp_path / "a.pt")
    found = open_fields(tmp_path / "a.pt")
    assert found.fields == ("x", "y")
    assert found.about["parameters"]["viscosity"] == pytest.approx(1e-3)
