"""Coil maps of one slice, estimated from its own k-space."""

# Letters: M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.physics.calibration import calibration_region
from monarch_sciml.physics.espirit import espirit
from monarch_sciml.physics.walsh import walsh

Estimator = Literal["espirit", "walsh"]
CALIBRATION = 24
"""Largest side of the block of k-space that maps are estimated from, as BART's ecalib has it."""
KERNEL = 6
CROP = 0.8
FOLDED_ABOVE = 0.03
"""Share of the object with a second ESPIRiT map, above which the field of view looks too small.

Of a head within the field of view it is 0.005; of one that is 10 % larger, 0.06.
"""


@dataclass(frozen=True)
class SliceEstimate:
    """Hold the maps of a slice, and the numbers of pixels with a first and a second map.

    Attributes
    ----------
    maps
        (M, c, H, W), complex, of unit norm or zero.
    pixels, seconds
        Numbers of pixels with at least one map, and with at least two. They are zero except for
        ESPIRiT.
    """

    maps: Tensor
    pixels: int = 0
    seconds: int = 0


def estimate_maps(kspace: Tensor, estimator: Estimator, n_maps: int = 1) -> SliceEstimate:
    """Estimate the coil maps of one slice from the fully sampled centre of its k-space.

    A single coil gets the map 1, an empty slice the map 0.

    Parameters
    ----------
    kspace
        (c, H, W), any unit, zero where it was not sampled.
    estimator
        "espirit" or "walsh".
    n_maps
        Number of map sets M, which must be one for Walsh's method.

    Raises
    ------
    ValueError
        When there is no calibration region, when ESPIRiT finds no map, or there are fewer coils
        than map sets.
    """
    n_coils = len(kspace)
    if n_maps > n_coils or (estimator == "walsh" and n_maps > 1):
        rule = "`n_maps` must be 1 for Walsh's method, and at most the number of coils"
        raise ValueError(message(rule, f"{n_maps} with {n_coils} coils", "Lower it."))
    if n_coils == 1:
        return SliceEstimate(torch.ones_like(kspace)[None])
    if not bool(kspace.any()):
        return SliceEstimate(kspace.new_zeros(n_maps, *kspace.shape))
    _check_calibration(kspace, estimator)
    if estimator == "walsh":
        return SliceEstimate(walsh(kspace, calibration=CALIBRATION)[None])
    # always at least two sets: the second shows whether the object fits into the field of view
    maps, strength = espirit(
        kspace,
        calibration=CALIBRATION,
        kernel=KERNEL,
        crop=-1.0,
        n_maps=max(2, n_maps),
        return_eigenvalues=True,
    )
    kept = strength > CROP  # (M, H, W)
    if not bool(kept[0].any()):
        rule = f"the largest eigenvalue of ESPIRiT must exceed {CROP}"
        remedy = "Calibrate on more lines, or estimate the maps by walsh."
        raise ValueError(message(rule, f"{float(strength[0].max()):.3f}", remedy))
    maps = (maps * kept.unsqueeze(1))[:n_maps]
    return SliceEstimate(maps, int(kept[0].sum()), int(kept[1].sum()))


def same_calibration(kspace: Tensor, other: Tensor) -> bool:
    """Return whether two versions (c, H, W) of a slice have one and the same calibration region."""
    if not (bool(kspace.any()) and bool(other.any())):
        return True
    regions = [calibration_region(x[None], CALIBRATION) for x in (kspace, other)]
    return regions[0] == regions[1]


def _check_calibration(kspace: Tensor, estimator: Estimator) -> None:
    """Refuse a slice without a fully sampled block to estimate maps from."""
    least = 1 if estimator == "walsh" else KERNEL
    size = [part.stop - part.start for part in calibration_region(kspace[None], CALIBRATION)]
    if min(size) < least:
        rule = f"the fully sampled centre of k-space must be at least {least} x {least} samples"
        remedy = "Use a mask with calibration lines, or pass coil maps (`coil_maps`: a file)."
        raise ValueError(message(rule, f"{size[0]} x {size[1]}", remedy))
