"""The steps of `reconstruct` for one scan: read it, leave out samples, reconstruct it."""

# Letters: s slices, h, w matrix of the images.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml._memory import check_memory
from monarch_sciml.commands.comparison.suitability import mismatch
from monarch_sciml.commands.reconstruct.methods import Reconstruction, run_methods
from monarch_sciml.commands.reconstruct.regridding import regridded, solved
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.maps import ESTIMATES, SliceMaps
from monarch_sciml.data.scans.notes import choices, gaps, notes_in_errors
from monarch_sciml.data.scans.scan import EmptyScanError, Scan
from monarch_sciml.data.scans.source import ScanFile
from monarch_sciml.data.scans.undersampling import (
    mask_family,
    undersample,
    window,
)
from monarch_sciml.data.scans.volume_maps import Maps, Reference, reference_of, with_maps
from monarch_sciml.data.spec import ScanSpec
from monarch_sciml.metrics.images import image_statistics, volume_metrics

WORKING_BYTES = 300_000_000
"""What a slice takes besides the volume: ESPIRiT's chunks, solvers, figures."""


@dataclass(frozen=True)
class Result:
    """Hold the result of reconstructing one scan.

    Attributes
    ----------
    scan
        The undersampled scan.
    sampling
        Description of the undersampling in words.
    maps
        The coil maps of the scan.
    reference
        The reference image, or None if there is none.
    notes
        Notes on the scan, one line each.
    found
        The images of each method.
    left_out
        Networks that were left out, with the reasons.
    """

    scan: Scan
    sampling: str
    maps: Maps
    reference: Reference | None
    notes: list[str]
    found: dict[str, Reconstruction]
    left_out: list[str]

    @cached_property
    def errors(self) -> dict[str, dict[str, float]]:
        """NMSE, PSNR and SSIM of each method; none without a reference."""
        if self.reference is None:
            return {name: {} for name in self.found}
        target = self.reference.image
        return {name: errors_of(found.magnitude, target) for name, found in self.found.items()}


def reconstruct_scan(file: ScanFile, settings: Settings) -> Result:
    """Read a scan, leave out samples, and reconstruct it with every method and network.

    Raises
    ------
    FileNotFoundError
        When a file is missing.
    ValueError
        When the scan cannot be used, for the reason given.
    """
    with _memory_errors(file):
        _check_memory(file, settings)
        slices = None if settings.slices is None else window(settings.slices)
        read = file.read(slices)
        full, encoding = read.with_calibration().with_shared_mask(), settings.learned_encoding
        if encoding is None:
            full = full.recentred(read.peak)
        missing = gaps(full)
        notes = [*full.notes, *([missing] if missing else [])]
        with notes_in_errors(notes):
            notes += choices(read, file.options)
            scan, sampling = undersample(
                full,
                settings.mask_file or settings.mask,
                acceleration=settings.acceleration,
                calibration=settings.calibration,
                axis=settings.axis,
                seed=settings.seed,
                slices=settings.slices,
            )
            shape = full.image_shape
            measured, ideal = full, scan
            if encoding is not None:
                full, ideal = (regridded(one, encoding, settings) for one in (full, scan))
            full, mapped, maps, combined = with_maps(
                full,
                ideal,
                SliceMaps(settings.coil_maps, settings.n_maps),
                first=settings.slices[0] if settings.slices else 0,
                n_coils=settings.compress_coils,
                device=settings.device,
                numbers=partial(settings.slice_numbers, "coil maps"),
            )
            scan = mapped if encoding is None else replace(scan, coil_maps=mapped.coil_maps)
            if encoding is not None:
                if combined is not None:
                    combined = solved(measured, encoding, maps.values, settings)
                notes.append(f"measured by {settings.encoding}: {encoding.description}")
            del measured, ideal, mapped
            reference = reference_of(
                full,
                combined,
                shape,
                stored=settings.coil_maps == "stored",
                estimated=settings.coil_maps in ESTIMATES and encoding is None,
            )
            del read, full
            found, left_out = run_methods(scan, maps.values, shape, settings)
            used = [network for network in settings.networks if network.name in found]
            here = ScanSpec(
                scan.matrix,
                scan.n_coils,
                scan.acceleration,
                scan.noise,
                mask_family(settings.mask, settings.acceleration),
            )
            differing = [mismatch(network.name, network.trained, here) for network in used]
            notes += [line for line in differing if line]
        return Result(scan, sampling, maps, reference, [*notes, *maps.notes], found, left_out)


def errors_of(image: Tensor, reference: Tensor) -> dict[str, float]:
    """Return fastMRI's NMSE, PSNR (dB) and SSIM of one volume (s, h, w)."""
    n_slices = len(reference)
    pieces = image_statistics(image, reference, reference.amax().expand(n_slices))
    metrics = volume_metrics(pieces, torch.zeros(n_slices, dtype=torch.int64))
    return {name: float(metrics[name][0]) for name in ("nmse", "psnr", "ssim")}


def _check_memory(file: ScanFile, settings: Settings) -> None:
    """Refuse a volume that will not fit into memory, before it is read."""
    remedy = "Reconstruct fewer slices at a time, as --slices [0,1], or pass --compress_coils N."
    undersampled = bool(settings.mask or settings.mask_file or settings.acceleration)
    try:
        whole, coils, height, width = file.facts.shape
    except EmptyScanError:  # of the middle slice alone, if all can be read
        needed = file.size * (1 + undersampled + settings.n_maps) + WORKING_BYTES
        check_memory(f"the k-space and maps of {file.path.name}", needed, remedy=remedy)
        return
    first, last = settings.slices or (0, whole)
    n_slices = max(0, min(last, whole) - first)
    kept = min(coils, settings.compress_coils or coils)
    # k-space as read, compressed, undersampled, the maps; the images and the reference
    copies = coils + kept * ((kept < coils) + undersampled + settings.n_maps)
    a_slice = 8 * height * width * (copies + len(settings.names) + 1)
    what = f"the k-space, maps and images of {n_slices} slices of {file.path.name}"
    remedy = remedy if n_slices > 1 else "Pass --compress_coils N, or free memory."
    check_memory(what, n_slices * a_slice + WORKING_BYTES, remedy=remedy)


@contextmanager
def _memory_errors(file: ScanFile) -> Iterator[None]:
    """Turn an error of memory, of the device or the machine, into one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = isinstance(error, torch.OutOfMemoryError)
        if not (device or isinstance(error, MemoryError) or "allocate memory" in str(error)):
            raise
        rule = f"{file.path} must fit into the memory of the {'device' if device else 'machine'}"
        remedy = "Pass --compress_coils N" + (", or --device cpu." if device else ", or --slices.")
        raise ValueError(message(rule, "too little of it", remedy)) from error
