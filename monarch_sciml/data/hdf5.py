"""Write HDF5 files safely when the disk may be full, and read their arrays by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._reading import open_hdf5 as open_hdf5
from monarch_sciml._reading import part as part
from monarch_sciml._reading import reading
from monarch_sciml.data.reading import ArrayFile, Index, Reader, is_number_type


class _Patient(io.FileIO):
    """A file that records the first write that failed, because HDF5 crashes when a write fails."""

    refused: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, unless a write failed before."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.refused is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Change the size, unless a write failed before."""
        try:
            return super().truncate(size) if self.refused is None else size or 0
        except OSError as error:
            self.refused = error
            return size or 0


@contextmanager
def writable_hdf5(path: str | Path, *, append: bool = False) -> Iterator[Any]:
    """Create an HDF5 file, or open one to add to it.

    Raises
    ------
    OSError
        At the end of the `with` block, when a write failed and the file is therefore incomplete.
    """
    import h5py

    with _Patient(path, "r+" if append else "w+") as stream:
        try:
            with h5py.File(stream, "r+" if append else "w") as file:
                yield file
        finally:  # takes precedence over an error of HDF5 that follows from it
            if stream.refused is not None:
                raise stream.refused


def plain(value: Any) -> Any:
    """Return an attribute of an HDF5 file as a plain Python value."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a contiguous tensor, complex64 or float32."""
    dtype = np.complex64 if array.dtype.kind == "c" else np.float32
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))


class Hdf5Arrays(ArrayFile):
    """Read the arrays in all groups of an HDF5 file, which is opened anew for each read.

    Parameters
    ----------
    path
        The file.
    reverse
        Whether MATLAB wrote the file. Its axes are then stored in the reverse of MATLAB's order,
        and are returned in MATLAB's order.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no HDF5 file, or damaged.
    """

    def __init__(self, path: Path, *, reverse: bool = False) -> None:
        self.path, self.reverse = path, reverse
        self.container = "MATLAB 7.3" if reverse else "HDF5"
        with reading(path), open_hdf5(path) as file:
            self._places = dict(self._found(file, ""))
            stored = {name: file[place] for name, place in self._places.items()}
            step = -1 if reverse else 1
            self.shapes = {name: item.shape[::step] for name, item in stored.items()}
            axes = {name: tuple(map(_name_of, item.dims)) for name, item in stored.items()}
            self.dims = {name: names[::step] for name, names in axes.items() if all(names)}
            self._types = {name: item.dtype for name, item in stored.items()}

    def _found(self, group: Any, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the name of every array of numbers, and its place in the file."""
        import h5py

        for name, item in group.items():
            if name.startswith("#"):  # what MATLAB's cells and structs refer to
                continue
            joined = f"{prefix}.{name}" if self.reverse and prefix else f"{prefix}/{name}"
            joined = joined.removeprefix("/")
            if isinstance(item, h5py.Group):
                yield from self._found(item, joined)
            elif isinstance(item, h5py.Dataset) and item.shape and self._is_numeric(item):
                yield joined, str(item.name)

    def _is_numeric(self, item: Any) -> bool:
        text = plain(item.attrs.get("MATLAB_class", "")) in ("char", "cell")
        return is_number_type(item.dtype) and not text

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        return self._types[name]

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        with reading(self.path), open_hdf5(self.path) as file:
            return self._part(file, name, index)

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file once for several reads."""
        with open_hdf5(self.path) as file:
            yield partial(self._part, file)

    def _part(self, file: Any, name: str, index: Index = ()) -> np.ndarray:
        stored = file[self._places.get(name, name)]
        if not self.reverse:
            return part(stored, index)
        whole = (*index, *[slice(None)] * (stored.ndim - len(index)))
        return part(stored, whole[::-1]).T


def _name_of(axis: Any) -> str:
    """Return the label of an axis of an HDF5 array or the name of its scale; "" if it has
    neither.
    """
    if axis.label:
        return str(axis.label)
    return str(axis[0].name).rpartition("/")[2] if len(axis) else ""


def by_matlab(file: Any) -> bool:
    """Return whether MATLAB wrote an open HDF5 file, which its attributes of the arrays show."""
    return any("MATLAB_class" in item.attrs for item in file.values())
