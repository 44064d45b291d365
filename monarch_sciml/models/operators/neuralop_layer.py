"""neuralop's spectral convolution, right on every grid.

Letters: B batch, C channels, n_i grid sizes.
"""

from __future__ import annotations

from typing import Any

import torch
from neuralop.layers.spectral_convolution import SpectralConv as NeuralopSpectralConv
from torch import Tensor


class SpectralConv(NeuralopSpectralConv):
    """Convolve as neuralop's layer does; on odd grids by way of the next even one.

    Along an axis with an odd number of points, unless it is the last, neuralop 2.0.0 misplaces
    every frequency by one. All of them fit on a grid with one point more, on which it does not:
    trigonometric interpolation to that grid and back leaves every kept frequency as it is.
    """

    def forward(self, x: Tensor, output_shape: Any = None) -> Tensor:
        """Convolve x (B, C, n_1, ..., n_d); on another output grid as neuralop does."""
        same = output_shape is None and self.resolution_scaling_factor is None
        odd = [axis for axis in range(2, x.ndim - 1) if same and x.shape[axis] % 2]
        for axis in odd:
            x = _interpolated(x, x.shape[axis] + 1, axis)
        y = super().forward(x, output_shape)
        for axis in odd:
            y = _interpolated(y, y.shape[axis] - 1, axis)
        return y


def _interpolated(x: Tensor, n: int, axis: int) -> Tensor:
    """Return x at n points of an axis by trigonometric interpolation."""
    return torch.fft.irfft(torch.fft.rfft(x, dim=axis, norm="forward"), n, axis, norm="forward")
