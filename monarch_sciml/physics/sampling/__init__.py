"""Sampling masks of k-space, their acceleration and their calibration region."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.physics.sampling.base import SamplingMask, volume_seed
from monarch_sciml.physics.sampling.fastmri import (
    EquispacedFractionMask,
    EquispacedMask,
    RandomMask,
)
from monarch_sciml.physics.sampling.measures import achieved_acceleration, calibration_size
from monarch_sciml.physics.sampling.poisson_disc import PoissonDiscMask
from monarch_sciml.physics.sampling.uniform import FullMask, UniformMask

__all__ = [
    "EquispacedFractionMask",
    "EquispacedMask",
    "FullMask",
    "PoissonDiscMask",
    "RandomMask",
    "SamplingMask",
    "UniformMask",
    "achieved_acceleration",
    "calibration_size",
    "volume_seed",
]


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
