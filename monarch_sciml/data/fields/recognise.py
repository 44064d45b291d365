"""Recognise a file of PDE fields by its content, open it or describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monarch_sciml._checks import existing_file, message
from monarch_sciml._reading import file_kind, open_hdf5, start_of
from monarch_sciml.data.fields.folder import FieldFolder
from monarch_sciml.data.fields.formats.fno_mat import FnoMatFile
from monarch_sciml.data.fields.formats.grid_mat import GridMatFile, find_grid
from monarch_sciml.data.fields.formats.monarch_h5 import FORMAT, FieldFile, plain_attributes
from monarch_sciml.data.fields.formats.neuralop_pt import NeuralopPtFile
from monarch_sciml.data.fields.formats.pdebench import PDEBenchFile, pdebench_layout
from monarch_sciml.data.fields.formats.the_well import TheWellFile, is_the_well
from monarch_sciml.data.fields.source import FieldSource
from monarch_sciml.data.mat import open_mat

FIELD_FORMATS = "monarch_sciml .h5, PDEBench .hdf5, The Well .hdf5, FNO .mat, neuralop .pt"


def open_fields(path: str | Path, *, boundary: Sequence[str] | None = None) -> FieldSource:
    """Open a file of PDE fields of any known format, recognised by its content, or a folder.

    Parameters
    ----------
    path
        A file of ours, of PDEBench or of The Well (HDF5), an FNO .mat or another .mat with the
        coordinates of its grid (MATLAB 5 or 7.3), or a neuralop .pt; its name does not matter. Or
        a folder of files of one problem, read as one.
    boundary
        Condition along each axis of the grid, in place of what the file tells or its format
        implies: "periodic", "dirichlet", "neumann", "wall", "open" or "unknown".

    Returns
    -------
    FieldSource
        The reader of its format.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When its content is of no known format, truncated or unfinished, `boundary` does not have
        one known condition an axis, or files of a folder differ in grid, fields or frames.
    """
    path = Path(path)
    source = FieldFolder(path, _reader) if path.is_dir() else _reader(existing_file(path))
    if boundary is not None:
        source.layout = replace(source.layout, boundary=tuple(boundary))
    return source


def _reader(path: Path) -> FieldSource:
    kind = file_kind(path)
    if kind == "hdf5":
        return _hdf5_reader(path)
    if kind in ("matlab 5", "matlab 7.3"):
        return _mat_reader(path)
    if kind == "torch":
        return NeuralopPtFile(path)
    raise _unknown(path, start_of(path))


def _hdf5_reader(path: Path) -> FieldSource:
    with open_hdf5(path) as file:
        ours = plain_attributes(file).get("format") == FORMAT
        well, bench, names = is_the_well(file), pdebench_layout(file), sorted(file)
        attributes = sorted(file.attrs)
    if ours:
        return FieldFile(path)
    if well:
        return TheWellFile(path)
    if bench:
        return PDEBenchFile(path)
    if {"u", "sol"} & set(names) or find_grid(open_mat(path).shapes):
        return _mat_reader(path)  # saved without MATLAB's header
    if "fields" in names:
        return FieldFile(path)  # says what it lacks
    raise _unknown(path, f"HDF5 with {names[:6]} and attributes {attributes[:5]}")


def _mat_reader(path: Path) -> FieldSource:
    shapes = open_mat(path).shapes
    fno = {"a", "u"} <= set(shapes) or {"coeff", "sol"} <= set(shapes)
    return GridMatFile(path) if not fno and find_grid(shapes) else FnoMatFile(path)


def _unknown(path: Path, got: str) -> ValueError:
    rule = f"{path} must be a file of fields ({FIELD_FORMATS})"
    return ValueError(message(rule, got, "Make one with `monarch-sciml generate`, or convert it."))


def holds_fields(path: str | Path) -> bool:
    """Whether an HDF5 file is one of fields, of any known format, readable or not."""
    with open_hdf5(Path(path)) as file:
        names = set(file)
        known = is_the_well(file) or pdebench_layout(file) is not None
    grid = known or "fields" in names or {"u", "sol"} & names
    return bool(grid) or find_grid(open_mat(path).shapes) is not None


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
