"""Sampling masks of k-space, their acceleration and their calibration region."""

from monarch_sciml.physics.sampling.base import SamplingMask
from monarch_sciml.physics.sampling.fastmri import (
    EquispacedFractionMask,
    EquispacedMask,
    RandomMask,
    volume_seed,
)
from monarch_sciml.physics.sampling.measures import achieved_acceleration, calibration_size
from monarch_sciml.physics.sampling.poisson_disc import PoissonDiscMask
from monarch_sciml.physics.sampling.stored import StoredMask
from monarch_sciml.physics.sampling.uniform import FullMask, UniformMask

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
