"""Fields in a file of named arrays, whose axes the user or the file names.

Letters: N samples, T times, F fields, then the grid: (N, T, F, *grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._reading import reading
from monarch_sciml.data.array_files import open_arrays, selected
from monarch_sciml.data.fields.axes import (
    Axes,
    FieldReading,
    axis_sizes,
    complete,
    named,
    unknown_axes,
)
from monarch_sciml.data.fields.coordinates import by_coordinates, by_dims, by_meshes
from monarch_sciml.data.fields.formats.table import StoredField, TableFields, components_of
from monarch_sciml.data.fields.pair_names import (
    FNO,
    by_pair_names,
    by_times,
    given_arrays,
    without_start,
)
from monarch_sciml.data.fields.source import (
    GRID_AXES,
    FieldLayout,
    check_field_count,
    with_boundary,
)
from monarch_sciml.data.reading import ArrayFile, Reader

Convention = Callable[[ArrayFile], FieldReading | None]

_PARAMETERS = {"visc": "viscosity"}


class ArrayFields(TableFields):
    """Read fields from named arrays: .npy, .npz, .pt, .mat, HDF5, NetCDF or Zarr.

    Without `axes` a file is read only if its meaning is unambiguous, by the names of axes in the
    file, by coordinates, or by the names of a pair (`a`, `u`; `coeff`, `sol`; `x`, `y`; `input`,
    `output`), whose first axis is that of the samples. The reading is part of `describe`.

    Parameters
    ----------
    path
        The file, or arrays that are open already.
    axes
        Names of the axes in the order in which they are stored, separated by commas: "sample",
        "time", "channel", "x", "y", "z", or "1" for an axis of one entry. One text for all arrays,
        or a text for each array that is to be used, by its name.
    variable
        Name of the only array, struct or group to use.
    boundary, domain_extent
        One entry for each axis of the grid, which replaces that of the file. By default the
        boundary is "unknown" unless the format of published data implies it, and a length is that
        of the coordinates or 1.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind or damaged, or the axes of its arrays are unknown or do not
        fit.

    Notes
    -----
    Complex arrays are two real fields, `u.real` and `u.imag`; the components of an axis of channels
    are fields of their own, `u_0`, `u_1`. An array without an axis of times is constant in time,
    one without the grid is one number a sample, the same everywhere. Descending points are reversed
    together with their values.
    """

    format: ClassVar[str] = "arrays"
    conventions: ClassVar[tuple[Convention, ...]] = (
        by_dims,
        by_meshes,
        lambda arrays: _published(arrays),
        by_coordinates,
        by_pair_names,
    )

    def __init__(
        self,
        path: str | Path | ArrayFile,
        *,
        axes: Axes | None = None,
        variable: str | None = None,
        boundary: tuple[str, ...] | None = None,
        domain_extent: tuple[float, ...] | None = None,
    ) -> None:
        opened = path if isinstance(path, ArrayFile) else open_arrays(path)
        self.arrays = arrays = selected(opened, variable)
        with self._reading():
            found = complete(arrays, self._found(arrays, axes))
            found = replace(found, inputs=_given(found))
            points = {
                axis: _points_of(arrays, axis, name, found.axes.get(name, ()))
                for axis, name in found.points.items()
            }
            layout, table = _layout(arrays, found, points)
            about = _about(arrays, found)
        falling = [axis for axis, values in points.items() if values[0] > values[-1]]
        notes = [*found.notes, *(f"{axis} falls: turned round" for axis in falling)]
        notes += [f"{axis} is not equally spaced" for axis in layout.uneven]
        layout = _told(layout, boundary, domain_extent)
        about |= {"notes": notes} if notes else {}
        super().__init__(arrays.path, layout, about, table, flipped=falling)
        self._format = found.format or f"{arrays.container} arrays"

    def _found(self, arrays: ArrayFile, axes: Axes | None) -> FieldReading:
        """Return the reading that the user names, or that of the first matching convention."""
        if axes is not None:
            return named(arrays, axes)
        for convention in self.conventions:
            found = convention(arrays)
            if found is not None:
                return without_start(arrays, found)
        raise self._no_reading(arrays)

    def _no_reading(self, arrays: ArrayFile) -> ValueError:
        return unknown_axes(arrays)

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.arrays.path) if self.arrays.on_disk else nullcontext()

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        with self.arrays.opened() as read:
            yield read

    def describe(self) -> dict[str, Any]:
        """Return a description of the file as plain values for display."""
        return {**super().describe(), "format": self._format}


def _published(arrays: ArrayFile) -> FieldReading | None:
    """Return the reading of the FNO paper's files, which MATLAB wrote."""
    ours = arrays.container.startswith("MATLAB")
    return (by_pair_names(arrays, FNO) or by_times(arrays)) if ours else None


