"""What `reconstruct` does with one scan: coil maps, reference, methods, errors."""

# Legend: s slices, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from monarch_sciml._checks import message
from monarch_sciml.data.kspace import read_scan
from monarch_sciml.data.scan import Scan
from monarch_sciml.data.scan_samples import Normalization, normalization_level
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.physics import center_crop, combine, estimate_coil_maps, ifft2c

Shape = tuple[int, int]
MapsSource = Literal["espirit", "stored"] | Path


@dataclass(frozen=True)
class Reference:
    """What reconstructions are held against.

    Attributes
    ----------
    image
        (s, h, w), magnitude, unit of k-space.
    origin
        Where it comes from, in words.
    """

    image: Tensor
    origin: str


@dataclass(frozen=True)
class Problem:
    """A scan that is ready to be reconstructed.

    Attributes
    ----------
    scan
        The undersampled scan with its coil maps.
    maps_origin
        Where the maps come from, in words.
    shape
        (h, w), the central part of the image that counts.
    reference
        None when there is none.
    """

    scan: Scan
    maps_origin: str
    shape: Shape
    reference: Reference | None

    @property
    def coil_maps(self) -> Tensor:
        """(s, c, H, W) complex, dimensionless."""
        return self.scan.coil_maps if self.scan.coil_maps is not None else torch.empty(0)


@dataclass(frozen=True)
class Reconstruction:
    """The images of one method.

    Attributes
    ----------
    image
        (s, h, w), magnitude, unit of k-space.
    seconds
        Mean time of a slice, without that of the coil maps.
    """

    image: Tensor
    seconds: float


def prepare(
    full: Scan, scan: Scan, source: MapsSource, *, calibration: int, progress: bool
) -> Problem:
    """Find the coil maps of an undersampled scan and its reference.

    Parameters
    ----------
    full
        The scan as it is in its file.
    scan
        The same, undersampled as it will be reconstructed.
    source
        "espirit": maps are estimated from the calibration region of `scan`; "stored": those of
        its file; otherwise a .cfl/.hdr pair or a .npy file (c, H, W) of maps. ESPIRiT gives a
        single coil the map 1 and an empty slice none.
    calibration
        Largest side of the block that ESPIRiT uses, in samples.
    progress
        Show a bar.

    Raises
    ------
    ValueError
        When there are no such maps, they do not fit k-space, or there is no calibration region to
        estimate them from.
    """
    if source == "stored":
        if scan.coil_maps is None:
            rule = f"{scan.name} must hold coil maps to use the stored ones"
            raise ValueError(message(rule, "none", "Use --coil_maps espirit."))
        maps, origin = scan.coil_maps, "stored in the file"
    elif isinstance(source, Path):
        maps, origin = _maps_in(source, scan), f"{source.name}"
    elif scan.n_coils == 1:
        maps, origin = torch.ones_like(scan.kspace), "one coil, map 1"
    else:
        maps, origin = torch.zeros_like(scan.kspace), "ESPIRiT on the calibration region"
        for number in _bar("coil maps", scan, progress):
            part = scan.kspace[number : number + 1]
            if bool(part.any()):
                maps[number] = estimate_coil_maps(part, calibration=calibration)[0]
    shape = image_shape(full)
    reference = reference_of(full, maps, shape, stored=source == "stored")
    return Problem(replace(scan, coil_maps=maps), origin, shape, reference)


def reference_of(full: Scan, coil_maps: Tensor, shape: Shape, *, stored: bool) -> Reference | None:
    """Return the magnitude image to hold reconstructions against, None when there is none.

    Parameters
    ----------
    full
        The scan as it is in its file, before samples were left out.
    coil_maps
        (s, c, H, W), the maps used for reconstruction.
    shape
        (h, w), the central part of the image that counts.
    stored
        Whether the maps are those of the file; its complex `target` then comes first.

    Notes
    -----
    Otherwise it is |sum_c conj(S_c) F^-1 y_c| of the fully sampled scan, noise included. Only
    where the scan is not fully sampled is another reference image in the file used.
    """
    target = full.target
    if stored and target is not None and target.is_complex():
        return Reference(_magnitude(target, shape), "the coil-combined target in the file")
    if full.fully_sampled:
        combined = torch.stack([combine(ifft2c(y), s) for y, s in zip(full.kspace, coil_maps)])
        origin = "the fully sampled scan, combined with the same coil maps"
        return Reference(_magnitude(combined, shape), origin)
    if target is not None:
        name = full.header.get("reference") or "target"
        return Reference(_magnitude(target, shape), f"{name} in the file")
    return None


