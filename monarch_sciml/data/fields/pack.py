"""Write arrays of the user into a self-describing file of fields.

Letters: N samples, T times, F fields, then the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import whole_file
from monarch_sciml.data.array_files import JoinedArrays, MemoryArrays, open_arrays
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.formats.arrays import ArrayFields
from monarch_sciml.data.fields.recognise import describe_fields, known_layout
from monarch_sciml.data.fields.samples import BLOCK_BYTES
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.data.reading import ArrayFile

PackType = Literal["as stored", "float32", "float64"]


def pack(
    arrays: Sequence[str | Path] | Mapping[str, Any],
    output: str | Path,
    *,
    axes: Axes | None = None,
    variable: str | None = None,
    boundary: Sequence[str] | None = None,
    domain_extent: Sequence[float] | None = None,
    dt: float | None = None,
    dtype: PackType = "as stored",
    overwrite: bool = False,
) -> Path:
    """Write arrays as a file of fields that states its axes, grid, times and boundary.

    Parameters
    ----------
    arrays
        Files of arrays (.npy, .npz, .pt, .mat, HDF5, NetCDF or Zarr), or tensors and arrays by
        name. Fields have the names of the arrays; the array of a .npy file has the name of the
        file.
    output
        The file to make, .h5.
    axes
        Names of the axes in stored order, for all arrays or for each array by its name, as for
        `open_fields`. They are not needed if names or coordinates in the file show them.
    variable
        Name of the only array, struct or group to use.
    boundary, domain_extent
        Condition and length along each axis of the grid, which replace those of the arrays.
    dt
        Time between frames, starting at 0, if no array holds the times.
    dtype
        Type of the stored values. "as stored" is float64 if one of the arrays is, otherwise
        float32.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    The file.

    Raises
    ------
    FileNotFoundError, FileExistsError
        When a file of arrays is missing, or `output` exists.
    ValueError
        When the axes are unknown or do not fit, or a value is NaN, infinite or too large for
        `dtype`.
    OSError
        When the file cannot be written.

    Notes
    -----
    The file is written whole or not at all, in blocks of at most 64 MiB. Fields without times are
    marked as constant in time, and the inputs of a pair as inputs.

    Examples
    --------
    >>> import tempfile
    >>> x, y = np.random.rand(8, 16), np.random.rand(8, 16)
    >>> path = pack({"x": x, "y": y}, Path(tempfile.mkdtemp()) / "set.h5", axes="sample,x")
    >>> from monarch_sciml.data import open_fields
    >>> open_fields(path).fields
    ('x', 'y')
    """
    one_of("dtype", dtype, ("as stored", "float32", "float64"))
    source = ArrayFields(
        _opened(arrays),
        axes=axes,
        variable=variable,
        boundary=None if boundary is None else tuple(boundary),
        domain_extent=None if domain_extent is None else tuple(domain_extent),
    )
    layout = _timed(source.layout, dt)
    stored = torch.float64 if _is_double(source, dtype) else torch.float32
    with whole_file(output, overwrite=overwrite) as part:
        writer = FieldWriter(
            part,
            layout,
            generator="pack",
            parameters={**source.about.get("parameters", {}), "reading": source.about["reading"]},
            seed=0,
            dtype=stored,
            coordinates=_grid_points(layout),
        )
        try:
            with writer:
                _copy(source, writer)
        finally:
            writer.part.unlink(missing_ok=True)
    return Path(output)


def _opened(arrays: Sequence[str | Path] | Mapping[str, Any]) -> ArrayFile:
    if isinstance(arrays, Mapping):
        return MemoryArrays(arrays)
    paths = [Path(path) for path in arrays]
    if not paths:
        raise ValueError(message("`arrays` must name files", "none", "Name at least one."))
    for path in paths:
        if path.is_file() and known_layout(path) is not None:
            rule = f"{path} must be a file of arrays to pack"
            remedy = "It can be used as it is."
            raise ValueError(message(rule, describe_fields(path)["format"], remedy))
    if len(paths) == 1 and paths[0].suffix != ".npy":
        return open_arrays(paths[0])
    return JoinedArrays(paths)


def _timed(layout: FieldLayout, dt: float | None) -> FieldLayout:
    """Return the layout with times `dt` apart; ValueError if the arrays state other times."""
    if dt is None:
        return layout
    if not (0 < dt < math.inf) or layout.n_times < 2 or layout.times is not None:
        known = f"{layout.n_times} frames" if layout.times is None else "times in the arrays"
        rule = "`dt` must be positive and finite, for frames whose times no array holds"
        raise ValueError(message(rule, f"{dt} for {known}", "Leave it out, or correct it."))
    return replace(layout, times=tuple(dt * frame for frame in range(layout.n_times)))


def _is_double(source: ArrayFields, dtype: PackType) -> bool:
    types = [source.arrays.dtype(name) for name in source.about["reading"]]
    real = [kind["real"] if kind.names else kind for kind in types]
    double = any(np.dtype(kind) in (np.dtype("f8"), np.dtype("c16")) for kind in real)
    return double if dtype == "as stored" else dtype == "float64"


def _grid_points(layout: FieldLayout) -> list[np.ndarray]:
    """Return the points of each axis from the arrays, or equally spaced ones from 0."""
    axes = zip(layout.coordinates, layout.grid_shape, layout.domain_extent, layout.boundary)
    return [
        np.linspace(0.0, extent, n, endpoint=kind != "periodic")
        if points is None
        else np.array(points)
        for points, n, extent, kind in axes
    ]


def _copy(source: ArrayFields, writer: FieldWriter) -> None:
    """Copy every sample, in blocks of bounded size."""
    layout = source.layout
    sample = 8 * layout.n_times * len(layout.fields) * math.prod(layout.grid_shape)
    size = max(1, BLOCK_BYTES // sample)
    for start in range(0, layout.n_samples, size):
        writer.write(start, source.read(slice(start, start + size)))
