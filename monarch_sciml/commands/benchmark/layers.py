"""Benchmarks of the spectral layer and the full transform against what they replace.

Letters: B batch, C channels, n grid points along each of d axes, m modes along each.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of
from monarch_sciml.commands.benchmark.baselines import (
    PrunedFFTConvolution,
    RfftConvolution,
    TwoProductConvolution,
    two_products,
)
from monarch_sciml.commands.benchmark.measure import (
    Effort,
    MeasuredRow,
    Pass,
    Work,
    compare_modules,
)
from monarch_sciml.kernels import use_triton
from monarch_sciml.kernels.gpu.launch import runs_triton
from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.physics.sense_operator import fft2c
from monarch_sciml.transforms import DenseTransform, MonarchTransform, SeparableTransform
from monarch_sciml.transforms.named import TransformName

LAYERS = (
    "neuralop",
    "textbook rfftn",
    "pruned FFT",
    "two-bmm Monarch",
    "dense matrices",
    "fixed Fourier",
    "Monarch",
    "corrected",
)
TRANSFORMS = ("shifted fft2c", "torch.fft.fft2", "two-bmm Monarch", "dense matrices", "Monarch")
TRITON = "Monarch, Triton"  # a further candidate of both, on a GPU


def with_triton(names: Sequence[str], device: str) -> tuple[str, ...]:
    """Return names and, where it can run, the candidate that uses the Triton kernels."""
    there = device == "cuda" and importlib.util.find_spec("triton") is not None
    return (*names, TRITON) if there else tuple(names)


class _ByTriton(nn.Module):
    """A module with the Triton kernels switched on."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        if not runs_triton(x):
            rule = f"the candidate {TRITON!r} needs a CUDA device"
            raise ValueError(message(rule, x.device, "Pass --device cuda, or leave it out."))
        with use_triton():
            return self.module(x)


def spectral_layers(
    grid: Sequence[int], n_modes: Sequence[int], channels: int, names: Sequence[str] = LAYERS
) -> dict[str, nn.Module]:
    """Return spectral convolutions with the same weights, all equal to neuralop's at first.

    Parameters
    ----------
    grid
        Grid sizes, even (neuralop 2.0 is wrong on odd ones).
    n_modes
        Modes along each axis, both signs.
    channels
        Channels in and out.
    names
        Which of `LAYERS` and `TRITON`; neuralop's is always among them.
    """
    from neuralop.layers.spectral_convolution import SpectralConv

    for name in names:
        one_of("candidates", name, (*LAYERS, TRITON))
    torch.manual_seed(0)
    modes = tuple(n_modes)
    theirs: Any = SpectralConv(channels, channels, modes)
    kinds: dict[str, TransformName] = {
        "dense matrices": "dense",
        "fixed Fourier": "fourier",
        "Monarch": "monarch",
        "corrected": "corrected",
        TRITON: "monarch",
    }
    layers: dict[str, nn.Module] = {"neuralop": theirs}
    weight = theirs.weight.to_tensor().detach()  # (I, O, modes)
    for name in (name for name in (*LAYERS[1:], TRITON) if name in names):
        if name == "textbook rfftn":
            layer: nn.Module = RfftConvolution(channels, channels, modes)
        elif name == "pruned FFT":
            layer = PrunedFFTConvolution(channels, channels, modes)
        elif name == "two-bmm Monarch":
            layer = TwoProductConvolution(channels, channels, modes, grid)
        else:
            layer = MonarchSpectralConv(
                channels,
                channels,
                modes,
                transform=kinds[name],
                grid_shape=grid,
                transform_rank=2 if name == "corrected" else 1,
            )
        first = weight if name == "textbook rfftn" else weight.movedim((0, 1), (-2, -1))
        with torch.no_grad():
            layer.get_parameter("weight").copy_(torch.view_as_real(first.contiguous()))
            layer.get_parameter("bias").copy_(theirs.get_parameter("bias"))
        layers[name] = _ByTriton(layer) if name == TRITON else layer
    return layers


