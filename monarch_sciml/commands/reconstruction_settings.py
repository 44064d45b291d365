"""What one call of `reconstruct` asks for, and what it does with one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.commands.reconstruction import (
    Problem,
    Reconstruction,
    prepare,
    run_method,
)
from monarch_sciml.commands.reconstruction_maps import MapsSource
from monarch_sciml.commands.reconstruction_notes import choices, notes_in_errors
from monarch_sciml.commands.saved import SavedNetwork
from monarch_sciml.commands.undersampling import (
    MaskName,
    apply_mask_file,
    shared_mask,
    undersample,
    window,
)
from monarch_sciml.data._memory import check_memory
from monarch_sciml.data.kspace import OPTIONS, read_scan, recognise
from monarch_sciml.data.scan import Scan
from monarch_sciml.data.scan_notes import gaps
from monarch_sciml.data.scan_source import open_scan
from monarch_sciml.models import SENSE
from monarch_sciml.physics import SamplingMask
from monarch_sciml.solvers import CGSENSE, L1Wavelet

METHODS = ("zero_filled", "cg_sense", "l1_wavelet")
WORKING_BYTES = 300_000_000
"""What a slice takes besides the volume: ESPIRiT's chunks, solvers, figures."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every scan of a call is reconstructed; see `reconstruct` for the fields."""

    methods: tuple[str, ...]
    mask: MaskName | SamplingMask | None
    mask_file: Path | None
    acceleration: float | None
    calibration: int
    axis: Literal["columns", "rows"]
    coil_maps: MapsSource
    n_maps: int
    compress_coils: int | None
    regularization: float
    wavelet_regularization: float
    slices: tuple[int, int] | None
    seed: int
    reader: Mapping[str, Any]
    device: torch.device
    progress: bool
    networks: Sequence[SavedNetwork] = field(default=())

    @property
    def names(self) -> list[str]:
        """Names of the methods and networks that will run, in order."""
        names = list(self.methods)
        for network in self.networks:
            names.append(network.name if network.name not in names else str(network.path))
        return names

    @property
    def description(self) -> dict[str, str]:
        """What the images depend on, as text: two calls of equal descriptions do the same."""
        own = {
            key: str(value)
            for key, value in vars(self).items()
            if key not in ("device", "progress", "networks", "reader")
        }
        runs = ", ".join(str(network.path) for network in self.networks) or "none"
        return {**own, "run": runs, **{key: str(value) for key, value in self.reader.items()}}

    def reader_of(self, path: Path) -> dict[str, Any]:
        """Return the options of `read_scan` that are for the format of this file."""
        form = recognise(path)
        return {key: value for key, value in self.reader.items() if form in OPTIONS[key]}


@dataclass(frozen=True)
class Result:
    """A scan that was reconstructed.

    Attributes
    ----------
    problem
        The scan, its maps and its reference.
    sampling
        How it was undersampled, in words.
    found
        The images of each method.
    notes
        Networks that were left out, and why.
    """

    problem: Problem
    sampling: str
    found: dict[str, Reconstruction]
    notes: list[str]


Check = Callable[[Scan], None]


def reconstruct_scan(
    path: Path, settings: Settings, reader: Mapping[str, Any], check: Check
) -> Result:
    """Read a scan, leave out samples, and reconstruct it with every method and network.

    Parameters
    ----------
    path
        The file.
    settings
        What is asked for.
    reader
        Options of `read_scan`.
    check
        Refuses a scan that cannot be written, before the work.

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
        full = shared_mask(read.with_calibration())
        missing = gaps(full)
        full.notes.extend([missing] if missing else [])
        with notes_in_errors(full.notes):
            full.notes.extend(choices(read, reader))
            scan, sampling = _undersampled(full, settings)
            check(scan)
            problem = prepare(
                full,
                scan,
                settings.coil_maps,
                calibration=settings.calibration,
                n_maps=settings.n_maps,
                compress_coils=settings.compress_coils,
                slices=settings.slices,
                device=settings.device,
                progress=settings.progress,
            )
            del read, full
            return _run(problem, sampling, settings)


def _undersampled(full: Scan, settings: Settings) -> tuple[Scan, str]:
    if settings.mask_file is not None:
        return apply_mask_file(full, settings.mask_file)
    return undersample(
        full,
        settings.mask,
        acceleration=settings.acceleration,
        calibration=settings.calibration,
        axis=settings.axis,
        seed=settings.seed,
    )


def _run(problem: Problem, sampling: str, settings: Settings) -> Result:
    """Run every method and network.

    A network that was named must run; one that came with a comparison may be left out.
    """
    matrix, place, progress = problem.scan.matrix, settings.device, settings.progress
    solvers: dict[str, Callable[[], nn.Module]] = {
        "zero_filled": lambda: SENSE(matrix),
        "cg_sense": lambda: CGSENSE(matrix, regularization=settings.regularization),
        "l1_wavelet": lambda: L1Wavelet(matrix, regularization=settings.wavelet_regularization),
    }
    found = {
        name: run_method(name, solvers[name](), problem, device=place, progress=progress)
        for name in settings.methods
    }
    notes = []
    for network, name in zip(settings.networks, settings.names[len(found) :]):
        try:
            found[name] = run_method(
                name,
                network.model,
                problem,
                normalization=network.normalization,
                device=place,
                progress=progress,
            )
        except ValueError as error:
            if network.named:
                raise ValueError(f"{network.path}: {error}") from error
            notes.append(f"{name} left out: {error}")
    if not found:
        rule = "there must be a network that can be used"
        raise ValueError(message(rule, "; ".join(notes), "Pass --method all, say."))
    return Result(problem, sampling, found, notes)


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
    """Say in one line that memory ran out, on the device or on the machine."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = isinstance(error, torch.OutOfMemoryError)
        if not (device or isinstance(error, MemoryError) or "allocate memory" in str(error)):
            raise
        rule = f"{path} must fit into the memory of the {'device' if device else 'machine'}"
        remedy = "Pass --compress_coils N" + (", or --device cpu." if device else ", or --slices.")
        raise ValueError(message(rule, "too little of it", remedy)) from error
