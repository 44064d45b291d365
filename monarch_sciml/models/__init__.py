"""Networks that take their transform as an argument."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.models.conversion.plan import LinearConversion
from monarch_sciml.models.conversion.record import (
    ConversionTable,
    conversion_record,
    conversion_table,
    restore_conversion,
)
from monarch_sciml.models.conversion.transformers_plugin import register_transformers
from monarch_sciml.models.convert import densify, monarchize
from monarch_sciml.models.fit_bases import fit_bases
from monarch_sciml.models.language import GPT2
from monarch_sciml.models.neuralop_models import register_with_neuralop
from monarch_sciml.models.normalized import Normalized
from monarch_sciml.models.operators.factorized_fno import FactorizedFNO
from monarch_sciml.models.operators.fno import FNO
from monarch_sciml.models.operators.resnet import ResNet
from monarch_sciml.models.operators.space_time_fno import SpaceTimeFNO
from monarch_sciml.models.operators.tfnet import TFNet
from monarch_sciml.models.operators.transformer import TransformerOperator
from monarch_sciml.models.operators.unet import UNet
from monarch_sciml.models.reconstruction.cg_sense import CGSENSE
from monarch_sciml.models.reconstruction.l1_wavelet import L1Wavelet
from monarch_sciml.models.reconstruction.modl import MoDL
from monarch_sciml.models.reconstruction.partial_fourier import POCS, Homodyne
from monarch_sciml.models.reconstruction.sense import SENSE
from monarch_sciml.models.reconstruction.unet import ReconstructionUNet
from monarch_sciml.models.reconstruction.varnet import VarNet
from monarch_sciml.models.structured import StructuredNetwork

__all__ = [
    "CGSENSE",
    "FNO",
    "GPT2",
    "POCS",
    "SENSE",
    "ConversionTable",
    "FactorizedFNO",
    "Homodyne",
    "L1Wavelet",
    "LinearConversion",
    "MoDL",
    "Normalized",
    "ReconstructionUNet",
    "ResNet",
    "SpaceTimeFNO",
    "StructuredNetwork",
    "TFNet",
    "TransformerOperator",
    "UNet",
    "VarNet",
    "conversion_record",
    "conversion_table",
    "densify",
    "fit_bases",
    "monarchize",
    "register_transformers",
    "register_with_neuralop",
    "restore_conversion",
]


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
