"""The support and the norm of coil maps, the mask of the object, and its reference image.

Letters: s slices, M map sets, C coils, H, W rows and columns; ... any leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from monarch_sciml.physics.calibration import central_region, hann
from monarch_sciml.physics.images import coil_combined, ifft2c, rss

OBJECT_ABOVE = 0.1
"""Share of the brightest pixel of a low-resolution image above which a pixel is of the object."""
LOW_RESOLUTION = 32
"""Side of the tapered centre of k-space that shows the object: noise averages out in it."""
NORM_TOLERANCE = 1e-3
"""Deviation of the norm from one up to which maps count as of unit norm: rounding in a file."""
HOLES_ABOVE = 0.01
"""Share of the object without a coil map above which the reference has to be mended there."""
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


def unsupported(kspace: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return where the object has no coil map, (H, W) bool; the centre must be sampled.

    Parameters
    ----------
    kspace
        (C, H, W), any unit.
    maps
        (M, C, H, W).
    """
    return object_mask(kspace) & (map_norm(maps) == 0)


def reference_image(
    kspace: torch.Tensor, maps: torch.Tensor, phase_maps: torch.Tensor | None = None
) -> torch.Tensor:
    r"""Return the image of a fully sampled slice, over the whole object.

    .. math:: x = \sum_c S_c^* F^{-1} y_c \quad \text{where there is a map}, \qquad
              |x| = \sqrt{\sum_c |F^{-1} y_c|^2} \quad \text{elsewhere in the object}

    Parameters
    ----------
    kspace
        (C, H, W), fully sampled, any unit.
    maps
        (M, C, H, W), complex maps of unit norm or zero. They are those of the scan, or estimated
        from this fully sampled k-space: the reference depends on no mask.
    phase_maps
        Maps (M, C, H, W) of the reconstructions, whose phase the image gets, because the phase of
        maps is arbitrary. None takes that of `maps`.

    Returns
    -------
    (H, W), complex, unit of k-space, noise included.
    """
    image = coil_combined(kspace, maps)
    holes = unsupported(kspace, maps)
    if int(holes.sum()) > HOLES_ABOVE * int(object_mask(kspace).sum()):
        image = torch.where(holes, rss(ifft2c(kspace)).to(image.dtype), image)
    if phase_maps is None or phase_maps is maps:
        return image
    shown = coil_combined(kspace, phase_maps)
    return torch.where(shown == 0, image, torch.polar(image.abs(), shown.angle()))


@dataclass
class MapCount:
    """Numbers of pixels: of the object, of the object without a map, with a map, with two maps."""

    object: int = 0
    holes: int = 0
    pixels: int = 0
    seconds: int = 0
    combined: list[torch.Tensor] = field(default_factory=list)

    def add(self, full: torch.Tensor, maps: torch.Tensor) -> None:
        """Count the pixels of a slice, whose k-space (C, H, W) shows where the object is."""
        if bool(full.any()):
            self.object += int(object_mask(full).sum())
            self.holes += int(unsupported(full, maps).sum())
