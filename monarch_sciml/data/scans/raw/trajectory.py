"""Turn the trajectory of a sequence into lines, partitions and positions along the readout."""

# Letters: r readouts, n samples of a readout; k-space in 1/m until it is divided by the steps.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monarch_sciml._checks import message

TOLERANCE = 0.1
"""Largest distance of a line from the Cartesian grid, in steps."""
LARGEST_DRIFT = 0.5
"""Largest distance of a sample from the line of its readout, in steps."""


@dataclass(frozen=True)
class Axis:
    """Describe positions along one phase-encoding axis as counters.

    Attributes
    ----------
    counters
        (r,) whole numbers from 0.
    center
        The counter at the centre of k-space, or next to it.
    size
        Smallest matrix that holds all counters with the centre at size // 2. It is even unless
        there are equally many lines on both sides of the centre.
    step
        Distance of two counters in 1/m: one over the encoded field of view.
    """

    counters: np.ndarray
    center: int
    size: int
    step: float


@dataclass(frozen=True)
class Encoding:
    """Describe the places of the readouts of a Cartesian sequence.

    Attributes
    ----------
    axes
        The axes of phase encoding: lines, and for 3-D scans partitions.
    readout_step
        Distance in 1/m between two samples of k-space along the readout without oversampling.
    readout_pixels
        Readout matrix without oversampling.
    patterns
        The different positions (n,) of samples along the readout, in steps.
    pattern
        Number (r,) of the pattern of each readout.
    reverse
        (r,) whether a readout runs towards smaller positions.
    """

    axes: tuple[Axis, ...]
    readout_step: float
    readout_pixels: int
    patterns: list[np.ndarray]
    pattern: np.ndarray
    reverse: np.ndarray


@dataclass(frozen=True)
class Lines:
    """Describe readouts as lines through k-space.

    Attributes
    ----------
    direction
        (3,) unit vector along the readouts, its largest component positive.
    along
        r arrays (n,): the positions of the samples along it, in 1/m.
    places
        Point (r, 3), in 1/m, at which each readout crosses the plane through the centre that is
        perpendicular to the direction.
    drift
        (r,) largest distance of a sample from the straight line of its readout, in 1/m.
    reverse
        (r,) whether a readout runs against the direction.
    """

    direction: np.ndarray
    along: list[np.ndarray]
    places: np.ndarray
    drift: np.ndarray
    reverse: np.ndarray

    def __getitem__(self, kept: np.ndarray) -> Lines:
        """Return some of the readouts, by a mask (r,)."""
        along = [self.along[i] for i in np.flatnonzero(kept)]
        places, drift, reverse = self.places[kept], self.drift[kept], self.reverse[kept]
        return Lines(self.direction, along, places, drift, reverse)

    @property
    def extent(self) -> float:
        """Largest distance of a sample from the centre along the readout, in 1/m."""
        return max(float(np.abs(along).max()) for along in self.along)


def measured_lines(positions: Sequence[np.ndarray]) -> Lines:
    """Describe readouts, r arrays (n, 3) in 1/m, as lines along the direction of the longest."""
    spans = np.array([k[-1] - k[0] for k in positions])  # (r, 3)
    direction = _unit(spans[np.linalg.norm(spans, axis=1).argmax()])
    along, places, drift = [], np.zeros((len(positions), 3)), np.zeros(len(positions))
    for i, k in enumerate(positions):
        along.append(k @ direction)
        across = k - along[i][:, None] * direction  # (n, 3)
        places[i] = across[np.abs(along[i]).argmin()]
        drift[i] = np.abs(across - places[i]).max()
    return Lines(direction, along, places, drift, spans @ direction < 0)


def leading_navigators(lines: Lines, shot: np.ndarray) -> np.ndarray:
    """Return which readouts (r,) are unlabelled navigators of EPI.

    They are the first two or more readouts after an excitation where these pass the centre of
    k-space in turn forwards and backwards, and later readouts are phase-encoded.
    """
    found = np.zeros(len(shot), bool)
    encoded = np.linalg.norm(lines.places, axis=1) > 1e-4 * lines.extent
    for number in np.unique(shot):
        train = np.flatnonzero(shot == number)
        if not encoded[train].any():
            continue
        first = train[: encoded[train].argmax()]
        if len(first) > 1 and (lines.reverse[first[1:]] != lines.reverse[first[:-1]]).all():
            found[first] = True
    return found


