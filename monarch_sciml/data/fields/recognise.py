"""Recognise a file of PDE fields by its content, open it or describe it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message
from monarch_sciml._reading import existing_file, file_kind, file_start, is_zarr, open_hdf5, reading
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.folder import FieldFolder
from monarch_sciml.data.fields.formats.arrays import ArrayFields
from monarch_sciml.data.fields.formats.monarch_h5 import FORMAT, FieldFile, plain_attributes
from monarch_sciml.data.fields.formats.pdebench import PDEBenchFile, pdebench_layout
from monarch_sciml.data.fields.formats.the_well import TheWellFile, is_the_well
from monarch_sciml.data.fields.source import FieldSource, with_boundary

FIELD_FORMATS = (
    "monarch_sciml .h5, PDEBench or The Well .hdf5, or arrays in .npy, .npz, .pt, .mat, HDF5, "
    "NetCDF or Zarr"
)


def open_fields(
    path: str | Path,
    *,
    boundary: Sequence[str] | None = None,
    axes: Axes | None = None,
    variable: str | None = None,
) -> FieldSource:
    """Open a file of PDE fields of any known format, recognised by its content, or a folder.

    Parameters
    ----------
    path
        A file of this package, of PDEBench or of The Well (HDF5), or a file of named arrays: .npy,
        .npz, .pt, .mat (MATLAB 5 or 7.3), HDF5, NetCDF, or a Zarr store (`ArrayFields`). Its name
        does not matter. Or a folder of files of one problem, read as one.
    boundary
        Condition along each axis of the grid, which replaces that of the file or its format:
        "periodic", "dirichlet", "neumann", "wall", "open" or "unknown".
    axes
        Names of the axes of the arrays in the order in which they are stored, for example
        "sample,time,x,y" or {"force": "sample,x,y", "u": "sample,time,x,y"}; out of "sample",
        "time", "channel", "x", "y", "z", and "1" for an axis of one entry. They are needed if the
        file does not state them.
    variable
        Name of the only array, struct or group to use, for example "data.u".

    Returns
    -------
    FieldSource
        The reader of its format.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When it is NetCDF or Zarr and xarray is not installed.
    ValueError
        When its content is of no known format, truncated or unfinished, when the axes of its arrays
        are unknown, when `boundary` does not have one known condition for each axis, or when files
        of a folder differ in grid, fields or frames.
    """
    path = Path(path)
    open_file = partial(_reader, axes=axes, variable=variable)
    if path.is_dir() and not is_zarr(path):
        source: FieldSource = FieldFolder(path, open_file)
    else:
        source = open_file(path if is_zarr(path) else existing_file(path))
    if boundary is not None:
        source.layout = with_boundary(source.layout, boundary)
    return source


def _reader(path: Path, *, axes: Axes | None, variable: str | None) -> FieldSource:
    start = file_start(path)
    if start.kind in ("unknown", "twix"):
        rule = f"{path} must be a file of fields ({FIELD_FORMATS})"
        remedy = (
            "Make one with `monarch-sciml generate`, or convert your own: `monarch-sciml pack`."
        )
        raise ValueError(message(rule, start.description, remedy))
    known = None if axes is not None or variable is not None else known_layout(path)
    with reading(path):
        return ArrayFields(path, axes=axes, variable=variable) if known is None else known(path)


def known_layout(path: Path) -> type[FieldFile | TheWellFile | PDEBenchFile] | None:
    """Return the reader of an HDF5 file in the layout of this package or a benchmark, or None.

    Raises
    ------
    ValueError
        When it is a damaged HDF5 file.
    """
    if file_kind(path) != "hdf5":
        return None
    with open_hdf5(path) as file:
        if plain_attributes(file).get("format") == FORMAT or {"fields", "completed"} <= {*file}:
            return FieldFile  # its error names the missing parts
        if is_the_well(file):
            return TheWellFile
        return PDEBenchFile if pdebench_layout(file) else None


def describe_fields(
    path: str | Path, *, axes: Axes | None = None, variable: str | None = None
) -> dict[str, Any]:
    """Return format, sizes, coordinates and origin of a file of PDE fields.

    Parameters
    ----------
    path, axes, variable
        The arguments of `open_fields` with the same meaning.

    Returns
    -------
    Plain values: `format`, `path`, `size_bytes`, `fields`, `n_samples`, `n_times`, `time_range`,
    `dt`, `grid_shape`, `domain_extent`, `boundary`, and entries that depend on the format: for
    arrays the axes of each (`reading`) and `notes`.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        When `open_fields` raises one of these.
    """
    return open_fields(path, axes=axes, variable=variable).describe()
