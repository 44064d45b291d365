"""Slices in the order of their positions, the distance between them and their place."""

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


def orientation(table: Table) -> dict[str, list[list[float]]] | None:
    """Return where the slices of the image lie in the patient; None where the file does not say.

    Parameters
    ----------
    table
        The readouts, of slices in their final order, with the final geometry. Of a 3-D scan the
        images are planes of lines and partitions, one for each position along the readout.

    Returns
    -------
    dict or None
        `positions` (s, 3) of the pixel (h // 2, w // 2) of each slice in mm, and `directions` (3,
        3) of rows, columns and slices, both in the patient's coordinates of DICOM: to the left, to
        the back, to the head.
    """
    _, positions = _positions(table)
    if table.directions is None or not len(positions):
        return None
    if not np.allclose(table.directions @ table.directions.T, np.eye(3), atol=NEARLY):
        return None
    directions = table.directions
    if table.geometry.partitions > 1:
        size = table.header.get("voxel_size")
        if size is None or len(positions) > 1:
            return None
        kept = table.geometry.kept
        along = (np.arange(kept) - kept // 2)[:, None] * size[0]  # (s, 1), mm from the centre
        positions = positions + along * directions[0]
        directions = np.roll(directions, -1, axis=0)  # lines, partitions, readout
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
