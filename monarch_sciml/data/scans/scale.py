"""The number by which k-space is divided before a network sees it."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.images import coil_combined

ScanNormalization = Literal["p95", "max", "std"]
LEAST_LEVEL = 1e-3
"""Smallest scale of a volume, relative to its largest pixel."""


def normalization_level(images: Tensor, normalization: ScanNormalization) -> Tensor:
    """Return the number, shape (), by which a volume of magnitudes (s, H, W) is divided.

    Empty slices do not count. The level is at least 1/1000 of the largest pixel, because in a
    volume that is almost empty a percentile would be that of the noise, or zero.
    """
    filled = images[images.flatten(1).any(dim=1)]  # (s, H, W) without slices of zeros
    if not len(filled):
        return images.new_zeros(())
    largest = filled.max()
    if normalization == "p95":  # torch.quantile refuses more than 2^24 values
        level = filled.flatten().kthvalue(max(1, round(0.95 * filled.numel()))).values
    else:
        level = largest if normalization == "max" else filled.std()
    return torch.maximum(level, LEAST_LEVEL * largest)


def scale_of(scan: Scan, maps: Tensor, normalization: ScanNormalization) -> float:
    """Return the number by which k-space is divided, as in training (`ScanDataset`).

    It is "p95", "max" or "std" of the magnitude of the zero-filled images with `maps`, (s, c, H, W)
    or (s, M, c, H, W).

    Raises
    ------
    ValueError
        When that is zero.
    """
    scale = float(normalization_level(zero_filled(scan, maps).abs(), normalization))
    if not scale > 0:
        rule = f"the zero-filled images of {scan.name} must not be zero"
        raise ValueError(message(rule, f"a scale of {scale:g}", "Check coil maps and mask."))
    return scale


def zero_filled(scan: Scan, coil_maps: Tensor) -> Tensor:
    """Return the coil-combined images (s, H, W) of k-space as it is."""
    sets = coil_maps if coil_maps.dim() == 5 else coil_maps[:, None]  # (s, M, c, H, W)
    return torch.stack([coil_combined(kspace, maps) for kspace, maps in zip(scan.kspace, sets)])
