"""Other ways to compute the convolution of a Monarch layer, to measure it against.

Letters: B batch, I and O channels in and out, n_i grid sizes, K_i kept modes, d axes.

All of them equal neuralop's SpectralConv for equal weights, which the tests check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml.monarch import digit_reversal, multiply
from monarch_sciml.transforms import MonarchTransform


class _Convolution(nn.Module):
    """Weights of a spectral convolution; the last axis keeps n_modes // 2 + 1 frequencies."""

    def __init__(self, in_channels: int, out_channels: int, n_modes: Sequence[int]) -> None:
        super().__init__()
        self.kept = (*n_modes[:-1], n_modes[-1] // 2 + 1)
        self.dims = len(self.kept)
        std = (2 / (in_channels + out_channels)) ** 0.5
        weight = std * torch.randn(*self.kept, in_channels, out_channels, 2)
        self.weight = nn.Parameter(weight)  # modes first, ascending frequency
        self.bias = nn.Parameter(std * torch.randn(out_channels, *(1,) * self.dims))

    def mixed(self, z: Tensor) -> Tensor:
        """Mix the channels of the kept modes (B, I, K_1, ..., K_d) -> (B, O, K_1, ..., K_d)."""
        weight = torch.view_as_complex(self.weight).flatten(0, self.dims - 1)  # (M, I, O)
        modes = z.flatten(2).permute(2, 0, 1)  # (M, B, I)
        return torch.bmm(modes, weight).permute(1, 2, 0).unflatten(2, self.kept)


class RfftConvolution(nn.Module):
    """The textbook layer: rfftn, an einsum on the kept modes, irfftn; weights (I, O, modes).

    Kept modes are gathered and scattered by their index; nothing is shifted.
    """

    def __init__(self, in_channels: int, out_channels: int, n_modes: Sequence[int]) -> None:
        super().__init__()
        self.kept = (*n_modes[:-1], n_modes[-1] // 2 + 1)
        std = (2 / (in_channels + out_channels)) ** 0.5
        self.weight = nn.Parameter(std * torch.randn(in_channels, out_channels, *self.kept, 2))
        self.bias = nn.Parameter(std * torch.randn(out_channels, *(1,) * len(n_modes)))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, I, n_1, ..., n_d)."""
        grid = x.shape[2:]
        axes = tuple(range(2, x.ndim))
        spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
        index = torch.meshgrid(*_frequencies(self.kept, grid), indexing="ij")
        letters = "xyzuvw"[: len(grid)]
        equation = f"bi{letters},io{letters}->bo{letters}"
        weight = torch.view_as_complex(self.weight)
        mixed = torch.einsum(equation, spectrum[(slice(None), slice(None), *index)], weight)
        shape = (len(x), weight.shape[1], *grid[:-1], grid[-1] // 2 + 1)
        out = torch.zeros(shape, dtype=mixed.dtype, device=x.device)
        out[(slice(None), slice(None), *index)] = mixed
        return torch.fft.irfftn(out, s=grid, dim=axes, norm="forward") + self.bias


class PrunedFFTConvolution(_Convolution):
    """FFTs axis by axis with the modes cut off in between, and weights with the modes first: the
    best an FFT library can do without a kernel of its own.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, I, n_1, ..., n_d)."""
        grid = x.shape[2:]
        z = torch.fft.rfft(x, norm="forward")[..., : self.kept[-1]]
        for axis in range(self.dims - 2, -1, -1):
            index = _frequencies(self.kept, grid)[axis]
            z = torch.fft.fft(z, dim=axis + 2, norm="forward").index_select(axis + 2, index)
        z = self.mixed(z)
        for axis in range(self.dims - 1):
            shape = [*z.shape[: axis + 2], grid[axis], *z.shape[axis + 3 :]]
            index = _frequencies(self.kept, grid)[axis]
            padded = z.new_zeros(shape).index_copy(axis + 2, index, z)
            z = torch.fft.ifft(padded, dim=axis + 2, norm="forward")
        return torch.fft.irfft(z, n=grid[-1], norm="forward") + self.bias


class TwoProductConvolution(_Convolution):
    """Full learnable Monarch transforms as two batched products and two permutations along each
    axis, the modes cut off afterwards: Monarch as it is usually programmed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_modes: Sequence[int],
        grid_shape: Sequence[int],
    ) -> None:
        super().__init__(in_channels, out_channels, n_modes)
        self.analysis = nn.ModuleList(MonarchTransform(n, norm="forward") for n in grid_shape)
        self.synthesis = nn.ModuleList(MonarchTransform(n, norm="forward") for n in grid_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, I, n_1, ..., n_d)."""
        grid = x.shape[2:]
        z = x
        for axis in range(self.dims - 1, -1, -1):
            z = two_products(z.movedim(axis + 2, -1), self.analysis[axis]).movedim(-1, axis + 2)
            index = _frequencies(self.kept, grid)[axis]
            z = z.index_select(axis + 2, index)
        z = self.mixed(z)
        # frequency k > 0 of the last axis stands for -k as well
        last = torch.arange(self.kept[-1], device=x.device)
        z = z * torch.where((last > 0) & (2 * last != grid[-1]), 2.0, 1.0)
        for axis in range(self.dims):
            shape = [*z.shape[: axis + 2], grid[axis], *z.shape[axis + 3 :]]
            padded = z.new_zeros(shape).index_copy(axis + 2, _frequencies(self.kept, grid)[axis], z)
            # the unscaled inverse DFT is n times the conjugate of the scaled DFT
            y = two_products(padded.movedim(axis + 2, -1).conj(), self.synthesis[axis])
            z = (y.conj() * grid[axis]).movedim(-1, axis + 2)
        return z.real + self.bias


def two_products(x: Tensor, transform: Any) -> Tensor:
    """Apply a full Monarch transform along the last axis by `monarch.multiply`, P L P^T R."""
    factors = transform.left_right
    order = digit_reversal(transform.sizes).to(x.device)
    return multiply(x.to(factors[0].dtype)[..., order], *factors)


def _frequencies(kept: Sequence[int], grid: Sequence[int]) -> list[Tensor]:
    """Index of the kept frequencies along each axis, ascending: both signs but on the last."""
    signed = [torch.arange(-(k // 2), k - k // 2) % n for k, n in zip(kept[:-1], grid)]
    return [*signed, torch.arange(kept[-1])]