def cartesian_encoding(name: str, lines: Lines, field_of_view: np.ndarray) -> Encoding:
    """Sort readouts onto a Cartesian grid.

    Parameters
    ----------
    name
        Name of the sequence, for messages.
    lines
        The imaging readouts, all of n samples.
    field_of_view
        (3,) in m along the axes of the gradients; zeros where it is not known.

    Raises
    ------
    ValueError
        When the trajectory is not Cartesian, or has no phase encoding.

    Notes
    -----
    The readout may run along any direction. The step of phase encoding is the smallest distance of
    two lines, or one over the field of view where that distance is a multiple of it (undersampled
    scans).
    """
    defined = float(lines.direction**2 @ field_of_view)
    distances = max(float(np.abs(np.diff(along)).max()) for along in lines.along)
    step = 1 / defined if defined > 0 else distances
    if lines.drift.max() > LARGEST_DRIFT * step:
        off = lines.drift.max() / step
        raise _not_cartesian(name, f"samples {off:.2g} steps off the line of their readout")
    if not all(_monotonic(along) for along in lines.along):
        raise _not_cartesian(name, "readouts that turn round")
    directions = _directions(lines)
    if not directions:
        rule = f"{name} must encode phase for an image"
        remedy = "A scan without it corrects the phase of another: pass that with --reference_scan."
        raise ValueError(message(rule, "one line only", remedy))
    axes = [_axis(name, lines.places @ unit, float(unit**2 @ field_of_view)) for unit in directions]
    patterns, pattern = _patterns([along / step for along in lines.along])
    pixels = max(1, 2 * int(lines.extent / step + 0.5))
    return Encoding(tuple(axes), step, pixels, patterns, pattern, lines.reverse)


def _monotonic(along: np.ndarray) -> bool:
    steps = np.diff(along)
    return bool((steps > 0).all() or (steps < 0).all())


def _unit(vector: np.ndarray) -> np.ndarray:
    """Return the unit vector along a vector, its largest component positive."""
    largest = vector[np.abs(vector).argmax()]
    return vector / np.linalg.norm(vector) * np.sign(largest) if largest else vector


def _not_cartesian(name: str, got: str) -> ValueError:
    rule = f"{name} must acquire a Cartesian grid"
    return ValueError(message(rule, got, "Grid it first, for example with BART."))


def _directions(lines: Lines) -> list[np.ndarray]:
    """Return the unit vectors of the axes along which readouts are encoded; none, one or two."""
    places, extent = lines.places, lines.extent
    spread = places - places.mean(axis=0)
    _, sizes, vectors = np.linalg.svd(spread, full_matrices=False)
    n_axes = int((sizes > 1e-4 * extent * len(places) ** 0.5).sum())
    if n_axes < 2:
        return [_unit(vector) for vector in vectors[:n_axes]]
    if np.abs(lines.direction).max() > 1 - 1e-6:  # along a gradient: the others are the axes
        return [unit for unit in np.eye(3) if abs(unit @ lines.direction) < 0.5]
    # an oblique volume: the shortest way between two lines, and across it
    distances = np.linalg.norm(spread - spread[0], axis=1)
    distances[distances < 1e-4 * extent] = np.inf
    first = _unit(spread[distances.argmin()] - spread[0])
    return [first, _unit(np.cross(lines.direction, first))]


def _axis(name: str, values: np.ndarray, field_of_view: float) -> Axis:
    """Sort the positions (r,) along one axis, in 1/m, onto whole numbers."""
    extent = float(np.ptp(values))
    same = 0.1 / field_of_view if field_of_view > 0 else 1e-3 * extent
    gaps = np.diff(np.sort(values))
    step = extent / round(extent / float(gaps[gaps > same].min()))
    multiple = round(step * field_of_view)
    if multiple > 1 and abs(step * field_of_view - multiple) < 0.02 * multiple:
        step /= multiple  # undersampled
    central = values[np.abs(values) <= np.abs(values).min() + TOLERANCE * step]
    exact = (values - central.max()) / step
    counters = np.rint(exact).astype(int)
    off = float(np.abs(exact - counters).max())
    if off > TOLERANCE:
        raise _not_cartesian(name, f"lines {off:.2g} steps off a regular grid")
    before, after = -int(counters.min()), int(counters.max()) + 1
    size = before + after if after == before + 1 else 2 * max(before, after)
    if after == before + 2 and len(np.unique(counters)) == before + after:
        # all N lines, of which the last is N / 2: the same as -N / 2
        size, before = before + after, before + 1
        counters[counters == after - 1] = -before
    return Axis(counters + before, before, size, step)


def _patterns(rows: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the distinct ones of r arrays of positions (n,), and the number of each array's
    one.
    """
    seen: dict[bytes, int] = {}
    patterns: list[np.ndarray] = []
    numbers = np.empty(len(rows), int)
    for i, row in enumerate(rows):
        key = np.rint(1000 * row).astype(np.int32).tobytes()
        if key not in seen:
            seen[key] = len(patterns)
            patterns.append(row)
        numbers[i] = seen[key]
    return patterns, numbers
