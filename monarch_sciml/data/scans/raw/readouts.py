"""The table of readouts that is common to ISMRMRD and Siemens twix files."""

# Letters: r readouts, b readouts of one block, c coils, n samples of a readout, X readout matrix
# with oversampling, H without, W lines (first phase encode), Z partitions (second phase encode).

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from monarch_sciml._checks import message

IMAGING, CALIBRATION, NOISE, OTHER, NAVIGATOR = range(5)
KINDS = ("imaging", "calibration", "noise", "other", "navigator")

ROW = np.dtype(
    [("kind", "u1"), ("reverse", "?"), ("dwell", "f8")]
    + [(name, "i4") for name in ("line", "partition", "slice", "contrast", "repetition")]
    + [(name, "i4") for name in ("phase", "set", "samples", "coils", "center", "before", "after")]
    + [("pattern", "i4"), ("shot", "i4"), ("position", "f8", (3,))]
)
"""A row of the table, which describes one readout.

`kind` is an index of `KINDS`; `reverse`: sampled from the end to the start; `dwell`: time of a
sample, any unit; then the counters; the number of `samples` and `coils`; `center`: the sample at
the centre of k-space, in forward order; `before` and `after`: samples to discard at either end;
`pattern`: 0 for evenly spaced samples, n for those at the positions `Table.patterns[n - 1]`;
`shot`: number of the excitation, where a sequence says so; `position` of the slice in mm.
"""

Repetition = int | Literal["average"]
Load = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Geometry:
    """Describe the matrix in which readouts are placed.

    Attributes
    ----------
    readout
        X, readout matrix with oversampling, in samples.
    kept
        H, readout matrix without oversampling, the central part of the image.
    lines, partitions
        Numbers W and Z, where Z is 1 for 2-D scans.
    center
        Counters of line and partition at the centre of k-space, which goes to W // 2 and Z // 2.
    """

    readout: int
    kept: int
    lines: int
    partitions: int
    center: tuple[int, int]


@dataclass
class Table:
    """Hold the headers of the readouts of a file before any sample is read.

    Attributes
    ----------
    name
        Name of the file, for messages.
    rows
        (r,) of dtype `ROW`.
    geometry
        Matrix in which the readouts are placed.
    load
        Function that returns the samples (b, c, n) complex64 of readouts of given numbers, which
        must all have the same n and c.
    bandwidth
        Noise bandwidth of the receiver divided by 1 / dwell time.
    header
        Entries of the header of the scan.
    patterns
        Positions (n,) of the samples along the readout, in the order of acquisition and in steps of
        one over the field of view, for readouts that are not evenly spaced at whole samples.
    phases
        Phase (a, b) of reversed readouts for each slice, as in `linear_phase`.
    matrices
        For each number of a pattern the matrix that turns its samples into an image, computed at
        its first use.
    order_known
        Whether the counters give the places of lines. Pulseq sequences without labels only count
        readouts.
    sizes
        Function that returns the header entries that follow from the final geometry.
    directions
        (3, 3), unit vectors of readout, phase encode and slice (second phase encode) in the
        patient's coordinates of DICOM: to the left, to the back, to the head. None where they are
        not known.
    path
        The file, with whose size that of k-space is compared; None for a table without one.
    """

    name: str
    rows: np.ndarray
    geometry: Geometry
    load: Load
    bandwidth: float = 1.0
    header: dict[str, Any] = field(default_factory=dict)
    patterns: list[np.ndarray] = field(default_factory=list)
    phases: dict[int, tuple[float, float]] = field(default_factory=dict)
    matrices: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    order_known: bool = True
    sizes: Callable[[Table], dict[str, Any]] = lambda table: {}
    directions: np.ndarray | None = None
    path: Path | None = None

    def note(self, text: str) -> None:
        """Add a line to the notes of the scan."""
        self.header.setdefault("notes", []).append(text)


def choose(table: Table, kind: int, contrast: int, repetition: Repetition) -> np.ndarray:
    """Return the numbers of the readouts of one contrast and repetition, in the file's order.

    The first cardiac phase and the first set are taken, and all averages and segments.

    Raises
    ------
    ValueError
        When there is no such contrast or repetition.
    """
    rows = table.rows
    chosen = rows["kind"] == kind
    wanted = {"contrast": contrast, "repetition": repetition}
    for axis in ("contrast", "repetition", "phase", "set"):
        present = np.unique(rows[axis][chosen])
        number = wanted.get(axis, int(present[0]) if len(present) else 0)
        if number == "average" or not len(present):
            continue
        if number not in present:
            rule = f"`{axis}` must be one of {', '.join(map(str, present))} of {table.name}"
            raise ValueError(message(rule, repr(number), "Pick one that was acquired."))
        chosen &= rows[axis] == number
        if len(present) > 1 and axis not in wanted and kind == IMAGING:
            table.note(f"{axis} {number} of {len(present)} was read: the others were left out")
    return np.flatnonzero(chosen)


