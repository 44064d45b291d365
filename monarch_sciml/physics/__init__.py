"""Measurement models: MRI sampling, coils and the SENSE operator."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.physics.coil_compression import coil_compression as coil_compression
from monarch_sciml.physics.coil_compression import compress_coils as compress_coils
from monarch_sciml.physics.espirit import espirit as espirit
from monarch_sciml.physics.espirit import estimate_coil_maps as estimate_coil_maps
from monarch_sciml.physics.fit_encoding import CalibrationSums as CalibrationSums
from monarch_sciml.physics.fit_encoding import fit_encoding as fit_encoding
from monarch_sciml.physics.readout import ReadoutErrors as ReadoutErrors
from monarch_sciml.physics.readout_encoding import ReadoutEncoding as ReadoutEncoding
from monarch_sciml.physics.sampling import EquispacedFractionMask as EquispacedFractionMask
from monarch_sciml.physics.sampling import EquispacedMask as EquispacedMask
from monarch_sciml.physics.sampling import FullMask as FullMask
from monarch_sciml.physics.sampling import PoissonDiscMask as PoissonDiscMask
from monarch_sciml.physics.sampling import RandomMask as RandomMask
from monarch_sciml.physics.sampling import SamplingMask as SamplingMask
from monarch_sciml.physics.sampling import UniformMask as UniformMask
from monarch_sciml.physics.sampling import achieved_acceleration as achieved_acceleration
from monarch_sciml.physics.sampling import calibration_size as calibration_size
from monarch_sciml.physics.sampling import volume_seed as volume_seed
from monarch_sciml.physics.sense_operator import SenseOperator as SenseOperator
from monarch_sciml.physics.sense_operator import center_crop as center_crop
from monarch_sciml.physics.sense_operator import combine as combine
from monarch_sciml.physics.sense_operator import combine_map_sets as combine_map_sets
from monarch_sciml.physics.sense_operator import fft2c as fft2c
from monarch_sciml.physics.sense_operator import ifft2c as ifft2c
from monarch_sciml.physics.sense_operator import rss as rss
from monarch_sciml.physics.sense_operator import with_map_sets as with_map_sets
from monarch_sciml.physics.walsh import walsh as walsh


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
