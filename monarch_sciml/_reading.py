"""Recognise a file by its content, open it for one read, refuse a bad one in one line."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._hdf5_inspection import look_through
from monarch_sciml._inspection import call_apart
from monarch_sciml._memory import check_array, check_blocks, part_shape

FileKind = Literal[
    "hdf5",
    "matlab 7.3",
    "matlab 5",
    "npy",
    "npz",
    "torch",
    "netcdf 3",
    "zarr",
    "twix",
    "unknown",
]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEADER = 512  # bytes that MATLAB 7.3 puts before the HDF5 file
_STARTS: dict[bytes, FileKind] = {
    _HDF5: "hdf5",
    b"MATLAB 7.3": "matlab 7.3",
    b"MATLAB 5.0": "matlab 5",
    b"\x93NUMPY": "npy",
    b"\x80\x02": "torch",  # written by torch before 1.6: a pickle
    b"CDF\x01": "netcdf 3",
    b"CDF\x02": "netcdf 3",
    b"CDF\x05": "netcdf 3",
}
_ZIP = b"PK\x03\x04"
_TWIX_TABLE = 8 + 64 * 152  # bytes of the table of contents of a Siemens file, VD, VE or XA


def existing_file(path: str | Path) -> Path:
    """Return `path` of a file that can be read.

    Raises
    ------
    FileNotFoundError
        When it is missing.
    IsADirectoryError, OSError
        When it is a folder, a pipe or a device.
    PermissionError
        When the user may not read it, or not enter a folder that it is in.
    """
    path = Path(path)
    if not os.access(path, os.R_OK) and (refused := no_right(path)):
        raise refused
    if path.is_dir():
        raise IsADirectoryError(message("a file is needed", f"the folder {path}", "Name a file."))
    if not path.exists():
        rule = "the file must exist"
        raise FileNotFoundError(message(rule, str(path), "Check the path for typing errors."))
    if not path.is_file():  # opening a pipe waits for another program
        got = f"{path}, a pipe or a device"
        raise OSError(message("a file is needed", got, "Name a file."))
    return path


def no_right(path: Path) -> PermissionError | None:
    """Return one line on a file that the user may not read, or on the folder that hides it."""
    for folder in reversed(path.parents):
        if not os.path.exists(folder):
            return None
        if not os.access(folder, os.X_OK):
            rule = f"the folder {folder} must be open to you"
            return PermissionError(message(rule, "no permission", "Change its rights."))
    if not os.path.exists(path) or os.access(path, os.R_OK):
        return None
    rule = f"{path} must be readable"
    return PermissionError(message(rule, "no permission", "Change its rights, or copy it."))


@dataclass(frozen=True)
class FileStart:
    """Describe the start of a file, by which its kind is recognised.

    Attributes
    ----------
    kind
        "unknown" for a file of another kind and for an empty one. What an HDF5 file holds is not
        looked at.
    content
        The first bytes; none of a folder.
    """

    kind: FileKind
    content: bytes

    @property
    def description(self) -> str:
        """Description of the first bytes, for an error."""
        start = self.content[:8]
        return f"content that starts with {start!r}" if start else "an empty file"


def file_start(path: str | Path) -> FileStart:
    """Read the start of a file, which shows its kind, whatever its name.

    Parameters
    ----------
    path
        A file, or the folder of a Zarr store.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    path = Path(path)
    if path.is_dir() and is_zarr(path):
        return FileStart("zarr", b"")
    with existing_file(path).open("rb") as stream:
        start = stream.read(_MATLAB_HEADER + len(_HDF5))
    if start[_MATLAB_HEADER:] == _HDF5:
        return FileStart("matlab 7.3", start)
    if start.startswith(_ZIP):
        return FileStart(_kind_of_zip(path), start)
    if looks_like_twix(start):
        return FileStart("twix", start)
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            return FileStart(kind, start)
    return FileStart("unknown", start)


def file_kind(path: str | Path) -> FileKind:
    """Return the kind of a file by its first bytes (`file_start`)."""
    return file_start(path).kind


