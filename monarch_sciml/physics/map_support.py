"""The support and the norm of coil maps, and the mask of the object.

Letters: s slices, M map sets, C coils, H, W rows and columns; ... any leading axes.
"""

from __future__ import annotations

import torch

from monarch_sciml.physics.calibration import central_region, hann
from monarch_sciml.physics.images import ifft2c, rss

OBJECT_ABOVE = 0.1
"""Share of the brightest pixel of a low-resolution image above which a pixel is of the object."""
LOW_RESOLUTION = 32
"""Side of the tapered centre of k-space that shows the object: noise averages out in it."""
NORM_TOLERANCE = 1e-3
"""Deviation of the norm from one up to which maps count as of unit norm: rounding in a file."""
_NOTHING = 1e-6
"""Norm, relative to the largest of the slice, below which a pixel has no map."""


def map_norm(maps: torch.Tensor) -> torch.Tensor:
    """Return the norm of maps (..., M, C, H, W) over the coils, the largest of all map sets.

    Returns
    -------
    (..., H, W), real; exactly zero where the maps are negligible.
    """
    norm = torch.linalg.vector_norm(maps, dim=-3).amax(dim=-3)  # (..., M, H, W) -> (..., H, W)
    largest = norm.amax(dim=(-2, -1), keepdim=True)
    return torch.where(norm > _NOTHING * largest, norm, 0.0)


def unit_norm_maps(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    r"""Return maps of unit norm, and the norm that they had before.

    .. math:: S'_{mc}(q) = S_{mc}(q) / n(q), \qquad n(q) = \max_m \sqrt{\sum_c |S_{mc}(q)|^2}

    With S' the image of every method is x' = n x, for y = F S x: the adjoint S'^H F^H y, and the
    solution of the normal equations, are the same image only when sum_c |S'_c|^2 = 1.

    Parameters
    ----------
    maps
        (..., M, C, H, W), complex, dimensionless.

    Returns
    -------
    The maps, which are zero where they were zero before, and n (..., H, W). If the norm is one (or
    zero) everywhere already, the unchanged maps and None.
    """
    norm = map_norm(maps)
    lit = norm > 0
    if bool(((norm - 1).abs() <= NORM_TOLERANCE)[lit].all()):
        return maps, None
    scale = torch.where(lit, 1 / torch.where(lit, norm, 1.0), 0.0)
    return maps * scale[..., None, None, :, :], norm


def object_mask(kspace: torch.Tensor) -> torch.Tensor:
    """Return where the object is, from the centre of k-space (..., C, H, W): (..., H, W) bool.

    The centre, at most 32 samples a side under a Hann window, gives an image with negligible noise.
    The object is where the root of its sum of squares exceeds a tenth of the maximum. The centre of
    k-space must be sampled.
    """
    size = (min(LOW_RESOLUTION, kspace.shape[-2]), min(LOW_RESOLUTION, kspace.shape[-1]))
    low, centre = torch.zeros_like(kspace), (..., *central_region(kspace.shape, size))
    low[centre] = kspace[centre] * hann(size, kspace)
    image = rss(ifft2c(low))
    return image > OBJECT_ABOVE * image.amax(dim=(-2, -1), keepdim=True)
