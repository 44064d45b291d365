"""Cartesian sampling masks: fastMRI's line masks, uniform lines, variable-density Poisson disc.

Letters: H, W rows and columns of k-space; its centre is index (H // 2, W // 2). Line masks sample
whole columns: they vary along the last axis and are constant along the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monarch_sciml._checks import message, one_of, positive_int, usage_errors
from monarch_sciml.physics.sampling.base import SamplingMask


@dataclass(frozen=True)
class FullMask(SamplingMask):
    """Sample everything."""

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return ones (W,)."""
        return np.ones(width, dtype=bool)


@dataclass(frozen=True)
class UniformMask(SamplingMask):
    """Sample one line out of `factor`, the first among them, and `calibration` lines at the centre.

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
    >>> from monarch_sciml.physics import achieved_acceleration
    >>> round(achieved_acceleration(UniformMask(3, 24)((230, 180))), 2)
    2.37
    """

    factor: int = 3
    calibration: int = 24
    axis: int = -1

    @usage_errors()
    def __post_init__(self) -> None:
        """Check the settings."""
        positive_int("factor", self.factor)
        positive_int("calibration", self.calibration, minimum=0)
        one_of("axis", self.axis, (-1, -2))

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask (W,) or (H, 1), which does not depend on the seed."""
        n = width if self.axis == -1 else height
        if self.calibration > n:
            rule = f"`calibration` must be at most {n} lines along axis {self.axis}"
            raise ValueError(message(rule, self.calibration, "Lower `calibration`."))
        lines = np.zeros(n, dtype=bool)
        lines[:: self.factor] = True
        start = n // 2 - self.calibration // 2
        lines[start : start + self.calibration] = True
        return lines if self.axis == -1 else lines[:, None]
