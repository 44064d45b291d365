"""Open a file of named arrays: .npy, .npz, .pt, .mat, HDF5, NetCDF or Zarr, or arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml._memory import check_array
from monarch_sciml._reading import file_start, load_npy, reading
from monarch_sciml.data.mat import open_mat
from monarch_sciml.data.netcdf import DatasetArrays, is_netcdf4
from monarch_sciml.data.reading import ArrayFile, Index, Reader, is_number_type
from monarch_sciml.data.torch_file import TorchArrays

LONE = "u"
"""Name of the array of a file that holds one without a name."""

ARRAY_KINDS = ".npy, .npz, .pt, .mat, HDF5, NetCDF or Zarr"


def open_arrays(path: str | Path) -> ArrayFile:
    """Open a file of named arrays, recognised by its content.

    Parameters
    ----------
    path
        A .npy file (its array is called `u`), a .npz, a .pt of tensors and arrays, a .mat of MATLAB
        5 or 7.3, an HDF5 file, a NetCDF file or the folder of a Zarr store.

    Returns
    -------
    ArrayFile
        The arrays of the file by their names. Axes are in the order of the program that wrote the
        file: those of a file of MATLAB are in MATLAB's order.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When it is NetCDF or Zarr and xarray is not installed.
    ValueError
        When the file is of another kind, or damaged.
    """
    path = Path(path)
    start = file_start(path)
    kind = start.kind
    if kind == "hdf5" and not is_netcdf4(path):
        return open_mat(path)  # told from plain HDF5 by MATLAB's marks
    if kind in ("hdf5", "netcdf 3", "zarr"):
        return DatasetArrays(path)
    if kind in ("matlab 5", "matlab 7.3"):
        return open_mat(path)
    if kind == "torch":
        return TorchArrays(path)
    if kind == "npy":
        return NpyArrays(path)
    if kind == "npz":
        return NpzArrays(path)
    rule = f"{path} must be a file of arrays ({ARRAY_KINDS})"
    raise ValueError(message(rule, start.description, "Convert it to one of these."))


class NpyArrays(ArrayFile):
    """Read windows of the one array of a .npy file, called `u`, which is mapped into memory."""

    container = "NumPy .npy"

    def __init__(self, path: Path) -> None:
        self.path = path
        array = load_npy(path)
        self.shapes = {LONE: array.shape}
        self._dtype = array.dtype
        if not is_number_type(array.dtype):
            rule = f"{path} must hold numbers"
            raise ValueError(message(rule, array.dtype, "Save an array of numbers."))

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values."""
        return self._dtype

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of the array."""
        part = load_npy(self.path)[index]
        check_array(self.path, name, part.shape, part.itemsize)
        return np.array(part)


class NpzArrays(ArrayFile):
    """Read the arrays of a .npz file, each whole when first needed, and kept.

    The format does not allow reading a part of an array. Arrays that were read are not passed on to
    spawned worker processes.
    """

    container = "NumPy .npz"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, np.ndarray] = {}
        with reading(path), np.load(path, allow_pickle=False) as archive:
            headers = {name: _npy_header(archive, name) for name in archive.files}
        found = {name: (s, t) for name, (s, t) in headers.items() if is_number_type(t)}
        self.shapes = {name: shape for name, (shape, _) in found.items()}
        self._types = {name: dtype for name, (_, dtype) in found.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        return self._types[name]

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        if name not in self._kept:
            check_array(self.path, name, self.shapes[name], self._types[name].itemsize)
            with reading(self.path), np.load(self.path, allow_pickle=False) as archive:
                self._kept[name] = archive[name]
        return self._kept[name][index]


def _npy_header(archive: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of an array of an archive without reading its values."""
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    with archive.zip.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return shape, dtype


class MemoryArrays(ArrayFile):
    """Read arrays and tensors in memory by their names, like those of a file.

    Parameters
    ----------
    arrays
        Tensors or arrays of numbers.
    path
        Name of the arrays in error messages.

    Raises
    ------
    ValueError
        When one of the arrays does not hold numbers.
    """

    container = "memory"
    on_disk = False

    def __init__(self, arrays: Mapping[str, Any], path: str = "the arrays in memory") -> None:
        self.path = Path(path)
        self._arrays = {name: _as_array(name, values) for name, values in arrays.items()}
        self.shapes = {name: array.shape for name, array in self._arrays.items()}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        return self._arrays[name].dtype

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Take part of an array."""
        return self._arrays[name][index]


def _as_array(name: str, values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().resolve_conj()
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    array = np.asarray(values)
    if not is_number_type(array.dtype):
        rule = f"`{name}` must be an array of numbers"
        raise ValueError(message(rule, type(values).__name__, "Pass a tensor or an array."))
    return array


class JoinedArrays(ArrayFile):
    """Read the arrays of several files like those of one; a single array has the name of its file.

    Parameters
    ----------
    paths
        The files.

    Raises
    ------
    ValueError
        When two arrays have the same name.
    """

    container = "several files"
    on_disk = False

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.path = Path(", ".join(map(str, paths)))
        self._places: dict[str, tuple[ArrayFile, str]] = {}
        for path in map(Path, paths):
            file = open_arrays(path)
            for name in file.shapes:
                lone = isinstance(file, NpyArrays) or list(file.shapes) == [LONE]
                full = path.stem.replace(".", "_") if lone else name
                if full in self._places:
                    other = self._places[full][0].path
                    rule = f"the arrays of {other} and {path} must have different names"
                    raise ValueError(message(rule, f"{full} twice", "Rename one of them."))
                self._places[full] = (file, name)
        self.shapes = {full: file.shapes[name] for full, (file, name) in self._places.items()}
        self.dims = {
            full: file.dims[name]
            for full, (file, name) in self._places.items()
            if name in file.dims
        }

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        file, own = self._places[name]
        return file.dtype(own)

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        file, own = self._places[name]
        return file.window(own, index)


class Selected(ArrayFile):
    """Read one array of a file, or those inside one struct or group of it under their short names.

    Parameters
    ----------
    file
        The file.
    variable
        Name of an array, a struct or a group.

    Raises
    ------
    ValueError
        When the file holds none of that name.
    """

    def __init__(self, file: ArrayFile, variable: str) -> None:
        self.path, self.container, self._file = file.path, file.container, file
        self.on_disk = file.on_disk
        wanted = variable.replace("/", ".").strip(".")
        inside = [n for n in file.shapes if n.replace("/", ".").startswith(f"{wanted}.")]
        self._places = {name[len(wanted) + 1 :]: name for name in inside}
        if not inside:
            name = file.find(variable)
            self._places = {name.replace("/", ".").rpartition(".")[2]: name}
        self.shapes = {own: file.shapes[name] for own, name in self._places.items()}
        self.dims = {o: file.dims[name] for o, name in self._places.items() if name in file.dims}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        return self._file.dtype(self._places[name])

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        return self._file.window(self._places[name], index)

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file for several reads."""
        with ExitStack() as stack:
            read = stack.enter_context(self._file.opened())
            yield lambda name, index=(): read(self._places[name], index)


def selected(file: ArrayFile, variable: str | None) -> ArrayFile:
    """Return the arrays that `variable` names, or by default those of the only struct or group."""
    if variable is not None:
        return Selected(file, variable)
    tops = {name.replace("/", ".").partition(".")[0] for name in file.shapes}
    nested = all("." in name.replace("/", ".") for name in file.shapes)
    if len(tops) == 1 and nested:
        return selected(Selected(file, tops.pop()), None)
    return file
