"""The meaning of the axes of arrays, as the user or the file states it.

Letters: N samples, T times, then the grid; C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from monarch_sciml._checks import message
from monarch_sciml.data.fields.source import GRID_AXES
from monarch_sciml.data.reading import ArrayFile

AXES = ("sample", "time", "channel", *GRID_AXES)
SINGLE = "1"
"""Name of an axis of one entry that is left out."""

Axes = str | Mapping[str, str]
"""Names of axes separated by commas, for all arrays or for each by its name."""

_POINTS = {
    "time": ("t", "tt", "time", "times", "tspan", "t-coordinate", "t_coordinate"),
    **{a: (a, f"{a}s", f"{a}-coordinate", f"{a}_coordinate", f"grid_{a}") for a in GRID_AXES},
}


@dataclass(frozen=True)
class FieldReading:
    """Describe the meaning of the arrays of a file.

    Attributes
    ----------
    axes
        Meaning of each axis of each array of fields: "sample", "time", "channel", "x", "y", "z", or
        "1" for an axis of one entry.
    points
        Name of the array that holds the points of an axis.
    inputs
        Arrays that are given rather than predicted.
    boundary
        Condition along every axis of the grid if the format implies one.
    format
        Name of the format to which the names of the arrays belong.
    notes
        Notes for the user about this reading.
    explained
        Arrays that are not fields for a reason that `notes` states.
    numbers
        Whether arrays with one number per sample are fields too.
    """

    axes: Mapping[str, tuple[str, ...]]
    points: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    boundary: str = "unknown"
    format: str | None = None
    notes: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    numbers: bool = True


def named(arrays: ArrayFile, axes: Axes) -> FieldReading:
    """Return the reading with the axes that the user names.

    A text names the axes of all arrays that have that many. An array with fewer axes has those of
    the named axes, in order, whose sizes fit, if there is only one such choice. Arrays that do not
    fit are left out with a note.

    Raises
    ------
    ValueError
        When a name is unknown or twice in one array, or the names do not fit the arrays.
    """
    if isinstance(axes, str):
        return _named_alike(arrays, parse_axes(axes))
    found = {arrays.find(name): parse_axes(text) for name, text in axes.items()}
    for name, names in found.items():
        _check_fit(arrays, name, names)
    return FieldReading(found, numbers=False)


def parse_axes(text: str) -> tuple[str, ...]:
    """Return names of axes; ValueError if one is unknown or named twice."""
    names = tuple(name.strip() for name in text.split(","))
    used = [name for name in names if name != SINGLE]
    if not set(used) <= {*AXES} or len(set(used)) < len(used):
        rule = f"`axes` must name each axis once, out of {', '.join(AXES)}, or 1 for one entry"
        raise ValueError(message(rule, repr(text), "For example sample,time,x."))
    return names


def _named_alike(arrays: ArrayFile, names: tuple[str, ...]) -> FieldReading:
    fitting = [
        name
        for name, shape in arrays.shapes.items()
        if len(shape) == len(names) and _singles_fit(shape, names)
    ]
    vectors = {name for axis in names for name in called(arrays, axis)}
    vectors = vectors if {*fitting} - vectors else vectors - {*fitting}
    full = {name: names for name in fitting if name not in vectors}
    if not full or not {*names} & {*GRID_AXES}:
        rule = f"`axes` must name every axis of an array of {arrays.path}, at least one of a grid"
        raise ValueError(message(rule, f"{','.join(names)} for {_shown(arrays)}", _example(arrays)))
    sizes = axis_sizes(arrays, full)
    found = dict(full)
    for name, shape in arrays.shapes.items():
        if name in full or name in vectors or math.prod(shape) == 1 or len(shape) > len(names):
            continue
        fits = [part for part in combinations(names, len(shape)) if _fits(shape, part, sizes)]
        if len(fits) == 1:
            found[name] = fits[0]
    return FieldReading({name: found[name] for name in arrays.shapes if name in found})


def _singles_fit(shape: Sequence[int], names: Sequence[str]) -> bool:
    return all(size == 1 for size, name in zip(shape, names) if name == SINGLE)


def _fits(shape: Sequence[int], names: Sequence[str], sizes: Mapping[str, int]) -> bool:
    """Return whether an array can have these axes."""
    return all(size == sizes.get(name, 1) for size, name in zip(shape, names))


def _check_fit(arrays: ArrayFile, name: str, names: tuple[str, ...]) -> None:
    shape = arrays.shapes[name]
    if len(shape) != len(names) or not _singles_fit(shape, names):
        rule = f"`axes` must name each of the {len(shape)} axes of `{name}` {shape}"
        raise ValueError(message(rule, ",".join(names), "Name an axis of one entry 1."))


def axis_sizes(arrays: ArrayFile, axes: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return the size of every axis but the channels; ValueError when two arrays differ in one."""
    sizes: dict[str, int] = {}
    held: dict[str, str] = {}
    for name, names in axes.items():
        for axis, size in zip(names, arrays.shapes[name]):
            if axis in ("channel", SINGLE):
                continue
            if sizes.setdefault(axis, size) != size:
                other = f"`{held[axis]}` {arrays.shapes[held[axis]]}"
                rule = (
                    f"`{name}` of {arrays.path} must have as many entries along {axis} as {other}"
                )
                got = f"{arrays.shapes[name]} read as {','.join(names)}"
                raise ValueError(message(rule, got, "Name its axes by `axes`, or leave it out."))
            held.setdefault(axis, name)
    return sizes


