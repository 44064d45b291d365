"""Notes on likely mistakes in a readable scan: dead coils, missing lines, axes out of order."""

# Letters: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.calibration import peak_of_energy

DEAD_BELOW = 1e-8
"""Share of the energy of the average coil below which a coil counts as dead."""
CENTRAL_ENERGY = 0.1
"""Share of the energy that the central quarter of k-space has at least, of any image."""


def suspicions(scan: Scan) -> list[str]:
    """Return one line for each likely mistake in a scan.

    Parameters
    ----------
    scan
        A valid scan.

    Returns
    -------
    Dead coils (energy below 1e-8 of the average coil's) by number; more coils than rows or columns,
    as a coil axis in the wrong place has; less than a tenth of the energy in the central half of H
    and W, as k-space with its origin at the corner or an image has; a peak of k-space that is not
    in its centre. Empty when all is well.
    """
    coils, plane = torch.zeros(scan.n_coils), torch.zeros(scan.matrix)
    for kspace in scan.kspace:  # slice by slice, to need no second volume
        energy = kspace.abs().square()  # (c, H, W)
        coils += energy.sum(dim=(1, 2))
        plane += energy.sum(dim=0)
    return [*_dead_coils(coils), *_axes(plane, scan.n_coils), *_off_centre(plane)]


def _dead_coils(energy: torch.Tensor) -> list[str]:
    """Return notes that name the coils without signal, from the energy (c,) of each."""
    dead = (energy <= DEAD_BELOW * energy.mean()).nonzero().flatten().tolist()
    if not dead:
        return []
    names = ", ".join(map(str, dead))
    plural = "s" if len(dead) > 1 else ""
    return [f"dead coil{plural} {names} of {len(energy)} (counted from 0): no signal"]


def _axes(energy: torch.Tensor, n_coils: int) -> list[str]:
    """Return notes on axes that look swapped or shifted, from the energy (H, W) of k-space."""
    height, width = energy.shape
    found = []
    if n_coils > min(height, width):
        found.append(f"{n_coils} coils on a matrix of {height} x {width}: the axes may be swapped")
    top, left = height // 4, width // 4
    central = energy[top : height - top, left : width - left].sum() / energy.sum()
    if min(height, width) >= 8 and central < CENTRAL_ENERGY:
        found.append(
            f"only {100 * float(central):.1g} % of the signal is in the middle of k-space: it may "
            "not be centred, be an image, or have swapped axes"
        )
    return found


def _off_centre(energy: torch.Tensor) -> list[str]:
    """Return notes on the offset of the peak of k-space from its centre, from its energy (H, W)."""
    row, column = peak_of_energy(energy)
    if not (row or column):
        return []
    return [
        f"the peak of k-space lies {abs(row)} rows and {abs(column)} columns off its centre: it is "
        "moved there before a reconstruction, which leaves magnitudes as they are"
    ]


def gaps(scan: Scan) -> str | None:
    """Return a note on missing columns of a scan that counts as fully sampled, or None."""
    masks = scan.encoded_mask if scan.mask.ndim == 3 else scan.encoded_mask[None]  # (s or 1, H, W)
    columns = masks.any(dim=1).all(dim=0)  # (s or 1, H, W) -> (W,)
    missing = int((~columns).sum())
    if not (scan.fully_sampled and missing):
        return None
    inside = columns.nonzero().flatten()
    n_inside = int(inside[-1] - inside[0]) + 1 - len(inside) if len(inside) else missing
    where = f"{n_inside} of them between acquired ones" if n_inside else "at the edge of k-space"
    where += "" if n_inside else " (for partial Fourier see --method homodyne,pocs)"
    return (
        f"{missing} of {len(columns)} lines were not acquired, {where}; it counts as fully sampled"
    )


def choices(read: Scan, options: Mapping[str, Any]) -> list[str]:
    """Return notes on the contrast, the repetition and calibration lines that are used."""
    notes = []
    if read.calibration_kspace is not None:
        notes.append("separate calibration lines fill in for missing imaging lines")
    for name in ("contrast", "repetition"):
        count = read.header.get(f"{name}s", 1)
        if count > 1 and name not in options:
            # the files of a series are repetitions of which any may have been named
            which = "one" if read.header["format"] == "M4Raw" else "the first"
            notes.append(f"{which} of {count} {name}s was read: see --{name}")
    return notes


@contextmanager
def notes_in_errors(notes: Sequence[str]) -> Iterator[None]:
    """Add earlier notes on likely mistakes in the scan to a ValueError that they may explain."""
    said = "; ".join(notes)
    try:
        yield
    except ValueError as error:
        if not said:
            raise
        raise ValueError(f"{error} Note: {said}.") from error
