"""HDF5 files: made on a disk that may be full; opened for one read, refused in one line when
damaged, told apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import existing_file, message

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class _Patient(io.FileIO):
    """A file that keeps what its disk refuses to itself: HDF5 crashes when a write fails."""

    refused: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, unless something was refused before."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.refused is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Change the size, unless something was refused before."""
        try:
            return super().truncate(size) if self.refused is None else size or 0
        except OSError as error:
            self.refused = error
            return size or 0


@contextmanager
def writable_hdf5(path: str | Path, *, append: bool = False) -> Iterator[Any]:
    """Make an HDF5 file, or open one to add to it.

    Raises
    ------
    OSError
        On leaving, when the disk refused a part of it: the file is incomplete then.
    """
    import h5py

    with _Patient(path, "r+" if append else "w+") as stream:
        try:
            with h5py.File(stream, "r+" if append else "w") as file:
                yield file
        finally:  # before an error of HDF5, which may have missed what it had written
            if stream.refused is not None:
                raise stream.refused


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for one read.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no HDF5 file, or truncated or damaged.
    """
    import h5py

    path = existing_file(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # h5py, depending on where the damage is
        reason = " ".join(str(error).split())
        rule = f"{path} must be a complete HDF5 file"
        raise ValueError(message(rule, reason, "Copy or export the file again.")) from error


def plain(value: Any) -> Any:
    """Return an attribute of an HDF5 file as a plain Python value."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a contiguous tensor, complex64 or float32."""
    dtype = np.complex64 if array.dtype.kind == "c" else np.float32
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
