"""Where the coil maps of a reconstruction come from: estimates, the scan's file, another file."""

# Legend: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.map_files import read_coil_maps
from monarch_sciml.data.scans.maps import maps_of_scan
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.sizes import cut_or_pad
from monarch_sciml.physics import calibration_size, coil_compression, compress_coils, espirit, walsh

FOLDED_ABOVE = 0.03
"""Share of the object with a second ESPIRiT map, above which the field of view looks too small.

Of a head within the field of view it is 0.005; of one that is 10 % larger, 0.06.
"""
CROP = 0.8
KERNEL = 6


@dataclass(frozen=True)
class Maps:
    """Coil maps of a scan.

    Attributes
    ----------
    values
        (s, c, H, W) complex, dimensionless; (s, M, c, H, W) for several sets.
    origin
        Where they come from, in words.
    notes
        What they say about the scan.
    """

    values: Tensor
    origin: str
    notes: tuple[str, ...] = ()


def given_maps(scan: Scan, settings: Settings) -> Maps | None:
    """Return the maps that are in a file; None where they have to be estimated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When there are no maps, or those of another scan.
    """
    source, n_maps, slices = settings.coil_maps, settings.n_maps, settings.slices
    if source in ("espirit", "walsh"):
        return None
    if isinstance(source, Path):
        name = scan.path or Path(scan.name)
        path = maps_of_scan(source, name) if source.is_dir() else source
        whole = scan.header.get("shape", scan.kspace.shape)[0]
        maps = read_coil_maps(path, (whole, *scan.kspace.shape[1:]), n_maps=n_maps)
        maps = maps if slices is None else maps[slice(*slices)].clone()
        return Maps(maps, path.name, _norm_notes(maps))
    if n_maps > 1:
        rule = "`n_maps` must be 1 for the maps stored in a scan"
        raise ValueError(message(rule, n_maps, "Use --coil_maps espirit or a file of maps."))
    if scan.coil_maps is None:
        rule = f"{scan.name} must hold coil maps to use the stored ones"
        raise ValueError(message(rule, "none", "Use --coil_maps espirit."))
    return Maps(scan.coil_maps, "stored in the file", _norm_notes(scan.coil_maps))


def estimated_maps(scan: Scan, settings: Settings, remedy: str) -> Maps:
    """Estimate maps from the calibration region of every slice, one slice at a time.

    A single coil gets the map 1, an empty slice the map 0.

    Raises
    ------
    ValueError
        When there is no calibration region (`remedy` says what to do), or there are fewer coils
        than map sets.
    """
    n_maps, on_walsh = settings.n_maps, settings.coil_maps == "walsh"
    if scan.n_coils == 1 and n_maps == 1:
        return Maps(torch.ones_like(scan.kspace), "one coil, map 1")
    if n_maps > scan.n_coils or (on_walsh and n_maps > 1):
        rule = "`n_maps` must be 1 for --coil_maps walsh, and at most the number of coils"
        raise ValueError(message(rule, f"{n_maps} with {scan.n_coils} coils", "Lower it."))
    maps = scan.kspace.new_zeros(scan.n_slices, n_maps, *scan.kspace.shape[1:])
    seconds, pixels = 0, 0  # with a second map, with any
    for number in settings.slice_numbers("coil maps", scan.n_slices):
        kspace = scan.kspace[number].to(settings.device)
        if not bool(kspace.any()):
            continue
        _check_calibration(scan, number, settings, remedy)
        if on_walsh:
            maps[number] = walsh(kspace, calibration=settings.calibration).cpu()
            continue
        found, kept = _espirit(scan, number, kspace, settings)
        maps[number] = found[:n_maps].cpu()
        pixels, seconds = pixels + int(kept[0].sum()), seconds + int(kept[1].sum())
    share, notes = seconds / max(pixels, 1), ()
    if n_maps == 1 and share > FOLDED_ABOVE:
        notes = (
            f"{100 * share:.0f} % of the object has a second coil map: the field of view may be "
            "smaller than the head; compare with --n_maps 2",
        )
    name = "Walsh's method" if on_walsh else "ESPIRiT"
    origin = f"{name} on the calibration region"
    if n_maps > 1:
        return Maps(maps, f"{origin}, {n_maps} sets", notes)  # (s, M, c, H, W)
    return Maps(maps[:, 0], origin, notes)


def compressed(
    full: Scan, scan: Scan, maps: Maps | None, n_coils: int
) -> tuple[Scan, Scan, Maps | None]:
    """Return a scan before and after undersampling, and given maps, with fewer virtual coils.

    Every slice has its own coils, those of the most energy in its undersampled k-space, as in
    training (`SizeRules`).
    """
    positive_int("compress_coils", n_coils)
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
    maps = None if maps is None else replace(maps, values=fewer(maps.values))
    return (new if full is scan else of(full)), new, maps


def _check_calibration(scan: Scan, number: int, settings: Settings, remedy: str) -> None:
    """Refuse a slice without the block, `calibration` samples a side at most, that maps need."""
    least, largest = 1 if settings.coil_maps == "walsh" else KERNEL, settings.calibration
    sampled = (scan.kspace[number] != 0).any(dim=0)
    for axis, n in enumerate(sampled.shape):
        sampled = cut_or_pad(sampled, min(n, largest), axis)
    size = calibration_size(sampled)
    if min(size) < least <= largest:
        rule = f"the fully sampled centre of k-space must be at least {least} x {least} samples"
        raise ValueError(message(rule, f"{size[0]} x {size[1]} in {scan.name}", remedy))


def _espirit(scan: Scan, number: int, kspace: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Return maps (M, c, H, W) of a slice and where they count (M, H, W).

    Always two sets or more: the second says whether the object fits into the field of view.
    """
    maps, strength = espirit(
        kspace,
        calibration=settings.calibration,
        crop=-1.0,
        n_maps=max(2, settings.n_maps),
        return_eigenvalues=True,
    )
    kept = strength > CROP
    if not bool(kept[0].any()):
        rule = f"the largest eigenvalue of ESPIRiT must exceed {CROP} in slice {number}"
        got = f"{float(strength[0].max()):.3f} in {scan.name}"
        remedy = "Calibrate on more lines (--calibration), or use --coil_maps walsh."
        raise ValueError(message(rule, got, remedy))
    return maps * kept.unsqueeze(1), kept


def _norm_notes(maps: Tensor) -> tuple[str, ...]:
    """Say where maps are not of the unit norm that methods expect; zero outside of the object."""
    far = total = 0
    for part in maps:  # (c, H, W) or (M, c, H, W)
        norm = torch.linalg.vector_norm(part, dim=-3)
        far += int(((norm - 1).abs() > 0.1)[norm > 0].sum())
        total += int((norm > 0).sum())
    if far <= 0.01 * total:
        return ()
    return (
        f"the coil maps are not of unit norm in {100 * far / total:.0f} % of the object: images "
        "are shaded, and the weights of the methods mean something else",
    )