def layer_work(
    grid: Sequence[int], n_modes: Sequence[int], channels: int, batch: int
) -> dict[Pass, Work]:
    """Count the least work of the truncated learnable layer.

    These are the operations of its matrix products and the bytes of input, output and weights in
    single precision. The backward pass reads the output's gradient and the input, and writes the
    input's gradient; it has twice the operations of the forward pass.
    """
    kept = [*n_modes[:-1], n_modes[-1] // 2 + 1]
    size = float(batch * channels * math.prod(grid))
    operations, left = 4.0 * kept[-1] * size, size / grid[-1] * kept[-1]
    for n, modes in zip(grid[-2::-1], kept[-2::-1]):
        operations, left = operations + 8.0 * modes * left, left / n * modes
    weights = math.prod(kept) * channels * channels
    operations = 2 * operations + 8.0 * batch * weights
    return {
        "forward": Work(8 * size + 8 * weights, operations),
        "forward+backward": Work(20 * size + 24 * weights, 3 * operations),
    }


def benchmark_layer_case(
    grid: Sequence[int],
    n_modes: Sequence[int],
    channels: int,
    batch: int,
    *,
    effort: Effort,
    names: Sequence[str] = LAYERS,
    device: str = "cpu",
    case: Mapping[str, object] | None = None,
) -> list[MeasuredRow]:
    """Time spectral layers of equal weights on one shape."""
    layers = {k: v.to(device) for k, v in spectral_layers(grid, n_modes, channels, names).items()}
    x = torch.randn(batch, channels, *grid, device=device)
    about = {
        "grid": grid[0],
        "dims": len(grid),
        "modes": n_modes[0],
        "channels": channels,
        "batch": batch,
    }
    return compare_modules(
        layers,
        [x],
        baseline="neuralop",
        case={**(case or {}), **about},
        effort=effort,
        work=layer_work(grid, n_modes, channels, batch),
    )


class _Fft2c(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return fft2c(x)


class _Fft2(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, norm="ortho")


class _TwoProducts(nn.Module):
    """Both axes by two batched products and two permutations each."""

    def __init__(self, grid: Sequence[int]) -> None:
        super().__init__()
        self.axes = nn.ModuleList(MonarchTransform(n, centered=True) for n in grid)

    def forward(self, x: Tensor) -> Tensor:
        for axis in range(len(self.axes)):
            position = axis - len(self.axes)
            x = two_products(x.movedim(position, -1), self.axes[axis]).movedim(-1, position)
        return x


def full_transforms(grid: Sequence[int], names: Sequence[str] = TRANSFORMS) -> dict[str, nn.Module]:
    """Return centred orthonormal transforms of images, fixed and learnable; torch.fft.fft2 is not
    centred and shows what the shifts cost.
    """
    for name in names:
        one_of("candidates", name, (*TRANSFORMS, TRITON))

    def monarch() -> nn.Module:
        return SeparableTransform([MonarchTransform(n, centered=True) for n in grid])

    make = {
        "shifted fft2c": _Fft2c,
        "torch.fft.fft2": _Fft2,
        "two-bmm Monarch": lambda: _TwoProducts(grid),
        "dense matrices": lambda: SeparableTransform(
            [DenseTransform(n, centered=True) for n in grid]
        ),
        "Monarch": monarch,
        TRITON: lambda: _ByTriton(monarch()),
    }
    return {n: make[n]() for n in make if n in names or n == "shifted fft2c"}


def benchmark_transform_case(
    grid: Sequence[int],
    coils: int,
    *,
    effort: Effort,
    names: Sequence[str] = TRANSFORMS,
    device: str = "cpu",
) -> list[MeasuredRow]:
    """Time full transforms of the coil images of one slice, single precision."""
    x = torch.randn(coils, *grid, dtype=torch.complex64, device=device)
    size = 8.0 * x.numel()
    factors = sum(sum(MonarchTransform(n).sizes) for n in grid)
    operations = 8.0 * factors * x.numel()
    work: dict[Pass, Work] = {
        "forward": Work(2 * size, operations),
        "forward+backward": Work(5 * size, 4 * operations),
    }
    modules = {name: module.to(device) for name, module in full_transforms(grid, names).items()}
    about = {"grid": "x".join(map(str, grid)), "coils": coils}
    return compare_modules(
        modules, [x], baseline="shifted fft2c", case=about, effort=effort, work=work
    )
