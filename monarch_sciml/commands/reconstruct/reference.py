"""The reference image of reconstructions, and their errors."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml.data.scans.reference import coil_combined
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.physics import center_crop

Shape = tuple[int, int]


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
    full: Scan, combined: Tensor | None, shape: Shape, *, stored: bool, estimated: bool
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


def image_shape(scan: Scan) -> Shape:
    """Return (h, w), the size of the file's reference image within the matrix, or the matrix."""
    height, width = scan.matrix
    if scan.target is None:
        return height, width
    return min(height, scan.target.shape[-2]), min(width, scan.target.shape[-1])


def errors_of(image: Tensor, reference: Tensor) -> dict[str, float]:
    """Return fastMRI's NMSE, PSNR (dB) and SSIM of one volume (s, h, w)."""
    n_slices = len(reference)
    pieces = image_statistics(image, reference, reference.amax().expand(n_slices))
    metrics = volume_metrics(pieces, torch.zeros(n_slices, dtype=torch.int64))
    return {name: float(metrics[name][0]) for name in ("nmse", "psnr", "ssim")}


def zero_filled(scan: Scan, coil_maps: Tensor) -> Tensor:
    """Return the coil-combined images (s, H, W) of k-space as it is."""
    sets = coil_maps if coil_maps.dim() == 5 else coil_maps[:, None]  # (s, M, c, H, W)
    return torch.stack([coil_combined(kspace, maps) for kspace, maps in zip(scan.kspace, sets)])


def _magnitude(image: Tensor, shape: Shape) -> Tensor:
    return center_crop(image.abs(), shape)
