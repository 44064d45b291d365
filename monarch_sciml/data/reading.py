"""The interface of files of named arrays, which are read window by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from monarch_sciml._checks import message

COMPLEX_PARTS = ("real", "imag")

Index = tuple[slice | int, ...]
Reader = Callable[..., np.ndarray]
"""Called with the name of an array and an index."""


class ArrayFile(ABC):
    """Read windows of arrays by name, without keeping the file open between two reads.

    Arrays inside a struct of MATLAB, a nested dict or a group are named by the whole path, its
    parts joined by ".", "data.kspace"; "/" is understood too. Arrays of text and Python objects
    are left out.

    Attributes
    ----------
    path
        The file.
    on_disk
        Whether `path` is a single file that holds all arrays.
    container
        Description of the kind of file, for display.
    shapes
        Shape of each array, by its name.
    dims
        Names of the axes of those arrays for which the file has them.
    """

    path: Path
    container: str
    on_disk: bool = True
    shapes: Mapping[str, tuple[int, ...]]
    dims: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @abstractmethod
    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""

    def is_complex(self, name: str) -> bool:
        """Whether an array holds complex numbers."""
        return is_complex_type(self.dtype(name))

    @abstractmethod
    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array; `index` has one entry per axis, or fewer to read whole last
        axes.
        """

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file for several reads, and yield a function that reads like `window`."""
        yield self.window

    def find(self, name: str) -> str:
        """Return the full name of an array, given as `name`.

        Raises
        ------
        ValueError
            When there is none of that name.
        """
        for known in self.shapes:
            if known.replace("/", ".") == name.replace("/", "."):
                return known
        held = ", ".join(f"{key} {shape}" for key, shape in self.shapes.items())
        rule = f"`variable` must name one of the arrays of {self.path}: {held[:300] or 'none'}"
        raise ValueError(message(rule, repr(name), "Pass one of these names."))


def real_names(name: str, is_complex: bool) -> tuple[str, ...]:
    """Return the names of the real fields of an array: its own, or `name.real` and `name.imag`."""
    return tuple(f"{name}.{part}" for part in COMPLEX_PARTS) if is_complex else (name,)


def is_complex_type(dtype: np.dtype[Any]) -> bool:
    """Return whether values are complex, of numpy's type or MATLAB 7.3's pairs (real, imag)."""
    return dtype.kind == "c" or dtype.names == COMPLEX_PARTS


def is_number_type(dtype: np.dtype[Any]) -> bool:
    """Return whether values are numbers rather than text, dates or Python objects."""
    return dtype.kind in "biufc" or is_complex_type(dtype)


def complex_values(array: np.ndarray) -> np.ndarray:
    """Return an array in which pairs (real, imag) have become complex numbers."""
    if array.dtype.names != COMPLEX_PARTS:
        return array
    pairs = np.ascontiguousarray(array)
    if pairs.dtype["real"] == pairs.dtype["imag"] and pairs.dtype.itemsize in (8, 16):
        return pairs.view(np.dtype(f"{pairs.dtype['real'].byteorder}c{pairs.dtype.itemsize}"))
    return array["real"] + 1j * array["imag"]


def real_part(array: np.ndarray, name: str) -> np.ndarray:
    """Return the part that a name of `real_names` selects, in the byte order of this machine.

    MATLAB or another machine may write another byte order, which torch does not read.
    """
    part = name.rpartition(".")[2]
    if array.dtype.names == COMPLEX_PARTS:
        array = array[part]
    elif array.dtype.kind == "c":
        array = np.real(array) if part == "real" else np.imag(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
