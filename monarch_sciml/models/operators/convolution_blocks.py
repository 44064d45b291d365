"""Layers of the convolutional networks in one to three dimensions, named by strings.

Letters: B batch, C channels, d = 1, 2 or 3 grid axes, n_i grid sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.models.network import check_dtype

NormLayer = Literal["instance", "batch", "group", "none"]
Activation = Literal["leaky_relu", "relu", "gelu", "silu", "tanh"]
PaddingMode = Literal["zeros", "circular"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def layer(name: str, dims: int) -> type[nn.Module]:
    """Return the layer of torch.nn for d axes: ("Conv", 2) is nn.Conv2d."""
    return getattr(nn, f"{name}{dims}d")


def n_axes(grid_shape: Sequence[int]) -> int:
    """Return d; ValueError when it is not 1, 2 or 3."""
    if not 1 <= len(grid_shape) <= 3:
        rule = "`grid_shape` must have 1, 2 or 3 sizes"
        raise ValueError(message(rule, tuple(grid_shape), "Give one size per axis."))
    return len([positive_int("grid_shape", n) for n in grid_shape])


def activation_layer(name: Activation, slope: float = 0.2) -> nn.Module:
    """Return an activation; `slope` is that of leaky_relu."""
    one_of("activation", name, get_args(Activation))
    return nn.LeakyReLU(slope) if name == "leaky_relu" else _ACTIVATIONS[name]()


def norm_layer(name: NormLayer, channels: int, dims: int) -> nn.Module:
    """Return a normalisation: instance norm without weights, or one with a weight and a bias.

    Group norm takes eight groups, or the largest number below eight that divides the channels.
    """
    one_of("norm", name, get_args(NormLayer))
    if name == "none":
        return nn.Identity()
    if name == "group":
        groups = next(k for k in range(min(8, channels), 0, -1) if channels % k == 0)
        return nn.GroupNorm(groups, channels)
    return layer("InstanceNorm" if name == "instance" else "BatchNorm", dims)(channels)


def convolution_block(
    n_in: int,
    n_out: int,
    dims: int,
    *,
    norm: NormLayer,
    activation: Activation,
    padding_mode: PaddingMode,
    slope: float = 0.2,
    dropout: float = 0.0,
    stride: int = 1,
    bias: bool = True,
) -> nn.Sequential:
    """Return a 3-point convolution, norm, activation and dropout of whole channels.

    Raises
    ------
    ValueError
        When an option is not known, or dropout is no probability below 1.
    """
    one_of("padding_mode", padding_mode, get_args(PaddingMode))
    if not 0 <= dropout < 1:
        rule = "`dropout` must be at least 0 and below 1"
        raise ValueError(message(rule, dropout, "Give a probability."))
    convolution = layer("Conv", dims)(
        n_in, n_out, 3, stride=stride, padding=1, bias=bias, padding_mode=padding_mode
    )
    after = [norm_layer(norm, n_out, dims), activation_layer(activation, slope)]
    last = [layer("Dropout", dims)(dropout)] if dropout else []
    return nn.Sequential(convolution, *after, *last)


def check_field(x: Tensor, network: nn.Module, channels: int, dims: int) -> None:
    """Refuse an input that a network cannot process.

    Raises
    ------
    ValueError
        Unless x is (B, channels, n_1, ..., n_d).
    TypeError
        Unless x is real and has the precision of the parameters (see `check_dtype`).
    """
    if x.ndim != dims + 2 or x.shape[1] != channels:
        rule = f"the input must be (batch, {channels}, {dims} grid axes)"
        remedy = "Check `in_channels` and `grid_shape`."
        raise ValueError(message(rule, tuple(x.shape), remedy))
    check_dtype(x, network)


def extend(
    x: Tensor, multiple: int, padding_mode: PaddingMode, minimum: int = 1
) -> tuple[Tensor, tuple[EllipsisType | slice, ...]]:
    """Extend every axis at both ends to a multiple of `multiple` points, for networks that halve
    it.

    Periodic fields ("circular") are continued periodically; others repeat their outermost value.

    Parameters
    ----------
    x
        Field (B, C, n_1, ..., n_d).
    minimum
        Smallest size, in units of `multiple`.

    Returns
    -------
    The extended field, and the slices of the last d axes that crop it again.
    """
    crop = []
    for axis, n in enumerate(x.shape[2:], start=2):
        size = multiple * max(minimum, -(-n // multiple))
        before = (size - n) // 2
        crop.append(slice(before, before + n))
        if size > n:
            index = torch.arange(-before, size - before, device=x.device)
            index = index % n if padding_mode == "circular" else index.clamp(0, n - 1)
            x = x.index_select(axis, index)
    return x, (..., *crop)
