"""Networks that take their transform as an argument."""

from monarch_sciml.models.convert import densify, monarchize
from monarch_sciml.models.fno import FNO
from monarch_sciml.models.sense import SENSE
from monarch_sciml.models.unet import UNet

__all__ = ["FNO", "SENSE", "UNet", "densify", "monarchize"]
