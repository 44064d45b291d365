"""The coil maps of a reconstruction, and the image of the full scan by these maps."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.estimate import (
    FOLDED_ABOVE,
    Estimator,
    SliceEstimate,
    estimate_maps,
    same_calibration,
)
from monarch_sciml.data.scans.maps import SliceMaps
from monarch_sciml.data.scans.reference import HOLES_ABOVE, reference_image, unsupported
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics import coil_compression, compress_coils
from monarch_sciml.physics.map_support import object_mask, unit_norm_maps

HOLES_AT_MOST = 0.25
"""Share of the object without a coil map above which a reconstruction would show too little."""

NOISY_ABOVE = 0.8
"""Share of the object with a second map above which noise makes it, not the field of view."""


@dataclass(frozen=True)
class Maps:
    """Hold the coil maps of a scan.

    Attributes
    ----------
    values
        (s, c, H, W) complex, of unit norm or zero; (s, M, c, H, W) for several sets.
    origin
        Origin of the maps in words.
    notes
        Notes that follow from the maps.
    """

    values: Tensor
    origin: str
    notes: tuple[str, ...] = ()


@dataclass
class _Count:
    """Numbers of pixels: of the object, of the object without a map, with a map, with two maps."""

    object: int = 0
    holes: int = 0
    pixels: int = 0
    seconds: int = 0
    combined: list[Tensor] = field(default_factory=list)

    def add(self, full: Tensor, maps: Tensor) -> None:
        """Count the pixels of a slice, whose k-space (c, H, W) shows where the object is."""
        if bool(full.any()):
            self.object += int(object_mask(full).sum())
            self.holes += int(unsupported(full, maps).sum())


def with_maps(full: Scan, scan: Scan, settings: Settings) -> tuple[Scan, Scan, Maps, Tensor | None]:
    """Return a scan before and after undersampling, its coil maps, and the image of the full scan.

    Coils are compressed on request; complex targets in the file are brought to maps of unit norm.

    Returns
    -------
    Both scans, the maps, and (s, H, W) complex by `reference_image`; None where the scan is not
    fully sampled.

    Raises
    ------
    FileNotFoundError
        When a file of maps is missing.
    ValueError
        When maps do not fit, cannot be estimated, or leave out more than a quarter of the object.
    """
    source = SliceMaps(settings.coil_maps, settings.n_maps)
    first = settings.slices[0] if settings.slices else 0
    given = source.given(scan, range(first, first + scan.n_slices))  # (s, M, c, H, W)
    n_coils, notes = settings.compress_coils, []
    if n_coils is not None and n_coils < scan.n_coils:
        notes = [f"{scan.n_coils} coils compressed to {n_coils}"]
        full, scan, given = _compressed(full, scan, given, n_coils)
    if given is None:
        estimator = cast(Estimator, source.source)
        values, count = _estimated(full, scan, estimator, settings)
    else:
        values, count, norm = _given(full, given)
        if norm is not None:
            notes.append(_norm_note(norm))
            full = _in_unit_norm(full, norm)
    notes += _notes(count, settings)
    combined = torch.stack(count.combined) if count.combined else None
    origin = source.origin(scan)
    if settings.n_maps > 1:
        return full, scan, Maps(values, f"{origin}, {settings.n_maps} sets", tuple(notes)), combined
    maps = Maps(values[:, 0], origin, tuple(notes))
    return full, replace(scan, coil_maps=maps.values), maps, combined


def _estimated(
    full: Scan, scan: Scan, estimator: Estimator, settings: Settings
) -> tuple[Tensor, _Count]:
    """Return the maps (s, M, c, H, W) of undersampled slices, and counts with the full images."""
    count, values = _Count(), []
    for number in settings.slice_numbers("coil maps", scan.n_slices):
        kspace, whole = (x.kspace[number].to(settings.device) for x in (scan, full))
        try:
            found = estimate_maps(kspace, estimator, settings.n_maps)
            own = found if same_calibration(kspace, whole) else None
            if own is None and full.fully_sampled:
                own = estimate_maps(whole, estimator, settings.n_maps)
        except ValueError as error:
            raise ValueError(f"{scan.name}, slice {number}: {error}") from error
        _add(count, found, whole)
        if full.fully_sampled:
            assert own is not None
            count.combined.append(reference_image(whole, own.maps).cpu())
        values.append(found.maps.cpu())
    return torch.stack(values), count


def _add(count: _Count, found: SliceEstimate, whole: Tensor) -> None:
    count.add(whole, found.maps)
    count.pixels += found.pixels
    count.seconds += found.seconds


def _given(full: Scan, maps: Tensor) -> tuple[Tensor, _Count, Tensor | None]:
    """Return maps (s, M, c, H, W) of unit norm, counts, and the norm (s, H, W) that they had."""
    maps, norm = unit_norm_maps(maps)
    count = _Count()
    for kspace, sets in zip(full.kspace, maps):
        if full.fully_sampled:
            count.add(kspace, sets)
            count.combined.append(reference_image(kspace, sets))
    return maps, count, norm


def _in_unit_norm(full: Scan, norm: Tensor) -> Scan:
    """Return the scan with its complex target as maps of unit norm show it, x' = n x.

    A fully sampled scan loses the target, because its image follows from k-space.
    """
    if full.target is None or not full.target.is_complex():
        return full
    if full.fully_sampled or full.target.shape != norm.shape:
        return replace(full, target=None)
    return replace(full, target=full.target * norm)


def _norm_note(norm: Tensor) -> str:
    """Return a note on the original norm (s, H, W) of the maps."""
    lit = norm[norm > 0]
    low, high = (float(lit.kthvalue(max(1, round(q * lit.numel()))).values) for q in (0.01, 0.99))
    return (
        f"the norm of the coil maps was {low:.2g} to {high:.2g}, not 1: they were divided by it, "
        "so that the reference and all methods show one and the same image"
    )


def _notes(count: _Count, settings: Settings) -> list[str]:
    """Return notes on pixels with no map or two; refuse maps that leave out too much."""
    notes = []
    share = count.holes / max(count.object, 1)
    if share > HOLES_AT_MOST:
        rule = f"coil maps must cover the object but for {100 * HOLES_AT_MOST:.0f} %"
        remedy = "Calibrate on more lines, or pass --coil_maps walsh, whose maps are everywhere."
        raise ValueError(message(rule, f"{100 * share:.0f} % without", remedy))
    if share > HOLES_ABOVE:
        notes.append(
            f"{100 * share:.2g} % of the object has no coil map and stays black: calibrate on more "
            "lines, or compare with --coil_maps walsh"
        )
    share = count.seconds / max(count.pixels, 1)
    if settings.n_maps == 1 and FOLDED_ABOVE < share < NOISY_ABOVE:
        notes.append(
            f"{100 * share:.0f} % of the object has a second coil map: the field of view may be "
            "smaller than the head; compare with --n_maps 2"
        )
    return notes


def _compressed(
    full: Scan, scan: Scan, maps: Tensor | None, n_coils: int
) -> tuple[Scan, Scan, Tensor | None]:
    """Return a scan before and after undersampling, and given maps, with fewer virtual coils.

    Every slice has its own coils, those of the most energy in its undersampled k-space, as in
    training (`SizeRules`).
    """
    matrices = [
        coil_compression(kspace, n_coils)
        if bool(kspace.any())
        else torch.eye(n_coils, len(kspace), dtype=kspace.dtype)
        for kspace in scan.kspace
    ]

    def fewer(x: Tensor) -> Tensor:
        return torch.stack([compress_coils(part, m) for part, m in zip(x, matrices)])

    def of(scan: Scan) -> Scan:
        return replace(scan, kspace=fewer(scan.kspace), coil_maps=None)

    new = of(scan)
    return (new if full is scan else of(full)), new, None if maps is None else fewer(maps)
