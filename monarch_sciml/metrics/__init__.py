"""Errors of fields and of images."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.metrics.boundary import boundary_profile as boundary_profile
from monarch_sciml.metrics.boundary import boundary_rmse as boundary_rmse
from monarch_sciml.metrics.fields import max_error as max_error
from monarch_sciml.metrics.fields import nrmse as nrmse
from monarch_sciml.metrics.fields import relative_l2 as relative_l2
from monarch_sciml.metrics.fields import relative_l2_over_time as relative_l2_over_time
from monarch_sciml.metrics.fields import rmse as rmse
from monarch_sciml.metrics.fields import vrmse as vrmse
from monarch_sciml.metrics.images import nmse as nmse
from monarch_sciml.metrics.images import psnr as psnr
from monarch_sciml.metrics.images import psnr_skm_tea as psnr_skm_tea
from monarch_sciml.metrics.images import ssim as ssim
from monarch_sciml.metrics.named import FIELD_METRICS as FIELD_METRICS
from monarch_sciml.metrics.spectrum import energy_spectrum as energy_spectrum
from monarch_sciml.metrics.spectrum import fourier_rmse as fourier_rmse


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
