"""Networks that take their transform as an argument."""

from monarch_sciml.models.convert import densify, monarchize
from monarch_sciml.models.factorized_fno import FactorizedFNO
from monarch_sciml.models.fno import FNO
from monarch_sciml.models.modl import MoDL
from monarch_sciml.models.normalized import Normalized
from monarch_sciml.models.reconstruction_unet import ReconstructionUNet
from monarch_sciml.models.resnet import ResNet
from monarch_sciml.models.sense import SENSE
from monarch_sciml.models.space_time_fno import SpaceTimeFNO
from monarch_sciml.models.tfnet import TFNet
from monarch_sciml.models.unet import UNet
from monarch_sciml.models.varnet import VarNet

__all__ = [
    "FNO",
    "SENSE",
    "FactorizedFNO",
    "MoDL",
    "Normalized",
    "ReconstructionUNet",
    "ResNet",
    "SpaceTimeFNO",
    "TFNet",
    "UNet",
    "VarNet",
    "densify",
    "monarchize",
]
