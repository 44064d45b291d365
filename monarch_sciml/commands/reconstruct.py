"""The `reconstruct` command: undersample a scan, reconstruct it, say how well."""

# Legend: s slices, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from monarch_sciml._checks import existing_file, message, one_of
from monarch_sciml.commands.reconstruction import (
    MapsSource,
    Problem,
    Reconstruction,
    prepare,
    run_method,
)
from monarch_sciml.commands.reconstruction_report import (
    Destination,
    report,
    write_images,
)
from monarch_sciml.commands.saved import SavedNetwork, load_mri_networks
from monarch_sciml.commands.undersampling import (
    MaskName,
    apply_mask_file,
    cut,
    shared_mask,
    undersample,
)
from monarch_sciml.data.kspace import read_scan
from monarch_sciml.models import SENSE
from monarch_sciml.physics import SamplingMask
from monarch_sciml.solvers import CGSENSE, L1Wavelet

METHODS = ("zero_filled", "cg_sense", "l1_wavelet")


def reconstruct(
    path: Path,
    *,
    method: str = "all",
    run: Path | list[Path] | None = None,
    mask: MaskName | SamplingMask | None = None,
    mask_file: Path | None = None,
    acceleration: float | None = None,
    calibration: int = 24,
    axis: Literal["columns", "rows"] = "columns",
    coil_maps: MapsSource = "espirit",
    regularization: float = 0.01,
    wavelet_regularization: float = 0.003,
    slices: tuple[int, int] | None = None,
    axes: str | None = None,
    variable: str | None = None,
    seed: int = 0,
    output: Path | None = None,
    figure: Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Reconstruct a scan with several methods, after leaving out samples on request.

    A fully sampled scan gives errors; an undersampled one gives images only.

    Parameters
    ----------
    path
        k-space, centred: fastMRI .h5, BART .cfl/.hdr, .npy or .mat.
    method
        zero_filled, cg_sense, l1_wavelet, several of them with commas, all, or none.
    run
        Run directories of trained MRI networks, or of comparisons, to use as well.
    mask
        Undersample: uniform, random, equispaced, equispaced_fraction, poisson, or the name of a
        mask class with its options, as --mask RandomMask --mask.center_fraction 0.08.
    mask_file
        Undersample with the mask in a .npy or .cfl file, (H, W) or (W,), zero where left out.
    acceleration
        Nominal acceleration of a short mask name, 4 by default; alone it means a uniform mask.
    calibration
        Fully sampled lines (or side of the square) at the centre, of the mask by its short name and
        at most for the coil maps.
    axis
        Leave out columns, the last axis of k-space, or rows.
    coil_maps
        espirit: estimated from the undersampled data; stored: those of the scan's file; or a file
        of maps, as `bart ecalib -m1` writes it.
    regularization
        Tikhonov weight of cg_sense.
    wavelet_regularization
        Weight of the wavelet coefficients of l1_wavelet, relative to the largest zero-filled pixel.
    slices
        First and one past the last slice, as [0,5]; all by default.
    axes
        .npy and .mat: names of the axes, as height,width,coil.
    variable
        .mat: name of the array.
    seed
        Changes the mask, which is drawn from the file name as in fastMRI.
    output
        .h5 file to write: undersampled k-space, coil maps and the images, in fastMRI layout.
    figure
        .png, .pdf or .svg file to write; by default beside `output`.
    overwrite
        Replace existing files.
    device
        Where to compute, cpu or cuda.
    progress
        Show progress bars.

    Returns
    -------
    str
        What was done, and a table of errors (if there is a reference) and times.

    Raises
    ------
    FileExistsError
        When a file to write exists and `overwrite` is false.
    FileNotFoundError
        When a file to read is missing.
    ValueError
        When the scan, mask or runs cannot be used, for the reason given.

    Notes
    -----
    Errors are fastMRI's NMSE, PSNR and SSIM of the volume of magnitudes, against the fully sampled
    scan combined with the same coil maps. In the .h5 file `reconstruction` (s, h, w) is that of the
    last method of the table, and `reconstructions/NAME` that of each.
    """
    names, place = _methods(method), _device(device)
    destination = Destination.checked(path, output, figure, overwrite=overwrite)
    networks = load_mri_networks(_listed(run))
    if not names and not networks:
        rule = "there must be a method or a run to reconstruct with"
        raise ValueError(message(rule, "none", "Pass --method all, say."))
    if path.is_dir():
        existing_file(path)  # says that a file is needed
    full = shared_mask(read_scan(path, axes=axes, variable=variable))
    full = full if slices is None else cut(full, slices)
    if mask_file is None:
        scan, sampling = undersample(
            full, mask, acceleration=acceleration, calibration=calibration, axis=axis, seed=seed
        )
    elif mask is None and acceleration is None:
        scan, sampling = apply_mask_file(full, mask_file)
    else:
        rule = "a mask must be drawn or read from a file, not both"
        raise ValueError(message(rule, f"--mask_file {mask_file} and another", "Leave one out."))
    destination.check(scan)
    problem = prepare(full, scan, coil_maps, calibration=calibration, progress=progress)
    solvers: dict[str, Callable[[], nn.Module]] = {
        "zero_filled": lambda: SENSE(scan.matrix),
        "cg_sense": lambda: CGSENSE(scan.matrix, regularization=regularization),
        "l1_wavelet": lambda: L1Wavelet(scan.matrix, regularization=wavelet_regularization),
    }
    found = {
        name: run_method(name, solvers[name](), problem, device=place, progress=progress)
        for name in names
    }
    notes = _run_networks(networks, problem, found, place, progress)
    text = report(problem, sampling, found, notes)
    return "\n\n".join([text, *write_images(destination, problem, sampling, found)])


def _methods(method: str) -> list[str]:
    """Return the names of the conventional methods, in the order of METHODS."""
    names = [name.strip() for name in method.split(",")]
    if names == ["none"]:
        return []
    for name in names:
        if name not in (*METHODS, "all"):
            rule = f"`method` must be all, none, or some of {', '.join(METHODS)}"
            remedy = "A trained network is used with --run RUN_DIRECTORY."
            raise ValueError(message(rule, name, remedy))
    return [name for name in METHODS if name in names or "all" in names]


def _device(device: str) -> torch.device:
    one_of("device", device.split(":")[0], ("cpu", "cuda"))
    if device != "cpu" and not torch.cuda.is_available():
        rule = "`device` must be there"
        raise ValueError(message(rule, f"{device!r} and no CUDA device", "Pass cpu."))
    return torch.device(device)


def _listed(run: Path | Sequence[Path] | None) -> list[Path]:
    if run is None:
        return []
    return [run] if isinstance(run, Path) else list(run)


def _run_networks(
    networks: Sequence[SavedNetwork],
    problem: Problem,
    found: dict[str, Reconstruction],
    device: torch.device,
    progress: bool,
) -> list[str]:
    """Add the images of trained networks to `found`; return what has to be said about others.

    A network that was named must run; one that came with a comparison may be left out.
    """
    notes = []
    for network in networks:
        name = network.name if network.name not in found else str(network.path)
        try:
            found[name] = run_method(
                name,
                network.model,
                problem,
                normalization=network.normalization,
                device=device,
                progress=progress,
            )
        except ValueError as error:
            if network.named:
                raise ValueError(f"{network.path}: {error}") from error
            notes.append(f"{name} left out: {error}")
    return notes
