"""Turn one spectral convolution into another of the same function: a neuralop layer or one with a
fixed basis into a learnable one, and a learned Monarch one into a fixed or a dense one.

Letters: d axes, K_i kept modes, I and O channels in and out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.layers.spectral_convolution import MonarchSpectralConv
from monarch_sciml.transforms import (
    CorrectedTransform,
    DenseTransform,
    FixedTransform,
    MonarchTransform,
    PODTransform,
    Transform,
)
from monarch_sciml.transforms.conversion import is_initial, multiply_out
from monarch_sciml.transforms.named import FIXED_NAMES, TransformName


def has_fixed_basis(layer: MonarchSpectralConv) -> bool:
    """Return whether the basis of a layer is fixed, so that only its weights are learned."""
    fixed = FixedTransform, PODTransform
    return all(isinstance(transform, fixed) for transform in _transforms(layer))


def has_monarch_basis(layer: MonarchSpectralConv) -> bool:
    """Return whether a layer holds a Monarch or a corrected transform."""
    structured = MonarchTransform, CorrectedTransform
    return any(isinstance(transform, structured) for transform in _transforms(layer))


def learnable_from_fixed(
    layer: MonarchSpectralConv,
    grid_shape: Sequence[int] | None = None,
    transform: TransformName = "monarch",
    **options: Any,
) -> MonarchSpectralConv:
    """Return a layer whose learnable transforms start as the fixed ones of a given layer.

    Parameters
    ----------
    layer
        Layer with a fixed basis. Its weight and bias become those of the new layer: the same
        parameters, not copies.
    grid_shape
        Grid of the transforms. By default the grid of the layer.
    transform
        "monarch", "dense" or "corrected"; the last alone can start from a POD basis.
    options
        `per_channel`, `transform_rank` and the other options of the transforms, as for
        `MonarchSpectralConv`.
    """
    start = _start(layer)
    if start != "pod":
        return _with_basis(layer, transform, grid_shape, init=start, **options)
    new = _with_basis(layer, transform, grid_shape, init="pod", **options)
    _copy_bases(layer, new)
    return new


def fixed_or_dense(layer: MonarchSpectralConv) -> MonarchSpectralConv:
    """Return a layer of the same function without Monarch transforms.

    While no transform has changed, the basis is the fixed one that the layer started from.
    Otherwise it is dense: every matrix is multiplied out (in float64) into a `DenseTransform`.
    Weight and bias become those of the new layer: the same parameters, not copies.
    """
    transforms, start = _transforms(layer), _start(layer)
    if start in FIXED_NAMES and all(is_initial(transform) for transform in transforms):
        fixed = _with_basis(layer, FIXED_NAMES[start])
        if start == "pod":
            _copy_bases(layer, fixed)
        return fixed
    if len(transforms) < 2 * layer.order or start == "pod":
        what = "of a POD basis" if start == "pod" else "over several axes"
        rule = f"a correction {what} must be untrained to be multiplied out"
        remedy = "Keep the layer as it is"
        remedy += "." if start == "pod" else ", or correct each axis by itself (per_axis=True)."
        raise ValueError(message(rule, "a trained one", remedy))
    per_channel = any(transform.n_copies > 1 for transform in transforms)
    start = start if start in FIXED_NAMES else "dft"  # a random one: all of it is a deviation
    dense = _with_basis(layer, "dense", init=start, per_channel=per_channel)
    for old, new in zip(transforms, _transforms(dense)):
        if isinstance(new, DenseTransform):
            multiply_out(old, new)
    return dense


def learnable_from_neuralop(
    layer: nn.Module, grid_shape: Sequence[int] | None = None, **options: Any
) -> MonarchSpectralConv:
    """Return a Monarch layer of the same function as neuralop's SpectralConv.

    Parameters
    ----------
    layer
        A `neuralop.layers.spectral_convolution.SpectralConv`. Factorised weights are multiplied
        out; those of a separable layer become diagonal mixing matrices.
    grid_shape
        Grid of the transforms, with the meaning and the default it has in `MonarchSpectralConv`.
        Weights of unused modes of the last axis (kept by `max_n_modes`) are left out when the grid
        is too small for them.
    options
        `transform`, `per_channel`, `transform_rank` and the other options of the transforms, as
        for `MonarchSpectralConv`.

    Raises
    ------
    ValueError
        When `fno_block_precision` is not "full", or the layer computes something else than neuralop
        2.0.0 or a repaired version of it. This is tested by running both layers on one small odd
        grid.
    """
    source: Any = layer
    if source.fno_block_precision != "full":
        rule = "`fno_block_precision` must be 'full' to convert a spectral convolution"
        remedy = "Set it to 'full' on the layer, or use torch.autocast afterwards."
        raise ValueError(message(rule, repr(source.fno_block_precision), remedy))
    half = not source.complex_data
    weight = _modes_first(source)
    n_modes, limits = list(source.n_modes), list(weight.shape[:-2])
    if half:  # neuralop holds the number of non-negative frequencies of the last axis
        n_modes[-1], limits[-1] = _both_signs(n_modes[-1]), _both_signs(limits[-1])
        if grid_shape is not None and len(grid_shape) == len(limits):
            limits[-1] = max(n_modes[-1], min(limits[-1], grid_shape[-1]))
            weight = weight.narrow(len(limits) - 1, 0, limits[-1] // 2 + 1)
    with torch.random.fork_rng(devices=[]):
        converted = MonarchSpectralConv(
            source.in_channels,
            source.out_channels,
            n_modes,
            source.resolution_scaling_factor,
            limits,
            complex_data=source.complex_data,
            bias=False,
            grid_shape=grid_shape,
            **options,
        )
    dtype = weight.real.dtype
    if source.bias is not None:
        dtype = torch.promote_types(dtype, source.bias.dtype)
        bias = source.bias if source.bias.dtype == dtype else _like(source.bias, dtype)
        converted.bias = bias
    trainable = any(p.requires_grad for name, p in source.named_parameters() if name != "bias")
    weight = torch.view_as_real(weight.to(dtype.to_complex()).contiguous())
    converted.weight = nn.Parameter(weight, requires_grad=trainable)
    converted.to(device=weight.device, dtype=dtype).train(source.training)
    _match_placement(source, converted)
    return converted


def _transforms(layer: MonarchSpectralConv) -> list[Transform]:
    return [*layer.analysis, *layer.synthesis]  # type: ignore[list-item]


def _pods(layer: MonarchSpectralConv) -> list[PODTransform]:
    """Return the POD bases of a layer, which may be the starts of its transforms."""
    starts = [getattr(transform, "start", transform) for transform in _transforms(layer)]
    return [start for start in starts if isinstance(start, PODTransform)]


def _start(layer: MonarchSpectralConv) -> str:
    """Return the name of the transform that a layer starts from, or that it has."""
    return "pod" if _pods(layer) else _transforms(layer)[0].spec.family


def _copy_bases(old: MonarchSpectralConv, new: MonarchSpectralConv) -> None:
    """Give a layer the POD bases of another."""
    for source, target in zip(_pods(old), _pods(new)):
        target.values.copy_(source.values)
    for transform in _transforms(new):
        if isinstance(transform, CorrectedTransform):
            transform.follow_start()


def _home_grid(layer: MonarchSpectralConv) -> list[int]:
    """Return the grid that the transforms of a layer live on."""
    first = _transforms(layer)[0]
    if isinstance(first, CorrectedTransform) and first.n_axes == layer.order:
        return list(first.patches.sizes)
    if isinstance(first, PODTransform):
        return list(first.grid_shape)
    return [transform.n for transform in _transforms(layer)[: layer.order]]


def _with_basis(
    layer: MonarchSpectralConv,
    transform: TransformName,
    grid_shape: Sequence[int] | None = None,
    **options: Any,
) -> MonarchSpectralConv:
    """Return a layer with another basis around the same parameters."""
    grid = _home_grid(layer) if grid_shape is None else grid_shape
    with torch.random.fork_rng(devices=[]):
        new = MonarchSpectralConv(
            layer.in_channels,
            layer.out_channels,
            layer.n_modes,
            layer.resolution_scaling_factor,
            layer.max_n_modes,
            complex_data=layer.complex_data,
            bias=False,
            transform=transform,
            grid_shape=grid,
            **options,
        )
    new.placement = layer.placement
    del new.weight  # a parameter; the layer's may be a module of factors
    new.weight, new.bias = layer.weight, layer.bias
    return new.to(next(layer.parameters())).train(layer.training)


def _both_signs(n_modes: int) -> int:
    """Return the number of modes of both signs of which n_modes are not negative."""
    return max(2 * (n_modes - 1), 1)


def _like(parameter: Tensor, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to(dtype), requires_grad=parameter.requires_grad)


def _modes_first(source: Any) -> Tensor:
    """Return neuralop's weight as (K_1, ..., K_d, I, O), complex."""
    weight = source.weight.to_tensor() if hasattr(source.weight, "to_tensor") else source.weight
    weight = weight.detach()
    if source.separable:
        weight = torch.diag_embed(weight.movedim(0, -1))  # (C, K..) -> (K.., C, C)
    else:
        weight = weight.movedim((0, 1), (-2, -1))  # (I, O, K..) -> (K.., I, O)
    n_signed = source.order if source.complex_data else source.order - 1
    for axis in range(n_signed):
        # of an odd number of modes out of an even one, neuralop's weights stand one place lower
        most, rows = weight.shape[axis], source.n_modes[axis]
        shift = (most // 2 - rows // 2) - (most - rows) // 2
        weight = weight.roll(shift, axis) if shift else weight
    return weight


@torch.no_grad()
def _match_placement(source: nn.Module, converted: MonarchSpectralConv) -> None:
    """Choose where frequencies are placed by running both layers on one small odd grid."""
    factors = converted.resolution_scaling_factor or [1.0] * converted.order
    grid = [
        math.ceil(modes / min(1.0, factor)) | 1  # odd, and room for the modes on both grids
        for modes, factor in zip(converted.max_n_modes, factors)
    ]
    weight = converted.weight
    count = converted.in_channels * math.prod(grid)
    # any field that reaches every frequency will do
    x = torch.sin(torch.arange(count, dtype=torch.float64).square())
    x = x.view(1, converted.in_channels, *grid).to(weight.device)
    single = torch.complex64 if converted.complex_data else torch.float32
    ours = weight.dtype.to_complex() if converted.complex_data else weight.dtype
    expected = source.forward(x.to(single)).to(ours)  # neuralop takes single precision only
    bias = 0 if converted.bias is None else converted.bias
    scale = (expected - bias).abs().max()
    tolerance = 1e-4 * scale + 1e-6 * expected.abs().max()
    for placement in ("exact", "neuralop"):
        converted.placement = placement
        error = (converted(x.to(ours)) - expected).abs().max()
        if bool(error <= tolerance):
            converted._resampled.clear()
            return
    rule = "a spectral convolution must compute what neuralop 2.0.0 does to be converted"
    remedy = "Convert the other parts of the model with inplace=True, or leave it as it is."
    got = f"one that differs by {float(error / scale):.1g} of the largest value"
    raise ValueError(message(rule, got, remedy))
