"""The meaning of the axes of arrays, derived from the names of axes and the coordinates in a file.

Letters: N samples, T times, then the grid; C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.data.fields.axes import AXES, SINGLE, FieldReading, called, is_vector
from monarch_sciml.data.fields.source import GRID_AXES
from monarch_sciml.data.reading import ArrayFile

_DIMS = {
    "sample": ("sample", "samples", "batch", "case", "trajectory", "member", "realization"),
    "time": ("time", "t"),
    "channel": ("channel", "channels", "component", "variable"),
    "x": ("x", "lon", "longitude"),
    "y": ("y", "lat", "latitude"),
    "z": ("z", "lev", "level", "height", "depth"),
}


def by_dims(arrays: ArrayFile) -> FieldReading | None:
    """Return the reading of a file that names its axes, as NetCDF does; None if it does not."""
    words = {word: axis for axis, known in _DIMS.items() for word in known}
    fields: dict[str, tuple[str, ...]] = {}
    for name, dims in arrays.dims.items():
        axes = tuple(words.get(dim.lower(), dim) for dim in dims)
        grid = {*axes} & {*GRID_AXES}
        if name not in dims and {*axes} <= {*AXES} and len({*axes}) == len(axes) and grid:
            fields[name] = axes
    if not fields:
        return None
    points = {
        axis: dim
        for name, axes in fields.items()
        for axis, dim in zip(axes, arrays.dims[name])
        if is_vector(arrays.shapes.get(dim, ()))
    }
    return FieldReading(fields, points)


def by_coordinates(arrays: ArrayFile) -> FieldReading | None:
    """Return the only reading that fits the coordinates in a file; None if no coordinates fit.

    The axis of samples comes before the axes with coordinates, and the axis of channels anywhere
    after that of samples. If there are only times, the first axis is that of samples and the others
    are the grid.

    Raises
    ------
    ValueError
        When several readings fit an array.
    """
    points = {axis: name for axis in ("time", *GRID_AXES) for name in called(arrays, axis)}
    sizes = {axis: math.prod(arrays.shapes[name]) for axis, name in points.items()}
    if not points:
        return None
    same = _same_points(arrays, points)
    fields: dict[str, tuple[str, ...]] = {}
    for name, shape in arrays.shapes.items():
        if name in points.values() or math.prod(shape) == 1:
            continue
        options = list(dict.fromkeys(_options(shape, sizes, same)))
        if len(options) > 1:
            shown = " or ".join(",".join(option) for option in options[:3])
            rule = f"the axes of `{name}` {shape} of {arrays.path} must have one reading"
            raise ValueError(message(rule, shown, f"Pass `axes`, one of these: {shown}."))
        if options:
            fields[name] = options[0]
    if not any("time" in axes for axes in fields.values()):
        if "time" in points and any("channel" in axes for axes in fields.values()):
            return None  # the axis of channels may be one of times, one more or fewer
        points.pop("time", None)
    if not fields or not points:
        return None
    return FieldReading(fields, points)


def _same_points(arrays: ArrayFile, points: Mapping[str, str]) -> bool:
    """Return whether all axes of the grid have the same points, so that their order is unknown."""
    held = [np.ravel(arrays.window(points[axis])) for axis in GRID_AXES if axis in points]
    return all(np.array_equal(values, held[0]) for values in held)


def _options(
    shape: Sequence[int], sizes: Mapping[str, int], same: bool
) -> Iterator[tuple[str, ...]]:
    """Yield the possible meanings of the axes of an array, with a time axis if one fits."""
    grid = [axis for axis in GRID_AXES if axis in sizes]
    for wanted in ([*grid, "time"], grid) if "time" in sizes else (grid,):
        found = False
        for places in permutations(range(len(shape)), len(wanted)):
            names = _complete(shape, dict(zip(places, wanted)), sizes)
            order = [axis for axis in names or () if axis in GRID_AXES]
            if names and (not same or order == sorted(order)):
                found = True
                yield names
        if found or not grid:
            return


def _complete(
    shape: Sequence[int], placed: Mapping[int, str], sizes: Mapping[str, int]
) -> tuple[str, ...] | None:
    """Name the axes other than the known ones; None if the sizes do not fit."""
    if any(shape[place] != sizes[axis] for place, axis in placed.items()):
        return None
    names = {place: SINGLE for place, size in enumerate(shape) if size == 1} | dict(placed)
    rest = [place for place in range(len(shape)) if place not in names]
    first = min(placed, default=0)
    if not {*placed.values()} & {*GRID_AXES}:  # times alone
        grid = rest[1:] if len(rest) > 1 else rest
        if not 1 <= len(grid) <= len(GRID_AXES) or (len(rest) > 1 and rest[0] > first):
            return None
        names |= dict(zip(rest, ("sample", *GRID_AXES) if len(rest) > 1 else GRID_AXES))
    elif len(rest) <= 2 and (not rest or rest[0] < first):
        names |= dict(zip(rest, ("sample", "channel")))
    else:
        return None
    return tuple(names[place] for place in range(len(shape)))


def by_meshes(arrays: ArrayFile) -> FieldReading | None:
    """Return the reading of fields with meshes of their grid, `XX` and `YY` or `X` and `Y`.

    The coordinates become the first fields, so that a network may map them to the others. A mesh
    names the axis along which it varies. If the meshes vary along several axes, the grid is
    curvilinear and its axes are x, y, z in order.
    """
    by_name = {name.lower(): name for name in arrays.shapes}
    named = {axis: by_name.get(2 * axis) or by_name.get(axis) for axis in GRID_AXES}
    first = arrays.shapes.get(named["x"] or "", ())
    if len(first) < 2 or is_vector(first):
        return None
    meshes = {axis: name for axis, name in named.items() if name and arrays.shapes[name] == first}
    if len(meshes) != len(first):
        return None
    along = {axis: _varies_along(arrays.window(name)) for axis, name in meshes.items()}
    straight = sorted(along.values()) == list(range(len(first)))
    grid = tuple(sorted(along, key=lambda axis: along[axis])) if straight else tuple(meshes)
    time = next(iter(called(arrays, "time")), None)
    n_times = math.prod(arrays.shapes[time]) if time else 0
    fields = dict.fromkeys(meshes.values(), grid)
    orders = {(*first, n_times): (*grid, "time"), (n_times, *first): ("time", *grid), first: grid}
    found = {n: orders[s] for n, s in arrays.shapes.items() if s in orders and n not in fields}
    if not found or len(orders) < 3:
        return None
    moving = any("time" in axes for axes in found.values())
    points = {**(meshes if straight else {}), **({"time": time} if moving and time else {})}
    notes = () if straight else ("the grid is curvilinear: its points are taken in their order",)
    return FieldReading({**fields, **found}, points, tuple(meshes.values()), notes=notes)


def _varies_along(mesh: np.ndarray) -> int:
    """Return the only axis along which a mesh varies, or -1 if there are several."""
    varies = [axis for axis in range(mesh.ndim) if np.ptp(mesh, axis=axis).max() > 0]
    return varies[0] if len(varies) == 1 else -1
