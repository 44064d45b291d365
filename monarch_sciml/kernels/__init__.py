"""Fast paths behind transforms and layers, each with a slow reference."""

from monarch_sciml.kernels.spectral import reference_spectral_convolution, spectral_convolution

__all__ = ["reference_spectral_convolution", "spectral_convolution"]
