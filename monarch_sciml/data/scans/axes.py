"""The meaning of the axes of an array of k-space, named by the user or found from the signal."""

# Letters: t repetitions, e contrasts, s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._memory import scattered_reads

AXES = ("repetition", "contrast", "slice", "coil", "height", "width")
"""Names of the axes, in the order (t, e, s, c, H, W) that they are brought to."""
PART = "part"
"""Name of an axis of two: real and imaginary parts."""
SYNONYMS = {
    **{"time": "repetition", "frame": "repetition", "echo": "contrast", "channel": "coil"},
    **{"slices": "slice", "coils": "coil", "channels": "coil", "rows": "height"},
    **{"columns": "width", "complex": PART},
}
DEFAULT_AXES = {2: AXES[4:], 3: AXES[3:], 4: AXES[2:]}
LARGEST_COIL_COUNT = 128
_SHORTEST = 16
"""Points that an axis needs at least to tell whether the signal is in its middle."""
_HALF = 0.5
"""Share of the energy in the central eighth of an axis above which k-space is centred on it."""
_PROBE = 8
"""Positions along the other axes that are looked at in their middle, and as many at their ends."""


@dataclass(frozen=True)
class ScanReading:
    """Hold the names of the axes of an array, and a note on how they were found.

    Attributes
    ----------
    names
        For each axis a name of `AXES` or "1".
    note
        Note for the user. Empty if the order is the usual one or was given.
    guessed
        Whether the axes were found rather than named by the user.
    """

    names: tuple[str, ...]
    note: str = ""
    guessed: bool = False


def named_axes(axes: str, shape: Sequence[int], path: Path, *, parts: bool = False) -> ScanReading:
    """Return the axes as a user names them, separated by commas.

    Parameters
    ----------
    axes
        Names such as "height,width,coil". `1` stands for an axis of length 1; time, frame, echo,
        channel, rows and columns are understood too.
    shape
        Shape of the array.
    path
        File of the array, for error messages.
    parts
        Whether an axis of real and imaginary parts may be named.

    Raises
    ------
    ValueError
        When the names do not give every axis once, or leave out height or width.
    """
    names = tuple(SYNONYMS.get(name.strip(), name.strip()) for name in axes.split(","))
    used = [name for name in names if name != "1"]
    allowed = {*AXES, PART} if parts else {*AXES}
    fits = len(names) == len(shape) and len(set(used)) == len(used) and set(used) <= allowed
    singles = all(size == 1 for name, size in zip(names, shape) if name == "1")
    if not (fits and singles and {"height", "width"} <= {*used}):
        rule = f"`axes` must name each axis of the array of shape {tuple(shape)} in {path} once"
        known = f"Use {', '.join(AXES)}, and 1 for an axis of length 1"
        remedy = f"{known}, for example {_example(shape)}."
        raise ValueError(message(rule, repr(axes), remedy))
    return ScanReading(names)