def complete(arrays: ArrayFile, reading: FieldReading) -> FieldReading:
    """Add numbers of each sample, the points of axes and a note on the arrays that are left out."""
    fields, sizes = dict(reading.axes), axis_sizes(arrays, reading.axes)
    points = {**points_by_name(arrays, sizes, fields), **reading.points}
    n_samples = sizes.get("sample", 1)
    alone = n_samples > 1 and list(sizes.values()).count(n_samples) == 1
    rest = []
    for name, shape in arrays.shapes.items():
        if name in fields or name in points.values() or name in reading.explained:
            continue
        if alone and is_vector(shape) and shape[0] == n_samples and reading.numbers:
            fields[name] = ("sample", *[SINGLE] * (len(shape) - 1))
        elif math.prod(shape) > 1:
            rest.append(f"{name} {shape}")
    notes = (*reading.notes, *([f"left out: {', '.join(rest)}"] if rest else []))
    return replace(reading, axes=fields, points=points, notes=notes)


def points_by_name(
    arrays: ArrayFile, sizes: Mapping[str, int], fields: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Return the arrays with a usual name and the size of an axis, which hold its points."""
    return {
        axis: name
        for axis, size in sizes.items()
        for name in called(arrays, axis)
        if name not in fields and math.prod(arrays.shapes[name]) == size
    }


def called(arrays: ArrayFile, axis: str) -> list[str]:
    """Return the names, at most one, of vectors that are named like the points of an axis."""
    by_name = {name.lower(): name for name in arrays.shapes}
    known = [by_name[name] for name in _POINTS.get(axis, ()) if name in by_name]
    return [name for name in known if is_vector(arrays.shapes[name])][:1]


def is_vector(shape: Sequence[int]) -> bool:
    """Return whether all axes but one have a single entry."""
    return math.prod(shape) == max(shape, default=0) > 1


def unknown_axes(arrays: ArrayFile) -> ValueError:
    """Return the error that neither names nor coordinates show the meaning of the axes."""
    rule = f"{arrays.path} must tell what the axes of its arrays are"
    return ValueError(message(rule, _shown(arrays), _example(arrays)))


def _shown(arrays: ArrayFile) -> str:
    shown = ", ".join(f"{name} {shape}" for name, shape in arrays.shapes.items())
    return shown if len(shown) < 240 else f"{shown[:240]} ..."


def _example(arrays: ArrayFile) -> str:
    """Return an example of `axes` with as many names as the largest array has axes."""
    n_axes = len(max(arrays.shapes.values(), key=math.prod, default=()))
    names = {1: "x", 2: "sample,x", 3: "sample,time,x", 4: "sample,time,x,y"}
    example = names.get(
        n_axes, "sample,time,channel,x,y" if n_axes == 5 else "sample,time,channel,x,y,z"
    )
    known = f"out of {', '.join(AXES)}, or {SINGLE} for one entry"
    return (
        f"Pass `axes`, for example {example}, {known}; `monarch-sciml pack` keeps them in a file."
    )
