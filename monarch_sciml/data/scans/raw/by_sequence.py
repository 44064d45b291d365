"""Place readouts by the trajectory of their Pulseq sequence instead of the file's counters."""

# Letters: r readouts of the sequence, n samples of a readout, H readout pixels.

from __future__ import annotations

from collections import Counter

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.data.scans.raw.readouts import (
    CALIBRATION,
    IMAGING,
    NAVIGATOR,
    NOISE,
    OTHER,
    Geometry,
    Table,
)
from monarch_sciml.data.scans.raw.sequence import SequenceReadouts
from monarch_sciml.data.scans.raw.trajectory import (
    Encoding,
    cartesian_encoding,
    leading_navigators,
    measured_lines,
)

SAME_SLICE = 1e-5
"""Slices nearer to each other than this, in m, are the same."""


def place_by_sequence(table: Table, sequence: SequenceReadouts) -> None:
    """Set the place of every readout of a table from the trajectory of its sequence.

    Lines, partitions, directions and positions along the readout follow from the trajectory; slices
    from the frequencies of the pulses, in the order of their positions; a line that is acquired
    again after one excitation is another contrast (echo), after another excitation another
    repetition. If the sequence sets labels, they mark noise, navigators, calibration lines,
    contrasts, repetitions, cardiac phases and sets.

    Parameters
    ----------
    table
        The readouts, which are changed in place.
    sequence
        The sequence that was measured.

    Raises
    ------
    ValueError
        When the sequence does not fit the readouts or is not Cartesian.

    Notes
    -----
    If a scan runs a sequence several times, the runs are repetitions.
    """
    numbers, runs = _matched(table, sequence)
    kinds = _kinds(sequence)
    usable = (kinds != NOISE) & (kinds != OTHER)
    lines = measured_lines([sequence.positions[i] for i in np.flatnonzero(usable)])
    part = kinds[usable]
    part[(part == IMAGING) & leading_navigators(lines, sequence.excitation[usable])] = NAVIGATOR
    kinds[usable] = part
    imaging = (part == IMAGING) | (part == CALIBRATION)
    encoding = cartesian_encoding(sequence.name, lines[imaging], sequence.field_of_view)
    rows = np.zeros(len(kinds), table.rows.dtype)
    rows["kind"], rows["shot"] = kinds, sequence.excitation
    rows["slice"] = _slice_numbers(sequence, kinds)
    used = np.flatnonzero(usable)
    rows["reverse"][used] = lines.reverse
    used = used[imaging]
    rows["pattern"][used] = 1 + encoding.pattern
    for axis, name in zip(encoding.axes, ("line", "partition")):
        rows[name][used] = axis.counters
    _navigator_patterns(rows, encoding)
    _count_visits(rows, sequence)
    _write(table, numbers, runs, rows)
    table.patterns = encoding.patterns
    table.geometry = _geometry(encoding)
    _describe(table, encoding, sequence)


def _matched(table: Table, sequence: SequenceReadouts) -> tuple[np.ndarray, int]:
    """Return the numbers of the readouts that the sequence acquired, and how often it ran."""
    samples = np.array([len(k) for k in sequence.positions])
    everything = np.arange(len(table.rows))
    for numbers in (everything, everything[table.rows["kind"] != NOISE]):
        runs, rest = divmod(len(numbers), len(samples))
        alike = runs and not rest
        if alike and (table.rows["samples"][numbers] == np.tile(samples, runs)).all():
            return numbers, runs
    rows = table.rows[table.rows["kind"] != NOISE]
    rule = f"{sequence.name} must be the sequence of {table.name}"
    got = (
        f"{len(samples)} readouts of {_sizes(samples)} samples for {len(rows)} of "
        f"{_sizes(rows['samples'])}"
    )
    raise ValueError(message(rule, got, "Pass the .seq file that was measured with --sequence."))


def _sizes(samples: np.ndarray) -> str:
    return " or ".join(map(str, np.unique(samples)[:4])) or "no"


def _kinds(sequence: SequenceReadouts) -> np.ndarray:
    """Return the purpose (r,) of each readout, from the labels and the number of its samples."""
    labels, none = sequence.labels, np.zeros(len(sequence.positions), int)
    kinds = np.full(len(none), IMAGING, "u1")
    reference = labels.get("REF", none) != 0
    kinds[reference & (labels.get("IMA", none) == 0)] = CALIBRATION
    kinds[labels.get("NAV", none) != 0] = NAVIGATOR
    samples = [len(k) for k in sequence.positions]
    usual = Counter(n for n, kind in zip(samples, kinds) if kind == IMAGING).most_common(1)
    kinds[np.array(samples) != (usual[0][0] if usual else 0)] = OTHER
    kinds[labels.get("NOISE", none) != 0] = NOISE
    return kinds


