"""The steps of `reconstruct` for one scan: read it, leave out samples, reconstruct it."""

# Letters: s slices, h, w matrix of the images.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from monarch_sciml._checks import message
from monarch_sciml._memory import check_memory
from monarch_sciml.commands.comparison.suitability import mismatch
from monarch_sciml.commands.reconstruct.maps import Maps, with_maps
from monarch_sciml.commands.reconstruct.methods import Reconstruction, run_methods
from monarch_sciml.commands.reconstruct.reference import (
    Reference,
    errors_of,
    image_shape,
    reference_of,
)
from monarch_sciml.commands.reconstruct.regridding import regridded, solved
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.commands.reconstruct.undersampling import (
    apply_mask_file,
    mask_family,
    shared_mask,
    undersample,
    window,
)
from monarch_sciml.data.scans.maps import ESTIMATES
from monarch_sciml.data.scans.notes import gaps
from monarch_sciml.data.scans.plausible import check_coils
from monarch_sciml.data.scans.recognise import read_scan
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.source import open_scan
from monarch_sciml.data.spec import ScanSpec
from monarch_sciml.physics.noise import noise_level

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


def reconstruct_scan(path: Path, settings: Settings, reader: Mapping[str, Any]) -> Result:
    """Read a scan, leave out samples, and reconstruct it with every method and network.

    `reader` are the options of `read_scan` for this file.

    Raises
    ------
    FileNotFoundError
        When a file is missing.
    ValueError
        When the scan cannot be used, for the reason given.
    """
    with _memory_errors(path):
        _check_memory(path, settings, reader)
        slices = None if settings.slices is None else window(settings.slices)
        read = read_scan(path, slices=slices, **reader)
        check_coils(read)
        full, encoding = shared_mask(read.with_calibration()), settings.learned_encoding
        if encoding is None:
            full = full.recentred(read.peak)
        missing = gaps(full)
        notes = [*full.notes, *([missing] if missing else [])]
        with _notes_in_errors(notes):
            notes += _choices(read, reader)
            scan, sampling = _undersampled(full, settings)
            shape = image_shape(full)
            if encoding is None:
                full, scan, maps, combined = with_maps(full, scan, settings)
            else:
                measured = full
                full, ideal = (regridded(one, encoding, settings) for one in (full, scan))
                full, mapped, maps, combined = with_maps(full, ideal, settings)
                scan = replace(scan, coil_maps=mapped.coil_maps)
                if combined is not None:
                    combined = solved(measured, encoding, maps.values, settings)
                notes.append(f"measured by {settings.encoding}: {encoding.description}")
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
                noise_level(scan.kspace),
                mask_family(settings.mask, settings.acceleration),
            )
            differing = [mismatch(network.name, network.trained, here) for network in used]
            notes += [line for line in differing if line]
        return Result(scan, sampling, maps, reference, [*notes, *maps.notes], found, left_out)


def _undersampled(full: Scan, settings: Settings) -> tuple[Scan, str]:
    if settings.mask_file is not None:
        return apply_mask_file(full, settings.mask_file, settings.slices)
    return undersample(
        full,
        settings.mask,
        acceleration=settings.acceleration,
        calibration=settings.calibration,
        axis=settings.axis,
        seed=settings.seed,
    )


def _choices(read: Scan, reader: Mapping[str, Any]) -> list[str]:
    """Return notes on the contrast, the repetition and calibration lines that are used."""
    notes = []
    if read.calibration_kspace is not None:
        notes.append("separate calibration lines fill in for missing imaging lines")
    for name in ("contrast", "repetition"):
        count = read.header.get(f"{name}s", 1)
        if count > 1 and name not in reader:
            # the files of a series are repetitions of which any may have been named
            which = "one" if read.header["format"] == "M4Raw" else "the first"
            notes.append(f"{which} of {count} {name}s was read: see --{name}")
    return notes


@contextmanager
def _notes_in_errors(notes: Sequence[str]) -> Iterator[None]:
    """Add earlier notes on likely mistakes in the scan to a ValueError that they may explain."""
    said = "; ".join(notes)
    try:
        yield
    except ValueError as error:
        if not said:
            raise
        raise ValueError(f"{error} Note: {said}.") from error


def _check_memory(path: Path, settings: Settings, reader: Mapping[str, Any]) -> None:
    """Refuse a volume that will not fit into memory, before it is read."""
    remedy = "Reconstruct fewer slices at a time, as --slices [0,1], or pass --compress_coils N."
    undersampled = bool(settings.mask or settings.mask_file or settings.acceleration)
    try:
        whole, coils, height, width = open_scan(path, reader).shape
    except ValueError:  # the slice in the middle may be empty; reading all finds what is wrong
        size = path.stat().st_size if path.exists() else 0
        needed = size * (1 + undersampled + settings.n_maps) + WORKING_BYTES
        check_memory(f"the k-space and maps of {path.name}", needed, remedy=remedy)
        return
    first, last = settings.slices or (0, whole)
    n_slices = max(0, min(last, whole) - first)
    kept = min(coils, settings.compress_coils or coils)
    # k-space as read, compressed, undersampled, the maps; the images and the reference
    copies = coils + kept * ((kept < coils) + undersampled + settings.n_maps)
    a_slice = 8 * height * width * (copies + len(settings.names) + 1)
    what = f"the k-space, maps and images of {n_slices} slices of {path.name}"
    remedy = remedy if n_slices > 1 else "Pass --compress_coils N, or free memory."
    check_memory(what, n_slices * a_slice + WORKING_BYTES, remedy=remedy)


@contextmanager
def _memory_errors(path: Path) -> Iterator[None]:
    """Turn an error of memory, of the device or the machine, into one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = isinstance(error, torch.OutOfMemoryError)
        if not (device or isinstance(error, MemoryError) or "allocate memory" in str(error)):
            raise
        rule = f"{path} must fit into the memory of the {'device' if device else 'machine'}"
        remedy = "Pass --compress_coils N" + (", or --device cpu." if device else ", or --slices.")
        raise ValueError(message(rule, "too little of it", remedy)) from error