def found_axes(array: np.ndarray, path: Path, *, corner: bool = False) -> ScanReading:
    """Find the axes of complex k-space whose axes the user did not name.

    By default they are height,width or coil,height,width or slice,coil,height,width. k-space has
    most of its energy in the middle of height and width, and of no other axis. If these are not the
    last two, the energy decides for an array of three axes, and a larger array is refused with a
    suggestion. With `corner` the origin of every axis of 16 points or more comes first.

    Raises
    ------
    ValueError
        When the order cannot be determined, or k-space begins with its origin.
    """
    kept = [axis for axis, size in enumerate(array.shape) if size > 1 or array.ndim <= 4]
    default = DEFAULT_AXES.get(len(kept))
    if default is None:
        rule = f"{path} must have 2, 3 or 4 axes of more than one point unless `axes` is given"
        remedy = f"Pass `axes`, for example {_example(array.shape)}."
        raise ValueError(message(rule, f"shape {array.shape}", remedy))
    with scattered_reads(array):
        profiles = [_profile(array, axis, corner) for axis in kept]
    central = [
        i for i, profile in enumerate(profiles) if _share(profile, len(profile) // 2) > _HALF
    ]
    last = [len(kept) - 2, len(kept) - 1]
    if len(central) > 2:
        _refuse_volume(array, kept, central, path)
    if len(central) == 2 and central != last:
        return _by_the_middle(array, kept, central, path)
    if not central and all(_share(profiles[i], 0) > _HALF for i in last):
        rule = f"k-space in {path} must be centred, with its zero frequency at index N // 2"
        remedy = "Pass --fftshift true (in Python fftshift=True)."
        raise ValueError(message(rule, "its signal at the beginning of both axes", remedy))
    names = ["1"] * array.ndim
    for axis, name in zip(kept, default):
        names[axis] = name
    coils = array.shape[names.index("coil")] if "coil" in names else 1
    if coils > LARGEST_COIL_COUNT:
        rule = f"{path} must have at most {LARGEST_COIL_COUNT} coils along axis -3"
        remedy = f"Pass `axes`, for example {_example(array.shape)}."
        raise ValueError(message(rule, f"shape {array.shape}", remedy))
    return ScanReading(tuple(names), guessed=True)


def _by_the_middle(
    array: np.ndarray, kept: Sequence[int], central: Sequence[int], path: Path
) -> ScanReading:
    """Return the reading in which the two axes with the signal in their middle are H and W."""
    others = [i for i in range(len(kept)) if i not in central]

    def names(rest: Sequence[str]) -> tuple[str, ...]:
        found = ["1"] * array.ndim
        for i, name in zip((*central, *others), ("height", "width", *rest)):
            found[kept[i]] = name
        return tuple(found)

    where = " and ".join(str(kept[i]) for i in central)
    if len(others) == 1:
        order = ",".join(names(["coil"]))
        note = f"the axes were read as {order}: the signal is in the middle of axes {where}"
        return ScanReading(names(["coil"]), f"{note}; pass --axes to say otherwise", guessed=True)
    choices = [",".join(names(rest)) for rest in (("coil", "slice"), ("slice", "coil"))]
    rule = f"{path} must be (slice, coil, height, width) unless `axes` is given"
    got = f"shape {array.shape} with the signal in the middle of axes {where}"
    raise ValueError(message(rule, got, f"Pass --axes {choices[0]}, or {choices[1]}."))


def _refuse_volume(
    array: np.ndarray, kept: Sequence[int], central: Sequence[int], path: Path
) -> None:
    """Refuse k-space of three dimensions, which is reconstructed slice by slice."""
    axis = kept[central[0]]
    rule = f"{path} must hold k-space of slices, two axes with the signal in their middle"
    got = f"{len(central)} of them in an array of shape {array.shape}: a 3-D scan"
    transform = (
        f"numpy.fft.fftshift(numpy.fft.ifft(numpy.fft.ifftshift(x, {axis}), axis={axis}, "
        f"norm='ortho'), {axis})"
    )
    remedy = f"Transform one axis into slices first, x = {transform}, and pass `axes`."
    raise ValueError(message(rule, got, remedy))


def _profile(array: np.ndarray, axis: int, corner: bool) -> np.ndarray:
    """Return the energy along an axis, from the middle and the ends of the other axes."""
    index = []
    for other, n in enumerate(array.shape):
        if other == axis or n <= 2 * _PROBE:
            index.append(np.arange(n))
            continue
        ends, first = _PROBE // 2, n // 2 - _PROBE // 2
        index.append(np.r_[:ends, first : first + _PROBE, n - ends : n])
    if corner:  # the places that numpy.fft.fftshift takes these entries from
        sizes = zip(index, array.shape)
        index = [(i + (n + 1) // 2) % n if n >= _SHORTEST else i for i, n in sizes]
    part = np.asarray(array[np.ix_(*index)])
    energy = np.square(np.abs(part, dtype=np.float64))
    return energy.sum(axis=tuple(i for i in range(array.ndim) if i != axis))


def _share(profile: np.ndarray, center: int) -> float:
    """Return the share of the energy in the eighth of an axis around a point, cyclically."""
    n = len(profile)
    total = profile.sum()
    reach = n // 16
    # k-space has noise at least over most of its axes; one slice of a volume may be all there is
    if n < _SHORTEST or not total > 0 or np.count_nonzero(profile) <= 4 * reach:
        return 0.0
    near = np.take(profile, np.arange(center - reach, center + reach + 1), mode="wrap")
    return float(near.sum() / total)


def _example(shape: Sequence[int]) -> str:
    """Return names that fit a shape: the longest two axes are height and width."""
    order = sorted(range(len(shape)), key=lambda axis: (-shape[axis], axis))
    plane = sorted(order[:2])
    rest = [axis for axis in range(len(shape)) if axis not in plane and shape[axis] > 1]
    names = ["1"] * len(shape)
    for axis, name in zip(plane, ("height", "width")):
        names[axis] = name
    for axis, name in zip(reversed(rest), ("coil", "slice", "repetition", "contrast")):
        names[axis] = name
    return ",".join(names)