def _slice_numbers(sequence: SequenceReadouts, kinds: np.ndarray) -> np.ndarray:
    """Return the number of the slice of each readout (r,), in the order of positions."""
    rounded = np.rint(sequence.slice_position / SAME_SLICE).astype(int)
    if len(np.unique(rounded[kinds == IMAGING])) == 1 and "SLC" in sequence.labels:
        rounded = sequence.labels["SLC"]
    values = np.unique(rounded[kinds == IMAGING])
    return np.minimum(np.searchsorted(values, rounded), len(values) - 1)


def _navigator_patterns(rows: np.ndarray, encoding: Encoding) -> None:
    """Set the positions of navigators to those of an imaging line of the same direction."""
    for reverse in (False, True):
        alike = np.flatnonzero(encoding.reverse == reverse)
        chosen = (rows["kind"] == NAVIGATOR) & (rows["reverse"] == reverse)
        if len(alike):
            rows["pattern"][chosen] = 1 + encoding.pattern[alike[0]]
        else:
            rows["kind"][chosen] = OTHER


def _count_visits(rows: np.ndarray, sequence: SequenceReadouts) -> None:
    """Number contrasts and repetitions: how often a line was acquired before."""
    none = np.zeros(len(rows), int)
    labels = {name: sequence.labels.get(name, none) for name in ("ECO", "REP", "PHS", "SET", "AVG")}
    echoes: Counter[tuple[int, ...]] = Counter()
    repeats: Counter[tuple[int, ...]] = Counter()
    for i, row in enumerate(rows):
        if row["kind"] not in (IMAGING, CALIBRATION):
            continue
        place = (int(row["line"]), int(row["partition"]), int(row["slice"]), int(row["kind"]))
        label = tuple(int(values[i]) for values in labels.values())
        train = (*place, int(row["shot"]), *label)
        visit = (*place, echoes[train], *label)
        row["contrast"] = labels["ECO"][i] if "ECO" in sequence.labels else echoes[train]
        row["repetition"] = labels["REP"][i] + repeats[visit]
        row["phase"], row["set"] = labels["PHS"][i], labels["SET"][i]
        echoes[train] += 1
        repeats[visit] += 1


def _write(table: Table, numbers: np.ndarray, runs: int, rows: np.ndarray) -> None:
    """Copy the places of one run of the sequence to all runs, without changing other readouts."""
    per_run = int(rows["repetition"].max()) + 1
    shots = int(rows["shot"].max()) + 1
    for run in range(runs):
        own = numbers[run * len(rows) : (run + 1) * len(rows)]
        for name in ("kind", "reverse", "line", "partition", "slice", "contrast", "phase", "set"):
            table.rows[name][own] = rows[name]
        table.rows["pattern"][own] = rows["pattern"]
        table.rows["repetition"][own] = rows["repetition"] + run * per_run
        table.rows["shot"][own] = rows["shot"] + run * shots
    for name in ("center", "before", "after"):
        table.rows[name][numbers] = 0


def _geometry(encoding: Encoding) -> Geometry:
    line, *rest = encoding.axes
    partition = rest[0] if rest else None
    return Geometry(
        encoding.readout_pixels,
        encoding.readout_pixels,
        line.size,
        partition.size if partition else 1,
        (line.center, partition.center if partition else 0),
    )


def _describe(table: Table, encoding: Encoding, sequence: SequenceReadouts) -> None:
    """Write sizes of voxels and notes into the header of the scan."""
    sizes = [1000 / (encoding.readout_step * encoding.readout_pixels)]
    sizes += [1000 / (axis.step * axis.size) for axis in encoding.axes]
    stated = table.header.pop("voxel_size", None)
    for name in ("padding", "recon_matrix"):  # of the matrix in the header of the file
        table.header.pop(name, None)
    if len(sizes) == 3:
        table.header["voxel_size"] = tuple(sizes)
    else:
        distance = 1000 * _slice_distance(sequence) or (stated[0] if stated else 0)
        if distance > 0:
            table.header["voxel_size"] = (distance, *sizes)
    if not sequence.field_of_view.any():
        table.note(f"{sequence.name} defines no FOV: the distance of samples and lines gives it")
    table.header.setdefault("attributes", {})["sequence"] = sequence.name


def _slice_distance(sequence: SequenceReadouts) -> float:
    """Return the distance of neighbouring slices in m, else their thickness, 0 if it is not
    known.
    """
    values = np.unique(np.rint(sequence.slice_position / SAME_SLICE)) * SAME_SLICE
    if len(values) > 1:
        return float(np.median(np.diff(values)))
    return float(sequence.normal**2 @ sequence.field_of_view)
