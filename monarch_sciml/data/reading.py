"""Files of named arrays, read window by window, whatever they are stored in."""

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
    """Read arrays by their names, window by window; nothing stays open between two reads.

    Arrays inside a struct of MATLAB, a nested dict or a group are named by the whole path, its
    parts joined by ".", "data.kspace"; "/" is understood too. Arrays of text and Python objects
    are left out.

    Attributes
    ----------
    path
        The file.
    on_disk
        Whether `path` is one file that holds them all.
    container
        What the arrays are stored in, for display.
    shapes
        Shape of each array, by its name.
    dims
        Names of the axes of those arrays for which the file tells them.
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
        """Read part of an array; `index` has one entry an axis, or fewer for whole last axes."""

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file for several reads; what is given reads as `window` does."""
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
    """Names of the real fields of an array: itself, or `name.real` and `name.imag`."""
    return tuple(f"{name}.{part}" for part in COMPLEX_PARTS) if is_complex else (name,)


def is_complex_type(dtype: np.dtype[Any]) -> bool:
    """Whether values are complex: of numpy's type or of MATLAB 7.3's pairs (real, imag)."""
    return dtype.kind == "c" or dtype.names == COMPLEX_PARTS


def is_number_type(dtype: np.dtype[Any]) -> bool:
    """Whether values are numbers: not text, dates or Python objects."""
    return dtype.kind in "biufc" or is_complex_type(dtype)


def complex_values(array: np.ndarray) -> np.ndarray:
    """Return an array whose pairs (real, imag), where it holds such, are complex numbers."""
    if array.dtype.names != COMPLEX_PARTS:
        return array
    pairs = np.ascontiguousarray(array)
    if pairs.dtype["real"] == pairs.dtype["imag"] and pairs.dtype.itemsize in (8, 16):
        return pairs.view(np.dtype(f"{pairs.dtype['real'].byteorder}c{pairs.dtype.itemsize}"))
    return array["real"] + 1j * array["imag"]


def real_part(array: np.ndarray, name: str) -> np.ndarray:
    """Take the part that the field `name` names (see `real_names`), in this machine's byte order.

    Other byte orders, as MATLAB or a foreign machine may write them, torch does not read.
    """
    part = name.rpartition(".")[2]
    if array.dtype.names == COMPLEX_PARTS:
        array = array[part]
    elif array.dtype.kind == "c":
        array = np.real(array) if part == "real" else np.imag(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
