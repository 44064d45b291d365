"""Fast paths behind transforms and layers, each with a slow reference."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.kernels.blocks import monarch_blocks
from monarch_sciml.kernels.dispatch import use_triton
from monarch_sciml.kernels.gpu.blocks import fused_monarch_blocks
from monarch_sciml.kernels.gpu.cuda_graphs import cuda_graphed
from monarch_sciml.kernels.rows import monarch_planes
from monarch_sciml.kernels.spectral import spectral_convolution

__all__ = [
    "cuda_graphed",
    "fused_monarch_blocks",
    "monarch_blocks",
    "monarch_planes",
    "spectral_convolution",
    "use_triton",
]


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
