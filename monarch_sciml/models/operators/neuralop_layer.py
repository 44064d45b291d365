"""neuralop's spectral convolution, corrected for grids with odd numbers of points.

Letters: B batch, C channels, n_i grid sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from neuralop.layers.embeddings import GridEmbeddingND, regular_grid_nd
from neuralop.layers.padding import DomainPadding as NeuralopDomainPadding
from neuralop.layers.spectral_convolution import SpectralConv as NeuralopSpectralConv
from torch import Tensor

from monarch_sciml.transforms.constants import Constants


class SpectralConv(NeuralopSpectralConv):
    """Convolve as neuralop's layer does, and on odd grids by way of the next even grid.

    Along an axis with an odd number of points, unless it is the last, neuralop 2.0.0 misplaces
    every frequency by one. All of them fit on a grid with one point more, on which it does not:
    trigonometric interpolation to that grid and back leaves every kept frequency as it is.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._contract = partial(_contract, self._contract)

    def forward(self, x: Tensor, output_shape: Any = None) -> Tensor:
        """Convolve x (B, C, n_1, ..., n_d); on another output grid as neuralop does.

        Half precision is transformed in single precision, as autocast does.
        """
        half = x.dtype in (torch.bfloat16, torch.float16)
        if half and self.bias is not None and self.bias.dtype == x.dtype:
            return self.forward(x.float(), output_shape).to(x.dtype)
        same = output_shape is None and self.resolution_scaling_factor is None
        odd = [axis for axis in range(2, x.ndim - 1) if same and x.shape[axis] % 2]
        for axis in odd:
            x = _interpolated(x, x.shape[axis] + 1, axis)
        y = super().forward(x, output_shape)
        for axis in odd:
            y = _interpolated(y, y.shape[axis] - 1, axis)
        return y


def _contract(theirs: Callable[..., Tensor], x: Tensor, weight: Any, **options: Any) -> Tensor:
    """Mix the channels as neuralop does, or by an einsum of torch when compiled.

    tensorly's einsum queries its thread, which torch.compile(fullgraph=True) cannot trace.
    """
    if not torch.compiler.is_dynamo_compiling():
        return theirs(x, weight, **options)
    dense = weight if isinstance(weight, Tensor) else weight.to_tensor()
    return torch.einsum("bi...,io...->bo...", x, dense)


class GridEmbedding(GridEmbeddingND):
    """Append the coordinates as neuralop does, in the precision and on the device of the data.

    neuralop 2.0.0 keeps the grid of the first call, whatever the data of later ones are, and
    however that call was made (under `torch.export`, as a tensor without values).
    """

    def __init__(self, in_channels: int, dim: int, grid_boundaries: list[list[float]]) -> None:
        super().__init__(in_channels, dim, grid_boundaries)
        self._grids: dict[tuple[int, ...], Constants] = {}

    def forward(self, data: Tensor, batched: bool = True) -> Tensor:
        """Map data (B, C, n_1, ..., n_d) to (B, C + d, n_1, ..., n_d)."""
        sizes = tuple(int(n) for n in data.shape[2:])
        if sizes not in self._grids:
            self._grids = {sizes: Constants(partial(self._coordinates, sizes))}
        grids = self._grids[sizes].like(data)
        return torch.cat(
            [data, *(grid.to(data.dtype).expand(len(data), -1, *sizes) for grid in grids)], dim=1
        )

    def _coordinates(self, sizes: tuple[int, ...]) -> list[Tensor]:
        grids = regular_grid_nd(list(sizes), grid_boundaries=self.grid_boundaries)
        return [grid[None, None] for grid in grids]


class DomainPadding(NeuralopDomainPadding):
    """Pad with zeros as neuralop does, with sizes that are plain numbers in a trace too.

    Parameters
    ----------
    fractions
        Zeros on either side of each axis, as a fraction of its length.
    """

    def __init__(self, fractions: list[float]) -> None:
        super().__init__(fractions)
        self._fractions = fractions

    def pad(self, x: Tensor, verbose: bool = False) -> Tensor:
        """Map x (B, C, n_1, ..., n_d) to a field of n_i + 2 round(f_i n_i) points."""
        margins = [round(f * int(n)) for f, n in zip(self._fractions, x.shape[2:])]
        self._crop = tuple(slice(m, -m or None) for m in margins)
        # torch.nn.functional.pad counts from the last axis
        return torch.nn.functional.pad(x, [m for m in reversed(margins) for _ in range(2)])

    def unpad(self, x: Tensor) -> Tensor:
        """Crop the field to the points before `pad`."""
        return x[(..., *self._crop)]


def _interpolated(x: Tensor, n: int, axis: int) -> Tensor:
    """Return x at n points of an axis by trigonometric interpolation."""
    return torch.fft.irfft(torch.fft.rfft(x, dim=axis, norm="forward"), n, axis, norm="forward")
