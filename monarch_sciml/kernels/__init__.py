"""Fast paths behind transforms and layers, each with a slow reference."""

from monarch_sciml.kernels.spectral import (
    real_spectral_convolution,
    reference_spectral_convolution,
    spectral_convolution,
)

__all__ = [
    "real_spectral_convolution",
    "reference_spectral_convolution",
    "spectral_convolution",
]
