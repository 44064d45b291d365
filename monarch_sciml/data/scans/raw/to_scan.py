"""Make a `Scan` from a table of readouts."""

# Letters: s slices, c coils, H readout, W phase encode.

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.data.scans.raw.by_sequence import place_by_sequence
from monarch_sciml.data.scans.raw.epi import correct_phase, ghost_note
from monarch_sciml.data.scans.raw.placement import Placed, place, whitening_matrix
from monarch_sciml.data.scans.raw.readouts import (
    CALIBRATION,
    IMAGING,
    KINDS,
    Repetition,
    Table,
    choose,
    fill_matrix,
)
from monarch_sciml.data.scans.raw.sequence import read_sequence
from monarch_sciml.data.scans.raw.slice_positions import orientation
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices, resolve


def scan_of(
    table: Table,
    path: Path,
    *,
    slices: Slices = None,
    contrast: int = 0,
    repetition: Repetition = 0,
    prewhiten: bool = False,
    limit: int | None = None,
    sequence: str | Path | None = None,
    reference: Table | None = None,
) -> Scan:
    """Sort readouts into a scan.

    Parameters
    ----------
    table
        The readouts.
    path
        The file.
    slices
        Slices to read. For a 3-D scan they are readout positions.
    contrast
        Counter of the contrast (echo).
    repetition
        Counter of the repetition, or "average" for the mean of all.
    prewhiten
        Whether to whiten the noise by the noise readouts.
    limit
        Largest number of readouts whose samples are read, those nearest the centre.
    sequence
        The Pulseq file that gives the places of the readouts.
    reference
        A scan without phase encoding that gives the phase of reversed lines.

    Returns
    -------
    Scan
        With `transformed` = ("readout",) for a 3-D scan. Not validated.

    Raises
    ------
    ValueError
        When `place_by_sequence`, `choose`, `correct_phase`, `place` or `whitening_matrix` raises
        it.
    """
    _set_places(table, sequence)
    chosen = choose(table, IMAGING, contrast, repetition)
    whitening = whitening_matrix(table, chosen) if prewhiten and len(chosen) else None
    correct_phase(table, chosen, reference)
    placed = place(table, chosen, slices=slices, whitening=whitening, limit=limit)
    ghost_note(table, chosen, placed if limit is None or len(chosen) <= limit else None)
    calibration = _calibration(table, placed, slices, whitening, contrast, limit)
    volume = table.geometry.partitions > 1
    imaging = table.rows[table.rows["kind"] == IMAGING]
    table.header |= {
        "shape": (_n_slices(table, chosen), *placed.kspace.shape[1:]),
        "dtype": "complex64",
        "contrasts": len(np.unique(imaging["contrast"])),
        "repetitions": len(np.unique(imaging["repetition"])),
        "oversampling": table.geometry.readout / table.geometry.kept,
        "prewhitened": prewhiten,
        "order_known": table.order_known,
        "phase_correction": table.phases or None,
        "readouts": {
            name: int((table.rows["kind"] == kind).sum()) for kind, name in enumerate(KINDS)
        },
    }
    place_of = orientation(table)
    if place_of is not None:
        kept = place_of["positions"][resolve(slices, len(place_of["positions"]))]
        place_of = place_of | {"positions": kept}
    table.header["orientation"] = place_of
    return Scan(
        torch.from_numpy(placed.kspace),
        _shared(placed.mask),
        header=table.header,
        name=path.name,
        path=path,
        transformed=("readout",) if volume else (),
        calibration_kspace=calibration,
    )


def _set_places(table: Table, sequence: str | Path | None) -> None:
    """Place readouts by a sequence file, or by their counters in a matrix that holds them."""
    if sequence is not None:
        table.directions = None  # the axes of the sequence, not those of the protocol
        table.order_known = True
        table.header |= table.sizes(table)
        place_by_sequence(table, read_sequence(sequence))
        return
    if not table.order_known:
        table.note(
            "the order of the lines is not known (Pulseq without labels): they are taken as "
            "acquired one after the other; pass --sequence FILE.seq to place them"
        )
    fill_matrix(table)
    table.header |= table.sizes(table)


def _n_slices(table: Table, chosen: np.ndarray) -> int:
    volume = table.geometry.partitions > 1
    return table.geometry.kept if volume else int(table.rows["slice"][chosen].max()) + 1


def _shared(mask: np.ndarray) -> torch.Tensor:
    """Return the mask (s, H, W), or (H, W) when it is the same for every slice."""
    alike = len(mask) and bool((mask == mask[:1]).all())
    return torch.from_numpy(np.array(mask[0] if alike else mask))


def _calibration(
    table: Table,
    placed: Placed,
    slices: Slices,
    whitening: np.ndarray | None,
    contrast: int,
    limit: int | None,
) -> torch.Tensor | None:
    """Return k-space of readouts for calibration only; None if none of them fits."""
    if not (table.rows["kind"] == CALIBRATION).any():
        return None
    present = np.unique(table.rows["contrast"][table.rows["kind"] == CALIBRATION])
    number = contrast if contrast in present else int(present[0])
    try:
        chosen = choose(table, CALIBRATION, number, "average")
        # the same slices as the image, also where calibration covers fewer of them
        lines = place(table, chosen, slices=slices, whitening=whitening, limit=limit).kspace
        if lines.shape != placed.kspace.shape:
            got = f"{lines.shape}"
            raise ValueError(message(f"a shape of {placed.kspace.shape}", got, "Left out."))
    except ValueError as error:
        table.note(f"calibration readouts were left out: {error}")
        return None
    return torch.from_numpy(lines)
