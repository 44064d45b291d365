"""Slices in the order of their positions, and the distance between them."""

# Letters: s slices.

from __future__ import annotations

import numpy as np

from monarch_sciml.data.scans.raw.readouts import IMAGING, Table

SAME_PLACE = 1e-3
"""Slices nearer to each other than this, in mm, are at one place."""
NEARLY = 1e-2
"""Deviation of the products of directions up to which they count as orthonormal."""


def sort_slices(table: Table, *, rising: bool) -> None:
    """Number slices by position if their numbers follow the time of acquisition.

    The axis is the line through the positions, its largest component positive: feet to head, back
    to front or right to left.

    Parameters
    ----------
    table
        The readouts, which are changed in place.
    rising
        Whether to reverse the order too if positions fall from slice to slice.
    """
    values, positions = _positions(table)
    if len(values) < 2:
        return
    along = _along(positions)
    steps = np.diff(along)
    if (steps > 0).all() or (not rising and (steps < 0).all()):
        return
    if np.ptp(along) < SAME_PLACE:
        return
    rank = np.argsort(np.argsort(along, kind="stable"))
    new = dict(zip(values.tolist(), rank.tolist()))
    table.rows["slice"] = [new.get(number, number) for number in table.rows["slice"].tolist()]


def slice_distance(table: Table) -> float | None:
    """Return the median distance of neighbouring slices in mm; None for a single position."""
    _, positions = _positions(table)
    if len(positions) < 2:
        return None
    ordered = positions[np.argsort(_along(positions), kind="stable")]
    distances = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    distance = float(np.median(distances))
    return distance if distance > SAME_PLACE else None


def orientation(table: Table, directions: np.ndarray) -> dict[str, list[list[float]]] | None:
    """Return where slices lie in the patient; None where readouts do not say.

    Parameters
    ----------
    table
        The readouts, of slices in their final order.
    directions
        (3, 3), unit vectors of readout, phase encode and slice.

    Returns
    -------
    dict or None
        `positions` of the centre of each slice in mm, (s, 3), and `directions`, both in the
        patient's coordinates of DICOM: to the left, to the back, to the head.
    """
    _, positions = _positions(table)
    square = directions @ directions.T
    if not np.allclose(square, np.eye(3), atol=NEARLY) or not len(positions):
        return None
    return {"positions": positions.tolist(), "directions": directions.tolist()}


def _positions(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (s,) of the slices that were imaged and their positions (s, 3)."""
    imaging = table.rows[table.rows["kind"] == IMAGING]
    values, first = np.unique(imaging["slice"], return_index=True)
    return values, imaging["position"][first]


def _along(positions: np.ndarray) -> np.ndarray:
    """Return the coordinates (s,) of positions (s, 3) on the line through them."""
    _, _, vectors = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=False)
    axis = vectors[0]
    return positions @ axis * np.sign(axis[np.abs(axis).argmax()])
