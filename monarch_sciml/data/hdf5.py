"""HDF5 files: made on a disk that may be full; opened for one read, refused in one line when
damaged, told apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from monarch_sciml._checks import existing_file, message

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

Hdf5Format = Literal["fastmri", "ismrmrd", "skm-tea", "calgary-campinas"]


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


def acquisitions_of(file: Any) -> Any | None:
    """Return the first group of ISMRMRD raw data (`xml` and `data`) of an open file, or None."""
    import h5py

    for value in file.values():
        if isinstance(value, h5py.Group) and "xml" in value and "data" in value:
            return value
    return None


def format_of(file: Any, path: Path) -> Hdf5Format:
    """Return the format of k-space that an open HDF5 file has, by its data sets.

    | format | how it is told |
    |---|---|
    | ismrmrd | a group with `xml` and `data`; a fastMRI file has `ismrmrd_header`, no such group |
    | skm-tea | `kspace` complex with five axes |
    | calgary-campinas | `kspace` real with four axes |
    | fastmri | `kspace` complex with three or four axes |

    Raises
    ------
    ValueError
        When it is none of them.
    """
    import h5py

    if acquisitions_of(file) is not None:
        return "ismrmrd"
    kspace = file.get("kspace")
    if not isinstance(kspace, h5py.Dataset):
        names = ", ".join(sorted(file)[:8]) or "nothing"
        rule = f"{path} must hold the data set `kspace` of a fastMRI file"
        raise ValueError(message(rule, names, "Pass a file of k-space."))
    kinds: dict[tuple[str, int], Hdf5Format] = {
        ("c", 3): "fastmri",
        ("c", 4): "fastmri",
        ("c", 5): "skm-tea",
        ("f", 4): "calgary-campinas",
    }
    form = kinds.get((kspace.dtype.kind, kspace.ndim))
    if form is None:
        rule = f"`kspace` of {path} must be complex (slices, coils, H, W) or (slices, H, W)"
        remedy = "Convert the file to fastMRI layout."
        raise ValueError(message(rule, f"{kspace.shape} {kspace.dtype}", remedy))
    return form


def hdf5_format(path: str | Path) -> Hdf5Format:
    """Return the format of k-space of an HDF5 file; errors as `open_hdf5` and `format_of`."""
    with open_hdf5(path) as file:
        return format_of(file, Path(path))


def expect_format(file: Any, path: Path, expected: Hdf5Format) -> None:
    """Raise ValueError when an open file is of another format than the one a reader is for."""
    form = format_of(file, path)
    if form != expected:
        names = {
            "fastmri": "a fastMRI file",
            "ismrmrd": "an ISMRMRD (MRD) raw-data file",
            "skm-tea": "an SKM-TEA file",
            "calgary-campinas": "a Calgary-Campinas file",
        }
        rule = f"{path} must be {names[expected]} for this reader"
        raise ValueError(message(rule, names[form], "Use `read_scan`, which tells them apart."))


def plain(value: Any) -> Any:
    """Return an attribute of an HDF5 file as a plain Python value."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a contiguous tensor, complex64 or float32."""
    dtype = np.complex64 if array.dtype.kind == "c" else np.float32
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))
