"""EPI: find the phase between forward and reversed lines, or note that it is not known."""

# Letters: m readouts without phase encoding, c coils, s slices, H readout, W lines.

from __future__ import annotations

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.data.scans.raw.lines import readout_images
from monarch_sciml.data.scans.raw.phase_correction import linear_phase, suggested_phase
from monarch_sciml.data.scans.raw.placement import Placed
from monarch_sciml.data.scans.raw.readouts import IMAGING, NAVIGATOR, NOISE, Table

MOST_LINES = 512
"""Lines that are read at most to find the phase of a slice."""
ENCODED_BELOW = 0.05
"""Energy of the first line over that of the strongest below which lines are phase-encoded."""
SMALLEST_PHASE = 0.1
"""Phase in rad, at the centre and half-way to the edge, below which no ghost is mentioned."""
FEWEST_LINES = 8
"""Lines below which no ghost is looked for."""


def correct_phase(table: Table, chosen: np.ndarray, reference: Table | None = None) -> None:
    """Find the phase of reversed lines for each slice and store it in `table.phases`.

    Parameters
    ----------
    table
        The readouts of the scan, whose navigators are used if there is no reference scan.
    chosen
        Numbers of the imaging readouts of the scan.
    reference
        A scan of the same sequence without phase encoding.

    Raises
    ------
    ValueError
        When the reference scan does not fit or is phase-encoded.
    """
    rows = table.rows[chosen]
    if len(np.unique(rows["reverse"])) < 2:
        if reference is not None:
            table.note(f"{reference.name} was not used: all lines run in the same direction")
        return
    kind, source = NAVIGATOR, table
    if reference is not None:
        _take_places(table, reference)
        kind, source = IMAGING, reference
    numbers = np.flatnonzero(source.rows["kind"] == kind)
    alike = source.rows["contrast"][numbers] == rows["contrast"][0]
    numbers = numbers[alike] if kind == IMAGING and alike.any() else numbers
    for number in np.unique(rows["slice"]).tolist():
        own = numbers[source.rows["slice"][numbers] == number][:MOST_LINES]
        phase = _phase_of(source, own) if len(own) else None
        if phase is not None:
            table.phases[number] = phase
        elif reference is not None:
            rule = f"{reference.name} must have lines of both directions of slice {number}"
            remedy = "Measure it with the same sequence without phase encoding."
            raise ValueError(message(rule, f"{len(own)} lines of one direction", remedy))


def _take_places(table: Table, reference: Table) -> None:
    """Set directions and positions of the readouts of a reference scan to those of the scan."""
    flagged = len(np.unique(reference.rows["reverse"][reference.rows["kind"] == IMAGING])) == 2
    if flagged and not table.patterns:
        return
    ours, theirs = (np.flatnonzero(t.rows["kind"] != NOISE) for t in (table, reference))
    sizes = [t.rows["samples"][numbers] for t, numbers in ((table, ours), (reference, theirs))]
    if not np.array_equal(sizes[0], sizes[1]):
        rule = f"{reference.name} must have the readouts of {table.name} to correct its phase"
        got = " for ".join(f"{len(n)} of {_range(n)} samples" for n in reversed(sizes))
        remedy = "Measure it with the same sequence without phase encoding."
        raise ValueError(message(rule, got, remedy))
    for name in ("kind", "reverse", "slice", "contrast", "pattern", "shot"):
        reference.rows[name][theirs] = table.rows[name][ours]
    reference.patterns, reference.geometry = table.patterns, table.geometry


def _range(samples: np.ndarray) -> str:
    return " or ".join(map(str, np.unique(samples)[:3])) or "no"


def _phase_of(source: Table, numbers: np.ndarray) -> tuple[float, float] | None:
    """Return the phase from readouts of these numbers; None if all have one direction."""
    rows = source.rows[numbers]
    if len(np.unique(rows["samples"])) > 1 or len(np.unique(rows["coils"])) > 1:
        return None
    images = readout_images(source, source.load(numbers), rows)  # (m, c, H)
    energy = (np.abs(images) ** 2).sum(axis=(1, 2))
    if len(numbers) >= FEWEST_LINES and energy[0] < ENCODED_BELOW * energy.max():
        rule = f"{source.name} must not encode phase to correct that of another scan"
        got = f"a first line of {energy[0] / energy.max():.2g} of the strongest one's energy"
        raise ValueError(message(rule, got, "Pass a scan whose phase gradient was off."))
    # readouts follow each other within a train where their numbers do
    gaps = (np.diff(numbers) > 1) | (np.diff(rows["shot"]) != 0)
    train = np.concatenate([[0], np.cumsum(gaps)])
    return linear_phase(images, rows["reverse"], train)


def ghost_note(table: Table, chosen: np.ndarray, placed: Placed | None) -> None:
    """Note that a ghost is likely if the phase of reversed lines cannot be corrected.

    Parameters
    ----------
    table
        The scan.
    chosen
        Numbers of the imaging readouts of the scan.
    placed
        The placed readouts, from which the ghost is measured. None if only a part was read.
    """
    rows = table.rows[chosen]
    if table.phases or len(np.unique(rows["reverse"])) < 2:
        return
    text = "lines run in both directions and no navigators give the phase between them"
    found = None if placed is None else _measured_phase(table, rows, placed)
    if found is not None:
        constant, slope = found
        if constant == slope == 0.0:
            return
        text += f" (the image suggests {constant:.1f} rad and {slope:.2f} rad a pixel)"
    table.note(f"{text}: expect a ghost, or pass --reference_scan FILE")


def _measured_phase(table: Table, rows: np.ndarray, placed: Placed) -> tuple[float, float] | None:
    """Return the phase that a slice suggests; None if it is not fully sampled in 2-D."""
    geometry = table.geometry
    columns = rows["line"] + geometry.lines // 2 - geometry.center[0]
    reverse, forward = np.zeros(geometry.lines, bool), np.zeros(geometry.lines, bool)
    reverse[columns[rows["reverse"]]] = True
    forward[columns[~rows["reverse"]]] = True
    whole = len(placed.mask) and placed.mask.all() and not (reverse & forward).any()
    if geometry.partitions > 1 or not whole:
        return None
    middle = placed.kspace[len(placed.kspace) // 2]  # (c, H, W)
    coil = middle[(np.abs(middle) ** 2).sum(axis=(1, 2)).argmax()]
    shifted = np.fft.ifft(np.fft.ifftshift(coil, axes=0), axis=0)
    images = np.fft.fftshift(shifted, axes=0).T  # (H, W) -> (W, H)
    constant, slope = suggested_phase(images, reverse)
    small = max(abs(constant), abs(slope) * images.shape[1] / 4) < SMALLEST_PHASE
    return (0.0, 0.0) if small else (constant, slope)
