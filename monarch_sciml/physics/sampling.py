"""Cartesian sampling masks: fastMRI's line masks, uniform lines, variable-density Poisson disc.

Shapes: H, W rows and columns of k-space; its centre is index (H // 2, W // 2). Line masks sample
whole columns: they vary along the last axis and are constant along the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.physics._sampling_base import SamplingMask
from monarch_sciml.physics._sampling_fastmri import (
    EquispacedFractionMask,
    EquispacedMask,
    RandomMask,
    volume_seed,
)
from monarch_sciml.physics._sampling_poisson import PoissonDiscMask
from monarch_sciml.physics._sampling_stored import StoredMask

__all__ = [
    "EquispacedFractionMask",
    "EquispacedMask",
    "FullMask",
    "PoissonDiscMask",
    "RandomMask",
    "SamplingMask",
    "StoredMask",
    "UniformMask",
    "achieved_acceleration",
    "calibration_size",
    "volume_seed",
]


@dataclass(frozen=True)
class FullMask(SamplingMask):
    """Sample everything."""

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return ones (W,)."""
        return np.ones(width, dtype=bool)


@dataclass(frozen=True)
class UniformMask(SamplingMask):
    """Sample every `factor`-th line from the first on, and `calibration` lines at the centre.

    Parameters
    ----------
    factor
        Distance between lines, in lines.
    calibration
        Number of fully sampled lines at the centre, 0 for none.
    axis
        The axis along which lines are left out: -1 (columns) or -2 (rows).

    Examples
    --------
    >>> round(achieved_acceleration(UniformMask(3, 24)((230, 180))), 2)
    2.37
    """

    factor: int = 3
    calibration: int = 24
    axis: int = -1

    def __post_init__(self) -> None:
        """Check the settings."""
        positive_int("factor", self.factor)
        positive_int("calibration", self.calibration, minimum=0)
        one_of("axis", self.axis, (-1, -2))

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask (W,) or (H, 1); the seed plays no part."""
        n = width if self.axis == -1 else height
        if self.calibration > n:
            rule = f"`calibration` must be at most {n} lines along axis {self.axis}"
            raise ValueError(message(rule, self.calibration, "Lower `calibration`."))
        lines = np.zeros(n, dtype=bool)
        lines[:: self.factor] = True
        start = n // 2 - self.calibration // 2
        lines[start : start + self.calibration] = True
        return lines if self.axis == -1 else lines[:, None]


def achieved_acceleration(mask: torch.Tensor) -> float:
    """Return the number of k-space points over the number sampled.

    Parameters
    ----------
    mask
        (..., H, W), non-zero where k-space is sampled.

    Returns
    -------
    float
        At least 1, dimensionless. It counts everything sampled, the calibration lines included,
        and is therefore not the nominal acceleration a mask was asked for.

    Raises
    ------
    ValueError
        When nothing is sampled.
    """
    sampled = int(torch.count_nonzero(mask))
    if sampled == 0:
        rule = "`mask` must sample at least one point"
        raise ValueError(message(rule, f"none of {mask.numel()}", "Check the mask."))
    return mask.numel() / sampled


def calibration_size(mask: torch.Tensor) -> tuple[int, int]:
    """Return the size of the largest fully sampled block around the centre of k-space.

    A block of (h, w) covers the rows from H // 2 - h // 2 on and the columns alike, so that it
    has its own centre where k-space has it.

    Parameters
    ----------
    mask
        (H, W), non-zero where k-space is sampled.

    Returns
    -------
    tuple
        (h, w) in samples, the block of the largest area; (0, 0) when the centre is not sampled.

    Examples
    --------
    >>> calibration_size(UniformMask(3, 24)((230, 180)))
    (230, 25)
    """
    if mask.dim() != 2:
        rule = "`mask` must have the two axes (H, W)"
        raise ValueError(message(rule, tuple(mask.shape), "Pass one mask at a time."))
    height, width = mask.shape
    # integral image: total[i, j] counts the samples of the first i rows and j columns
    total = torch.zeros(height + 1, width + 1, dtype=torch.int64)
    total[1:, 1:] = (mask != 0).cpu().long().cumsum(0).cumsum(1)
    h, w = torch.arange(1, height + 1), torch.arange(1, width + 1)
    top, left = height // 2 - h // 2, width // 2 - w // 2
    bottom, right = top + h, left + w
    count = total[bottom][:, right] - total[top][:, right]
    count = count - total[bottom][:, left] + total[top][:, left]
    area = h[:, None] * w
    area = torch.where(count == area, area, 0)
    if not area.any():
        return 0, 0
    row, column = divmod(int(area.argmax()), width)
    return row + 1, column + 1
