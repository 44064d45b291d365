"""Layers that hold transforms: spectral convolutions and linear layers."""

from monarch_sciml.layers.linear import MonarchLinear as MonarchLinear
from monarch_sciml.layers.spectral_convolution import MonarchSpectralConv as MonarchSpectralConv