def _given(found: FieldReading) -> tuple[str, ...]:
    """Return the given arrays of a steady reading: by name or the first, and single numbers."""
    on_grid = [name for name, axes in found.axes.items() if _grid_of(axes)]
    numbers = tuple(name for name in found.axes if name not in on_grid)
    first = tuple(on_grid[:1]) if len(on_grid) > 1 else ()
    inputs = found.inputs or given_arrays(found) or first
    return (*inputs, *(name for name in numbers if name not in inputs))


def _points_of(arrays: ArrayFile, axis: str, name: str, axes: tuple[str, ...]) -> np.ndarray:
    """Return the points of an axis from a vector or a mesh; ValueError unless they rise or fall."""
    if axes:  # a mesh
        index = tuple(slice(None) if own == axis else slice(1) for own in axes)
        points = np.ravel(arrays.window(name, index))
    else:
        points = np.ravel(arrays.window(name))
    points = points.astype(np.float64)
    steps = np.diff(points)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        rule = f"the points `{name}` of {arrays.path} must rise or fall along {axis}"
        got = "values that do both, or repeat"
        raise ValueError(message(rule, got, "Correct them, or leave them out."))
    return points


def _layout(
    arrays: ArrayFile, found: FieldReading, points: Mapping[str, np.ndarray]
) -> tuple[FieldLayout, dict[str, StoredField]]:
    """Return sizes and coordinates of the fields of a reading, and the place of each field."""
    sizes = axis_sizes(arrays, found.axes)
    grid = max((_grid_of(axes) for axes in found.axes.values()), key=len)
    if not {*sizes} & {*GRID_AXES} or {*grid} != {*sizes} & {*GRID_AXES}:
        rule = f"one array of {arrays.path} must have every axis of the grid"
        raise ValueError(message(rule, dict(found.axes), "Name the axes by `axes`."))
    rising = {axis: np.sort(values) for axis, values in points.items()}
    table: dict[str, StoredField] = {}
    inputs: tuple[str, ...] = ()
    for name, axes in found.axes.items():
        fields = _fields_of(arrays, name, axes)
        table |= fields
        inputs += tuple(fields) if name in found.inputs else ()
    n_times = sizes.get("time", 1)
    lacks_time = tuple(field for field, stored in table.items() if "time" not in stored.axes)
    layout = FieldLayout(
        fields=tuple(table),
        n_samples=sizes.get("sample", 1),
        n_times=n_times,
        grid_shape=tuple(sizes[axis] for axis in grid),
        domain_extent=tuple(_length(rising.get(axis)) for axis in grid),
        boundary=(found.boundary,) * len(grid),
        times=tuple(rising["time"].tolist()) if "time" in rising else None,
        constant=lacks_time if n_times > 1 else (),
        inputs=inputs,
        axes=grid,
        coordinates=tuple(
            tuple(rising[axis].tolist()) if axis in rising else None for axis in grid
        ),
    )
    return layout, table


def _grid_of(axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(axis for axis in axes if axis in GRID_AXES)


def _length(points: np.ndarray | None) -> float:
    """Return the distance from the first to the last point, or 1 if fewer than two are known."""
    if points is None or len(points) < 2:
        return 1.0
    return round(float(points[-1] - points[0]), 9)


def _fields_of(arrays: ArrayFile, name: str, axes: tuple[str, ...]) -> dict[str, StoredField]:
    """Return the fields of an array, one for each channel and each part of a complex number."""
    shape = [size for axis, size in zip(axes, arrays.shapes[name]) if axis == "channel"]
    count = math.prod(shape)
    check_field_count(count)
    labels = [str(index) for index in range(count)] if count > 1 else [""]
    is_complex = arrays.is_complex(name)
    return components_of(name, StoredField(name, axes), labels, shape, is_complex=is_complex)


def _told(
    layout: FieldLayout,
    boundary: tuple[str, ...] | None,
    domain_extent: tuple[float, ...] | None,
) -> FieldLayout:
    """Return the layout with the values that the user states."""
    told = with_boundary(layout, boundary or layout.boundary)
    if domain_extent is None:
        return told
    if any(length <= 0 for length in domain_extent):
        rule = "`domain_extent` must be positive along each axis"
        raise ValueError(message(rule, list(domain_extent), "Correct it."))
    return replace(told, domain_extent=domain_extent)


def _about(arrays: ArrayFile, found: FieldReading) -> dict[str, Any]:
    """Return further information: the arrays, their reading, and single numbers as parameters."""
    numbers = {
        _PARAMETERS.get(name, name): float(np.real(arrays.window(name)).reshape(()))
        for name, shape in arrays.shapes.items()
        if math.prod(shape) == 1 and name not in found.axes and not arrays.is_complex(name)
    }
    return {
        "container": arrays.container,
        "arrays": sorted(arrays.shapes),
        "reading": {name: ",".join(axes) for name, axes in found.axes.items()},
        **({"parameters": numbers} if numbers else {}),
    }
