"""The reference image of a fully sampled slice, for training and evaluation."""

# Letters: M map sets, c coils, H, W matrix of k-space; ... any leading axes.

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml.physics.images import combine, combine_map_sets, ifft2c, rss
from monarch_sciml.physics.map_support import map_norm, object_mask

HOLES_ABOVE = 0.01
"""Share of the object without a coil map above which the reference has to be mended there."""


def coil_combined(kspace: Tensor, maps: Tensor) -> Tensor:
    """Return sum_c conj(S_c) F^-1 y_c, combined to one image for several map sets.

    Parameters
    ----------
    kspace
        (..., c, H, W), any unit.
    maps
        (..., M, c, H, W), complex, of unit norm or zero.

    Returns
    -------
    (..., H, W), complex, unit of k-space.
    """
    return combine_map_sets(combine(ifft2c(kspace).unsqueeze(-4), maps))


def unsupported(kspace: Tensor, maps: Tensor) -> Tensor:
    """Return where the object has no coil map, (H, W) bool; the centre must be sampled.

    Parameters
    ----------
    kspace
        (c, H, W), any unit.
    maps
        (M, c, H, W).
    """
    return object_mask(kspace) & (map_norm(maps) == 0)


def reference_image(kspace: Tensor, maps: Tensor, phase_maps: Tensor | None = None) -> Tensor:
    r"""Return the image of a fully sampled slice, over the whole object.

    .. math:: x = \sum_c S_c^* F^{-1} y_c \quad \text{where there is a map}, \qquad
              |x| = \sqrt{\sum_c |F^{-1} y_c|^2} \quad \text{elsewhere in the object}

    Parameters
    ----------
    kspace
        (c, H, W), fully sampled, any unit.
    maps
        (M, c, H, W), complex maps of unit norm or zero. They are those of the scan, or estimated
        from this fully sampled k-space: the reference depends on no mask.
    phase_maps
        Maps (M, c, H, W) of the reconstructions, whose phase the image gets, because the phase of
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
