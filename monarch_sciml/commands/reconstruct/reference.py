"""What reconstructions are held against, and by which errors."""

# Legend: s slices, M map sets, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.physics import center_crop, combine, combine_map_sets, ifft2c

Shape = tuple[int, int]


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


def reference_of(full: Scan, coil_maps: Tensor, shape: Shape, *, stored: bool) -> Reference | None:
    """Return the magnitude image to hold reconstructions against, None when there is none.

    Parameters
    ----------
    full
        The scan as it is in its file, before samples were left out.
    coil_maps
        (s, c, H, W) or (s, M, c, H, W), the maps used for reconstruction.
    shape
        (h, w), the central part of the image that counts.
    stored
        Whether the maps are those of the file; its complex `target` then comes first.

    Notes
    -----
    Otherwise it is |sum_c conj(S_c) F^-1 y_c| of the fully sampled scan, noise included; of several
    map sets the root of the sum of squares. Only where the scan is not fully sampled is another
    reference image in the file used.
    """
    target = full.target
    if stored and target is not None and target.is_complex():
        return Reference(_magnitude(target, shape), "the coil-combined target in the file")
    if full.fully_sampled:
        origin = "the fully sampled scan, combined with the same coil maps"
        return Reference(_magnitude(zero_filled(full, coil_maps), shape), origin)
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
    images = []
    for kspace, maps in zip(scan.kspace, coil_maps):
        image = combine(ifft2c(kspace), maps)  # (H, W), or (M, H, W)
        images.append(combine_map_sets(image) if maps.dim() == 4 else image)
    return torch.stack(images)


def _magnitude(image: Tensor, shape: Shape) -> Tensor:
    return center_crop(image.abs(), shape)
