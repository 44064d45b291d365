"""The grid after domain padding, checks and coordinates of all neural operators.

Letters: B batch, C channels, d grid axes, n_i grid sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.layers import neuralop_arguments as _spectral_parts

DomainPadding = float | tuple[float, ...] | None
"""Zeros on both sides, as a fraction of each axis: one for all axes, or one per axis."""

StartName = Literal["dft", "dct", "dst", "random", "pod"]


def padding_fractions(padding: DomainPadding, dims: int) -> list[float] | None:
    """Return one padding fraction per axis, or None without padding.

    Raises
    ------
    ValueError
        When their number is not d, or one is negative or not finite.
    """
    if padding is None:
        return None
    fractions = [padding] * dims if isinstance(padding, int | float) else list(padding)
    if len(fractions) != dims or not all(0 <= f < math.inf for f in fractions):
        rule = f"`domain_padding` must be one fraction of at least 0, or {dims} of them"
        raise ValueError(message(rule, padding, "Give the zeros per side and grid point."))
    return [float(f) for f in fractions] if max(fractions) > 0 else None


def padded_grid(grid_shape: Sequence[int], fractions: Sequence[float] | None) -> tuple[int, ...]:
    """Return the grid after neuralop's domain padding."""
    return tuple(
        n + 2 * round(f * n)
        for n, f in zip(map(int, grid_shape), fractions or [0] * len(grid_shape))
    )


def check_modes(n_modes: Sequence[int], grid: Sequence[int]) -> None:
    """Raise ValueError when an axis has no number of modes, or fewer points than modes."""
    if not grid:
        rule = "`grid_shape` must have a size"
        raise ValueError(message(rule, "none", "Give one size per axis."))
    if len(n_modes) != len(grid):
        rule = f"`n_modes` must have {len(grid)} sizes, one per axis of the grid"
        raise ValueError(message(rule, tuple(n_modes), "Give one number of modes per axis."))
    _spectral_parts.check_modes([positive_int("n_modes", modes) for modes in n_modes], grid)


def resized(fields: Tensor, grid: Sequence[int]) -> Tensor:
    """Return fields (C, n_1, ..., n_d) on another grid, by trigonometric interpolation.

    The highest mode of an even number of points stands for the frequencies of both signs, half for
    each, as in scipy.signal.resample.
    """
    for axis, n in enumerate(grid, start=1):
        before = fields.shape[axis]
        if before == n:
            continue
        fewer = min(before, n)
        spectrum = torch.fft.rfft(fields, dim=axis, norm="forward").narrow(axis, 0, fewer // 2 + 1)
        if fewer % 2 == 0:
            both = torch.ones(fewer // 2 + 1, dtype=fields.dtype, device=fields.device)
            both[-1] = 0.5 if n > before else 2.0
            spectrum = spectrum * both.view(-1, *(1,) * (fields.ndim - 1 - axis))
        fields = torch.fft.irfft(spectrum, n, axis, norm="forward")
    return fields


def with_coordinates(x: Tensor) -> Tensor:
    """Append d channels with the coordinates j / n_i: (B, C, n_1, ...) -> (B, C + d, n_1, ...).

    The point at 1 is left out, as neuralop leaves it out, because a periodic domain starts over
    there.
    """
    grid = x.shape[2:]
    axes = [torch.arange(n, dtype=x.real.dtype, device=x.device) / n for n in grid]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (d, n_1, ..., n_d)
    return torch.cat([x, points.expand(x.shape[0], *points.shape)], dim=1)
