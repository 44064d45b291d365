"""Layers that hold transforms: spectral convolutions and linear layers."""

from monarch_sciml.layers.butterfly import ButterflyLinear as ButterflyLinear
from monarch_sciml.layers.linear import MonarchLinear as MonarchLinear
from monarch_sciml.layers.rivals import STRUCTURES as STRUCTURES
from monarch_sciml.layers.rivals import BlockDiagonalLinear as BlockDiagonalLinear
from monarch_sciml.layers.rivals import KroneckerLinear as KroneckerLinear
from monarch_sciml.layers.spectral_convolution import MonarchSpectralConv as MonarchSpectralConv
from monarch_sciml.layers.structured_linear import StructuredLinear as StructuredLinear
from monarch_sciml.layers.structured_linear import factor_rates as factor_rates