def extent(row: np.ndarray, geometry: Geometry) -> tuple[int, int, int]:
    """Return the place of sample 0, and the first and one past the last sample that is used."""
    samples, center = int(row["samples"]), int(row["center"])
    if samples == geometry.readout and center == 0:
        center = samples // 2  # unset: a full readout is centred
    first, last = int(row["before"]), samples - int(row["after"])
    return geometry.readout // 2 - center, first, last


def check_alike(table: Table, rows: np.ndarray) -> None:
    """Refuse readouts that differ in samples or coils and so do not fit into one array."""
    if not len(rows):
        counts = np.bincount(table.rows["kind"], minlength=len(KINDS))
        held = ", ".join(f"{n} {kind}" for n, kind in zip(counts, KINDS) if n) or "no"
        rule = f"{table.name} must hold imaging readouts"
        raise ValueError(message(rule, f"{held} readouts", "Export the scan again."))
    for axis in ("samples", "coils", "center", "before", "after"):
        values = np.unique(rows[axis])
        if len(values) > 1:
            shown = ", ".join(map(str, values[:5]))
            names = {"samples": "number of samples", "coils": "number of coils"}
            rule = f"the imaging readouts of {table.name} must have one {names.get(axis, axis)}"
            raise ValueError(message(rule, shown, "Export one contrast at a time."))
    if rows["pattern"].any():  # these are placed by their positions
        return
    geometry = table.geometry
    offset, first, last = extent(rows[0], geometry)
    if not (0 <= offset + first < offset + last <= geometry.readout):
        rule = f"the readouts of {table.name} must lie within its matrix of {geometry.readout}"
        got = f"samples {offset + first} to {offset + last - 1}"
        raise ValueError(message(rule, got, "Correct center_sample or the encoded matrix."))


def counts_readouts(rows: np.ndarray) -> bool:
    """Return whether the lines of imaging readouts are their numbers in the order of acquisition.

    This holds for a Pulseq sequence without labels. One whose labels number consecutive lines in
    order cannot be distinguished from it.
    """
    imaging = rows[rows["kind"] == IMAGING]
    others = any(imaging[name].any() for name in ("partition", "slice", "contrast"))
    return np.array_equal(imaging["line"], np.arange(len(imaging))) and not others


def fill_matrix(table: Table) -> None:
    """Change the matrix to one that its imaging readouts fill, and note the change.

    If all readouts belong to one partition, the scan becomes 2-D although the header states more.
    If the counters exceed the lines or partitions of the header, the matrix grows, at most to twice
    its size.
    """
    imaging = table.rows[table.rows["kind"] == IMAGING]
    if not len(imaging):
        return
    sizes = [table.geometry.lines, table.geometry.partitions]
    center = list(table.geometry.center)
    for i, name in enumerate(("line", "partition")):
        counters = np.unique(imaging[name])
        if name == "partition" and len(counters) == 1 and sizes[i] > 1:
            table.note(f"the header states {sizes[i]} partitions, of which 1 was acquired: 2-D")
            sizes[i], center[i] = 1, int(counters[0])
        needed = smallest_matrix(center[i] - int(counters[0]), int(counters[-1]) + 1 - center[i])
        if sizes[i] < needed <= 2 * sizes[i] and len(counters) > 1:
            reached = f"{name}s {counters[0]} to {counters[-1]} lie beyond the encoded matrix"
            table.note(f"{reached} of {sizes[i]}: read with one of {needed}")
            sizes[i] = needed
    table.geometry = replace(
        table.geometry, lines=sizes[0], partitions=sizes[1], center=(center[0], center[1])
    )


def smallest_matrix(before: int, after: int) -> int:
    """Return the smallest N with `before` places below N // 2 and `after` places from N // 2 on."""
    return max(2 * before, 2 * after - 1)


def check_inside(table: Table, rows: np.ndarray, w: np.ndarray, z: np.ndarray) -> None:
    """Refuse lines outside the encoded matrix."""
    geometry = table.geometry
    for name, at, size in (("line", w, geometry.lines), ("partition", z, geometry.partitions)):
        outside = (at < 0) | (at >= size)
        if outside.any():
            values = np.unique(rows[name][outside])
            rule = f"every {name} of {table.name} must lie within its encoded matrix of {size}"
            got = f"{outside.sum()} readouts outside, {name} {values.min()} to {values.max()}"
            raise ValueError(message(rule, got, "Correct the encoding limits of the header."))
