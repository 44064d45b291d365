"""Errors of fields and of images."""

from monarch_sciml.metrics.fields import boundary_rmse as boundary_rmse
from monarch_sciml.metrics.fields import max_error as max_error
from monarch_sciml.metrics.fields import nrmse as nrmse
from monarch_sciml.metrics.fields import relative_l2 as relative_l2
from monarch_sciml.metrics.fields import relative_l2_over_time as relative_l2_over_time
from monarch_sciml.metrics.fields import rmse as rmse
from monarch_sciml.metrics.fields import vrmse as vrmse
from monarch_sciml.metrics.images import image_statistics as image_statistics
from monarch_sciml.metrics.images import nmse as nmse
from monarch_sciml.metrics.images import psnr as psnr
from monarch_sciml.metrics.images import psnr_skm_tea as psnr_skm_tea
from monarch_sciml.metrics.images import ssim as ssim
from monarch_sciml.metrics.images import volume_metrics as volume_metrics
from monarch_sciml.metrics.spectrum import energy_spectrum as energy_spectrum
from monarch_sciml.metrics.spectrum import fourier_rmse as fourier_rmse