def image_shape(scan: Scan) -> Shape:
    """Return (h, w), the size of the file's reference image within the matrix, or the matrix."""
    height, width = scan.matrix
    if scan.target is None:
        return height, width
    return min(height, scan.target.shape[-2]), min(width, scan.target.shape[-1])


def scale_of(problem: Problem, normalization: Normalization) -> float:
    """Return what k-space is divided by, the same as in training (`ScanDataset`).

    Parameters
    ----------
    problem
        The scan with its maps.
    normalization
        "p95", "max" or "std" of the magnitude of its zero-filled images.

    Raises
    ------
    ValueError
        When that is zero.
    """
    pairs = zip(problem.scan.kspace, problem.coil_maps)
    scale = float(
        normalization_level(
            torch.stack([combine(ifft2c(y), s).abs() for y, s in pairs]), normalization
        )
    )
    if not scale > 0:
        rule = f"the zero-filled images of {problem.scan.name} must not be zero"
        raise ValueError(message(rule, f"a scale of {scale:g}", "Check coil maps and mask."))
    return scale


@torch.no_grad()
def run_method(
    name: str,
    network: nn.Module,
    problem: Problem,
    *,
    normalization: Normalization | None = None,
    device: torch.device,
    progress: bool,
) -> Reconstruction:
    """Reconstruct every slice with one network or solver.

    Parameters
    ----------
    name
        Title of the progress bar.
    network
        Called with masked k-space, mask and maps, each with a batch axis.
    problem
        The scan with its maps.
    normalization
        How the volume was scaled in training; None for a method to which scale means nothing.
    device
        Where to compute.
    progress
        Show a bar.
    """
    scan, network = problem.scan, network.to(device).eval()
    scale = scale_of(problem, normalization) if normalization else 1.0
    images, seconds = [], 0.0
    for number in _bar(name, scan, progress):
        start = time.perf_counter()
        kspace, maps = (x[number].to(device) for x in (scan.kspace, problem.coil_maps))
        mask = scan.slice_mask(number).to(device, torch.float32)
        image = torch.zeros(scan.matrix)
        if bool(kspace.any()):  # a slice at the end of a volume may be empty
            image = network(kspace[None] / scale, mask[None], maps[None])[0].abs().cpu() * scale
        seconds += time.perf_counter() - start
        images.append(center_crop(image, problem.shape))
    return Reconstruction(torch.stack(images), seconds / len(images))


def errors_of(image: Tensor, reference: Tensor) -> dict[str, float]:
    """Return fastMRI's NMSE, PSNR (dB) and SSIM of one volume (s, h, w)."""
    n_slices = len(reference)
    pieces = image_statistics(image, reference, reference.amax().expand(n_slices))
    metrics = volume_metrics(pieces, torch.zeros(n_slices, dtype=torch.int64))
    return {name: float(metrics[name][0]) for name in ("nmse", "psnr", "ssim")}


def _maps_in(path: Path, scan: Scan) -> Tensor:
    """Return the coil maps (s, c, H, W) in a file, refusing those of another scan."""
    maps = read_scan(path).kspace  # the layout of a file of maps is that of k-space
    if maps.shape != scan.kspace.shape:
        rule = f"the coil maps in {path} must have the shape {tuple(scan.kspace.shape)} of k-space"
        raise ValueError(message(rule, tuple(maps.shape), "Use the maps of this scan."))
    return maps


def _magnitude(image: Tensor, shape: Shape) -> Tensor:
    return center_crop(image.abs(), shape)


def _bar(name: str, scan: Scan, progress: bool) -> Iterable[int]:
    """Return the numbers of the slices; without a terminal there is no bar."""
    hidden = None if progress else True
    return tqdm(range(scan.n_slices), name, unit="slice", disable=hidden, leave=False)
