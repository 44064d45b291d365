"""Pairs of arrays recognised by their names, as in the data sets of the FNO paper and neuralop.

Letters: N samples, T times, then the grid; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.data.fields.axes import SINGLE, FieldReading
from monarch_sciml.data.fields.source import GRID_AXES
from monarch_sciml.data.reading import ArrayFile

Places = tuple[int, ...]


@dataclass(frozen=True)
class PairNames:
    """Hold the names of an input and its target, and the kind of file whose boundary they imply."""

    given: str
    wanted: str
    format: str | None = None
    container: str = ""


FNO = (PairNames("a", "u", "FNO .mat", "MATLAB"), PairNames("coeff", "sol", "FNO .mat", "MATLAB"))
NEURALOP = (PairNames("x", "y", "neuralop .pt", "torch"),)
OTHERS = tuple(
    PairNames(given, wanted)
    for given in ("input", "inputs")
    for wanted in ("output", "outputs", "target", "targets")
)
PAIRS = (*FNO, *NEURALOP, *OTHERS)


def by_pair_names(arrays: ArrayFile, pairs: Sequence[PairNames] = PAIRS) -> FieldReading | None:
    """Return the reading of a pair of arrays with usual names; None if there is no such pair.

    Both are (N, *grid), possibly with an axis of channels. That axis has a single entry, is missing
    in the other array, or is the only one in which they differ. If the target has one axis more and
    its first frame is the input, it is a trajectory, as in the files of the FNO paper.

    Raises
    ------
    ValueError
        When the shapes do not fit one another, or leave more than one reading.
    """
    for pair in pairs:
        if pair.given in arrays.shapes and pair.wanted in arrays.shapes:
            return _read(arrays, pair)
    return None


def _read(arrays: ArrayFile, pair: PairNames) -> FieldReading:
    a, u = arrays.shapes[pair.given], arrays.shapes[pair.wanted]
    kept_a, kept_u = _several(a), _several(u)
    sizes_a, sizes_u = [a[p] for p in kept_a], [u[p] for p in kept_u]
    extra = len(sizes_u) - len(sizes_a)
    if extra == 1 and len(sizes_a) > 1:
        return _trajectories(arrays, pair)
    if extra == -1:
        channel_a, channel_u = _extra(arrays, pair.given, a, kept_a, sizes_u), None
    elif extra == 0 and sizes_a != sizes_u:
        differ = [i for i, (m, n) in enumerate(zip(sizes_a, sizes_u)) if m != n]
        if len(differ) != 1 or differ[0] == 0:
            raise _no_pair(arrays, pair)
        channel_a, channel_u = kept_a[differ[0]], kept_u[differ[0]]
    elif extra == 0 or (extra == 1 and len(sizes_a) == 1):
        channel_a = channel_u = None
    else:
        raise _no_pair(arrays, pair)
    axes = {
        pair.given: _steady(arrays, pair.given, kept_a, channel_a),
        pair.wanted: _steady(arrays, pair.wanted, kept_u, channel_u),
    }
    ours = arrays.container.startswith(pair.container)
    boundary = _steady_boundary(arrays, pair, len(sizes_u) - 1) if ours else "unknown"
    name = pair.format if ours else None
    return FieldReading(axes, inputs=(pair.given,), boundary=boundary, format=name)


def _several(shape: Sequence[int]) -> Places:
    """Return the axes with more than one entry and always the first, that of samples."""
    return (0, *(place for place in range(1, len(shape)) if shape[place] > 1))


def _extra(
    arrays: ArrayFile, name: str, shape: Sequence[int], kept: Places, other: Sequence[int]
) -> int:
    """Return the axis without which an array has the sizes of the other."""
    fits = [p for p in kept[1:] if [shape[q] for q in kept if q != p] == list(other)]
    if len(fits) != 1:
        rule = f"`{name}` of {arrays.path} must have the shape of its pair, or one axis more"
        got = f"{tuple(shape)} beside {tuple(other)}"
        raise ValueError(message(rule, got, "Check the order of its axes, or pass `axes`."))
    return fits[0]


def _steady(arrays: ArrayFile, name: str, kept: Places, channel: int | None) -> tuple[str, ...]:
    """Return the names of the axes (N, *grid) with that of the channels in its place."""
    shape = arrays.shapes[name]
    grid = [place for place in kept[1:] if place != channel]
    if len(grid) > len(GRID_AXES) or (len(grid) > 2 and min(shape[p] for p in grid) < 5):
        rule = f"`{name}` {shape} of {arrays.path} must have one reading"
        got = "an axis that may be one of channels or of the grid"
        example = "sample,channel,x,y" if len(shape) == 4 else "sample,channel,x,y,z"
        raise ValueError(message(rule, got, f"Pass `axes`, for example {example}."))
    names = {0: "sample", **dict(zip(grid, GRID_AXES))}
    if channel is not None:
        names[channel] = "channel"
    return tuple(names.get(place, SINGLE) for place in range(len(shape)))


def _trajectories(arrays: ArrayFile, pair: PairNames) -> FieldReading:
    """Return the reading of a target with one axis more than the input, of times or channels."""
    a, u = arrays.shapes[pair.given], arrays.shapes[pair.wanted]
    kept = _several(u)
    other = [a[place] for place in _several(a)]
    fits = [p for p in kept[1:] if [u[q] for q in kept if q != p] == other]
    if not fits:
        raise _no_pair(arrays, pair)
    ours = arrays.container.startswith(pair.container)
    if pair in FNO:
        allowed = [p for p in fits if p in (kept[1], kept[-1])]
        times = [p for p in allowed if p == kept[-1]] if ours else allowed
        if not times:
            raise _no_pair(arrays, pair)
    else:
        times = [p for p in fits if _starts_with(arrays, pair, p)]
    if len(times) != 1:
        rule = f"the axes of `{pair.wanted}` {u} of {arrays.path} must have one reading"
        got = f"one more than `{pair.given}` {a}, of times or of channels"
        remedy = "Pass `axes`, for example sample,time,x or sample,channel,x."
        raise ValueError(message(rule, got, remedy))
    grid = iter(GRID_AXES)
    names = {0: "sample", times[0]: "time"}
    names |= {place: next(grid) for place in kept[1:] if place != times[0]}
    axes = tuple(names.get(place, SINGLE) for place in range(len(u)))
    known = ours and (pair in FNO or "visc" in arrays.shapes)
    note = f"`{pair.given}` is left out: it is the state from which `{pair.wanted}` starts"
    return FieldReading(
        {pair.wanted: axes},
        boundary="periodic" if known else "unknown",
        format=pair.format if ours else None,
        notes=(note,),
        explained=(pair.given,),
    )


def _starts_with(arrays: ArrayFile, pair: PairNames, axis: int) -> bool:
    """Return whether the first frame along an axis equals the input in the first and last
    sample.
    """
    u = arrays.shapes[pair.wanted]
    ends = slice(None, None, max(1, u[0] - 1))
    index = tuple(0 if p == axis else ends if p == 0 else slice(None) for p in range(len(u)))
    first = np.ravel(arrays.window(pair.wanted, index))
    given = np.ravel(arrays.window(pair.given, (ends,)))
    return first.shape == given.shape and bool(np.allclose(first, given, rtol=1e-5))


def _steady_boundary(arrays: ArrayFile, pair: PairNames, n_dims: int) -> str:
    """Return the boundary condition of the known data sets with these names."""
    if pair.given == "coeff" or (pair in NEURALOP and arrays.dtype(pair.given).kind == "b"):
        return "dirichlet"
    return "periodic" if pair in FNO and n_dims == 1 else "unknown"


def _no_pair(arrays: ArrayFile, pair: PairNames) -> ValueError:
    a, u = arrays.shapes[pair.given], arrays.shapes[pair.wanted]
    rule = f"`{pair.wanted}` of {arrays.path} must have the shape of `{pair.given}`, {a}, or one "
    remedy = "Check the order of its axes, or pass `axes`, for example sample,time,x."
    return ValueError(message(rule + "axis more", u, remedy))


def by_times(arrays: ArrayFile) -> FieldReading | None:
    """Return the reading of `u` (N, *grid, T) beside `t` alone, as MATLAB stores it; or None."""
    shape = arrays.shapes.get("u", ())
    if not arrays.container.startswith("MATLAB") or not 3 <= len(shape) <= 5:
        return None
    if np.prod(arrays.shapes.get("t", ())) != shape[-1]:
        return None
    axes = ("sample", *GRID_AXES[: len(shape) - 2], "time")
    return FieldReading({"u": axes}, {"time": "t"}, boundary="periodic", format="FNO .mat")


def without_start(arrays: ArrayFile, reading: FieldReading) -> FieldReading:
    """Leave out the input of a pair if it is the first frame of the other array, a trajectory."""
    for pair in PAIRS:
        axes, start = reading.axes.get(pair.wanted, ()), reading.axes.get(pair.given)
        if start is None or "time" not in axes or "time" in start:
            continue
        if _starts_with(arrays, pair, axes.index("time")):
            kept = {name: names for name, names in reading.axes.items() if name != pair.given}
            note = f"`{pair.given}` is left out: it is the first frame of `{pair.wanted}`"
            explained = (*reading.explained, pair.given)
            reading = replace(reading, axes=kept, notes=(*reading.notes, note), explained=explained)
    return reading


def given_arrays(reading: FieldReading) -> tuple[str, ...]:
    """Return the arrays of a steady reading that are inputs by their names, possibly none."""
    for pair in PAIRS:
        if pair.given in reading.axes and pair.wanted in reading.axes:
            return (pair.given,)
    return ()
