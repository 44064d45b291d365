"""The arrays of a .mat file: MATLAB 5 by scipy, MATLAB 7.3 as HDF5 with its axes reversed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._inspection import call_apart
from monarch_sciml._memory import check_array
from monarch_sciml._reading import file_start, open_hdf5, reading
from monarch_sciml.data.hdf5 import Hdf5Arrays, by_matlab
from monarch_sciml.data.reading import ArrayFile, Index, is_number_type

_NUMBERS = ("double", "single", "logical", "int8", "int16", "int32", "int64")
_NUMBERS += ("uint8", "uint16", "uint32", "uint64")
_BYTES = {"double": 8, "single": 4, "logical": 1}
_BYTES |= {f"{sign}int{8 * n}": n for sign in ("", "u") for n in (1, 2, 4, 8)}


def open_mat(path: str | Path) -> ArrayFile:
    """Open the arrays of a .mat file, of MATLAB 5 or 7.3.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not a .mat file, or is damaged.
    """
    path = Path(path)
    start = file_start(path)
    kind = start.kind
    if kind == "matlab 5":
        return Mat5Arrays(path)
    if kind in ("matlab 7.3", "hdf5"):
        with open_hdf5(path) as file:
            from_matlab = kind == "matlab 7.3" or by_matlab(file)
        return Hdf5Arrays(path, reverse=from_matlab)
    raise ValueError(message(f"{path} must be a .mat file", start.description, "Save it as one."))


class Mat5Arrays(ArrayFile):
    """Read the arrays of a MATLAB 5 file, including those inside its structs.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        When it is no such file, or damaged.

    Notes
    -----
    x Numbers that MATLAB saved in a shorter type than they have are read in that shorter type, as
    scipy does.
    """

    container = "MATLAB 5"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, np.ndarray] = {}
        self._sizes: dict[str, tuple[tuple[int, ...], int]] = {}
        with reading(path):
            self.shapes = dict(self._found())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def _found(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, shape, matlab_class in call_apart(_listed, self.path):
            self._sizes[name] = tuple(shape), _BYTES.get(matlab_class, 8)
            if matlab_class in _NUMBERS:
                yield name, tuple(shape)
            elif matlab_class == "struct":
                members = dict(_members(name, self._load(name)))
                self._kept |= members
                yield from ((member, array.shape) for member, array in members.items())

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the type of the values, for which the format requires the array to be read."""
        return self.window(name).dtype

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array, in MATLAB's order of axes."""
        with reading(self.path):
            if name not in self._kept:
                top = name.partition(".")[0]
                self._kept |= dict(_members(top, self._load(top)))
            return self._kept[name][index]

    def _load(self, name: str) -> np.ndarray:
        check_array(self.path, name, *self._sizes[name])
        return call_apart(_loaded, self.path, name)


def _listed(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    from scipy.io import whosmat

    return whosmat(path)


def _loaded(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    return loadmat(path, variable_names=[name])[name]


def _members(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield an array of numbers, or those inside a struct of one element, with their full names."""
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names and value.size == 1:
        for member in value.dtype.names:
            yield from _members(f"{name}.{member}", value[member].reshape(-1)[0])
    elif is_number_type(value.dtype):
        yield name, value
