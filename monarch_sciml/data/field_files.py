"""Recognise a file of PDE fields by its content, open it or describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monarch_sciml._checks import existing_file, message
from monarch_sciml.data.field_source import FieldSource, reading
from monarch_sciml.data.fields import FORMAT, FieldFile, plain_attributes
from monarch_sciml.data.fno_mat import FnoMatFile
from monarch_sciml.data.neuralop_pt import NeuralopPtFile

_HDF5 = b"\x89HDF\r\n\x1a\n"


def open_fields(path: str | Path) -> FieldSource:
    """Open a file of PDE fields of any known format.

    Parameters
    ----------
    path
        A file of ours (HDF5), an FNO .mat (MATLAB 5 or 7.3) or a neuralop .pt; its name does not
        matter.

    Returns
    -------
    FieldSource
        The reader of its format.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When its content is of no known format, truncated or unfinished.
    """
    path = existing_file(path)
    with path.open("rb") as stream:
        start = stream.read(512 + len(_HDF5))
    if start.startswith(_HDF5):
        return FieldFile(path) if _is_ours(path) else FnoMatFile(path)
    if start.startswith(b"MATLAB 5.0") or start[512:] == _HDF5:
        return FnoMatFile(path)
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return NeuralopPtFile(path)
    rule = f"{path} must be a monarch_sciml .h5, an FNO .mat or a neuralop .pt file"
    got = f"content that starts with {start[:8]!r}" if start else "an empty file"
    remedy = "Make one with `monarch-sciml generate`, or convert it."
    raise ValueError(message(rule, got, remedy))


def describe_fields(path: str | Path) -> dict[str, Any]:
    """Return what a file of PDE fields is: format, sizes, coordinates, origin.

    Parameters
    ----------
    path
        As in `open_fields`.

    Returns
    -------
    dict
        Plain values: `format`, `path`, `size_bytes`, `fields`, `n_samples`, `n_times`,
        `time_range`, `dt`, `grid_shape`, `domain_extent`, `boundary`, and what the format adds.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_fields` does.
    """
    return open_fields(path).describe()


def _is_ours(path: Path) -> bool:
    """Whether an HDF5 file is not an FNO .mat saved without MATLAB's header."""
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        ours = plain_attributes(file).get("format") == FORMAT
        return ours or not ({"u", "sol"} & set(file))