def looks_like_twix(start: bytes) -> bool:
    """Return whether a file that starts with these (at least 32) bytes is Siemens raw data.

    VD and later: a number of measurements from 1 to 64 and a first one behind the table of
    contents. VB: the length of a header that opens with the name of its first buffer.
    """
    if len(start) < 32:
        return False
    first, second = struct.unpack_from("<II", start)
    (offset,) = struct.unpack_from("<Q", start, 16)
    if first < 10000:
        return 1 <= second <= 64 and _TWIX_TABLE <= offset < 2**40
    return second <= 64 and start[8:].startswith((b"Config\0", b"Dicom\0", b"Meas", b"Phoenix\0"))


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store, of version 2 or 3."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def _kind_of_zip(path: Path) -> FileKind:
    """Tell NumPy's archives of arrays from torch's; where the index is cut off, by the name."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "npz" if path.suffix == ".npz" else "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "torch"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a file library raises on a bad file into one line that names the file."""
    if not path.is_file() and not is_zarr(path):  # one look at the disk for a file
        existing_file(path)
    try:
        yield
    except Exception as error:
        told = isinstance(error, ValueError) and path.name in str(error)
        if told or isinstance(error, ImportError):
            raise  # it says what is wrong
        raise damaged(path, error) from error


def cause_of(error: object) -> str:
    """Return one line on what a library says is wrong with a file, without Python's own words."""
    if isinstance(error, MemoryError):
        return "sizes beyond the memory of this machine"
    if isinstance(error, OverflowError):
        return "a number out of range"
    if isinstance(error, _NOT_MEANT):
        return "parts that do not fit together"
    return " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__


_NOT_MEANT = (
    TypeError,
    AttributeError,
    LookupError,
    NameError,
    AssertionError,
    ArithmeticError,
    RecursionError,
    StopIteration,
)
"""What Python raises in the middle of a reader: its text says nothing about the file."""


def damaged(path: Path, error: Exception, what: str = "file") -> ValueError:
    """Return the error of a file that a library cannot read: cut off, or not what it seems."""
    rule = f"{path} must be a complete {what}"
    return ValueError(message(rule, cause_of(error), "Copy, download or export it again."))


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for one read, of MATLAB 7.3 too.

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
        _inspect(path)
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:  # h5py raises many types, depending on where the damage is
        if isinstance(error, ValueError | ImportError | IsADirectoryError):
            raise
        raise damaged(path, error, "HDF5 file") from error


def part(item: Any, index: Any = ()) -> np.ndarray:
    """Read part of a data set of an open HDF5 file, whose size is checked before.

    Parameters
    ----------
    item
        The data set.
    index
        One slice or number, or a tuple with one of them per axis; fewer read whole last axes.

    Raises
    ------
    ValueError
        When the part, or a block in which it is stored, is larger than the file can hold or than
        the free memory.
    """
    path, name, shape = Path(item.file.filename), str(item.name), item.shape or ()
    chunks = item.chunks or ()
    for wanted in (part_shape(shape, index), chunks):
        check_array(path, name, wanted, item.dtype.itemsize)
    if chunks:
        given = index if isinstance(index, tuple) else (index,)
        single = [slice(i, i + 1) if isinstance(i, int) and i >= 0 else i for i in given]
        kept = tuple(i if isinstance(i, slice) else slice(1) for i in single)
        check_blocks(path, name, part_shape(shape, kept), chunks)
    return np.asarray(item[index])


_inspected: dict[Path, tuple[int, int]] = {}


def _inspect(path: Path) -> None:
    """Look through a file, once as long as it does not change; ValueError when it is unsafe."""
    path = path.absolute()
    about = path.stat()
    state = (about.st_size, about.st_mtime_ns)
    if _inspected.get(path) == state:
        return
    if problem := call_apart(look_through, path):
        rule = f"{path} must hold its own values"
        raise ValueError(message(rule, problem, "Ask for a whole file, or export it again."))
    _inspected[path] = state


def load_npy(path: str | Path) -> np.ndarray:
    """Map the array of a .npy file into memory, so that only the parts that are used are read.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no .npy file, cut off, or holds Python objects.
    """
    path = existing_file(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of a damaged header also SyntaxError, TokenError, MemoryError
        raise damaged(path, error, ".npy file") from error
