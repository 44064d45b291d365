"""The coil maps of a volume, and the reference image of its reconstructions."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.scans.estimate import (
    FOLDED_ABOVE,
    Estimator,
    SliceEstimate,
    estimate_maps,
    same_calibration,
)
from monarch_sciml.data.scans.maps import SliceMaps
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics import center_crop, coil_compression, compress_coils
from monarch_sciml.physics.map_support import (
    HOLES_ABOVE,
    MapCount,
    reference_image,
    unit_norm_maps,
)

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


def with_maps(
    full: Scan,
    scan: Scan,
    source: SliceMaps,
    *,
    first: int = 0,
    n_coils: int | None = None,
    device: str = "cpu",
    numbers: Callable[[int], Iterable[int]] = range,
) -> tuple[Scan, Scan, Maps, Tensor | None]:
    """Return a scan before and after undersampling, its coil maps, and the image of the full scan.

    Complex targets in the file are brought to maps of unit norm.

    Parameters
    ----------
    full
        The scan before samples were left out.
    scan
        The undersampled scan.
    source
        Where the maps come from.
    first
        Number of the first slice in the file.
    n_coils
        Number of virtual coils to compress to; None leaves the coils as they are.
    device
        Device on which maps are estimated.
    numbers
        Called with the number of slices, it returns 0, 1, ..., and may show the progress.

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
    given = source.given(scan, range(first, first + scan.n_slices))  # (s, M, c, H, W)
    notes = []
    if n_coils is not None and n_coils < scan.n_coils:
        notes = [f"{scan.n_coils} coils compressed to {n_coils}"]
        full, scan, given = _compressed(full, scan, given, n_coils)
    if given is None:
        values, count = _estimated(full, scan, source, device, numbers)
    else:
        values, count, norm = _given(full, given)
        if norm is not None:
            notes.append(_norm_note(norm))
            full = _in_unit_norm(full, norm)
    notes += _notes(count, source.n_maps)
    combined = torch.stack(count.combined) if count.combined else None
    origin = source.origin(scan)
    if source.n_maps > 1:
        return full, scan, Maps(values, f"{origin}, {source.n_maps} sets", tuple(notes)), combined
    maps = Maps(values[:, 0], origin, tuple(notes))
    return full, replace(scan, coil_maps=maps.values), maps, combined


def _estimated(
    full: Scan,
    scan: Scan,
    source: SliceMaps,
    device: str,
    numbers: Callable[[int], Iterable[int]],
) -> tuple[Tensor, MapCount]:
    """Return the maps (s, M, c, H, W) of undersampled slices, and counts with the full images."""
    estimator, n_maps = cast(Estimator, source.source), source.n_maps
    count, values = MapCount(), []
    for number in numbers(scan.n_slices):
        kspace, whole = (x.kspace[number].to(device) for x in (scan, full))
        try:
            found = estimate_maps(kspace, estimator, n_maps)
            own = found if same_calibration(kspace, whole) else None
            if own is None and full.fully_sampled:
                own = estimate_maps(whole, estimator, n_maps)
        except ValueError as error:
            raise ValueError(f"{scan.name}, slice {number}: {error}") from error
        _add(count, found, whole)
        if full.fully_sampled:
            assert own is not None
            count.combined.append(reference_image(whole, own.maps).cpu())
        values.append(found.maps.cpu())
    return torch.stack(values), count


def _add(count: MapCount, found: SliceEstimate, whole: Tensor) -> None:
    count.add(whole, found.maps)
    count.pixels += found.pixels
    count.seconds += found.seconds


def _given(full: Scan, maps: Tensor) -> tuple[Tensor, MapCount, Tensor | None]:
    """Return maps (s, M, c, H, W) of unit norm, counts, and the norm (s, H, W) that they had."""
    maps, norm = unit_norm_maps(maps)
    count = MapCount()
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


def _notes(count: MapCount, n_maps: int) -> list[str]:
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
    if n_maps == 1 and FOLDED_ABOVE < share < NOISY_ABOVE:
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


@dataclass(frozen=True)
class Reference:
    """Hold the reference image of reconstructions.

    Attributes
    ----------
    image
        (s, h, w), magnitude, unit of k-space.
    origin
        Origin of the image in words.
    """

    image: Tensor
    origin: str


def reference_of(
    full: Scan, combined: Tensor | None, shape: tuple[int, int], *, stored: bool, estimated: bool
) -> Reference | None:
    """Return the magnitude image with which reconstructions are compared, or None without one.

    Parameters
    ----------
    full
        The scan as it is in its file, before samples were left out.
    combined
        (s, H, W), the images of the fully sampled scan by `reference_image`; None where it is not
        fully sampled.
    shape
        (h, w), the central part of the image that counts.
    stored
        Whether the maps are those of the file, of unit norm; its complex `target` then comes first.
    estimated
        Whether the maps of `combined` were estimated, from the full scan itself.

    Notes
    -----
    Only where the scan is not fully sampled is another reference image in the file used.
    """
    target = full.target
    if stored and target is not None and target.is_complex():
        return Reference(_magnitude(target, shape), "the coil-combined target in the file")
    if combined is not None:
        maps = "coil maps of its own" if estimated else "the same coil maps"
        origin = f"the fully sampled scan, combined with {maps}"
        return Reference(_magnitude(combined, shape), origin)
    if target is not None:
        name = full.header.get("reference") or "target"
        return Reference(_magnitude(target, shape), f"{name} in the file")
    return None


def _magnitude(image: Tensor, shape: tuple[int, int]) -> Tensor:
    return center_crop(image.abs(), shape)
