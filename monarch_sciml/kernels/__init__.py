"""Fast paths behind transforms and layers, each with a slow reference."""

from monarch_sciml.kernels.block_reference import reference_monarch_blocks
from monarch_sciml.kernels.blocks import monarch_blocks
from monarch_sciml.kernels.dispatch import needs_plain_operations, use_triton
from monarch_sciml.kernels.gpu.blocks import fused_monarch_blocks, reference_fused_monarch_blocks
from monarch_sciml.kernels.gpu.cuda_graphs import cuda_graphed
from monarch_sciml.kernels.gpu.launch import runs_triton
from monarch_sciml.kernels.rows import monarch_planes, reference_monarch_planes
from monarch_sciml.kernels.spectral import (
    real_spectral_convolution,
    reference_spectral_convolution,
    spectral_convolution,
)

__all__ = [
    "cuda_graphed",
    "fused_monarch_blocks",
    "monarch_blocks",
    "monarch_planes",
    "needs_plain_operations",
    "real_spectral_convolution",
    "reference_fused_monarch_blocks",
    "reference_monarch_blocks",
    "reference_monarch_planes",
    "reference_spectral_convolution",
    "runs_triton",
    "spectral_convolution",
    "use_triton",
]
