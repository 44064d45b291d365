"""What a corrected transform needs to know of the fixed transform that it starts from.

Letters: n grid points and K modes of one transform.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.fourier import FixedTransform
from monarch_sciml.transforms.given import GivenTransform, PODTransform
from monarch_sciml.transforms.separable import SeparableTransform


def axes_of(start: Transform | SeparableTransform) -> list[Transform]:
    """Return the transform of each axis."""
    if isinstance(start, SeparableTransform):
        return [start[axis] for axis in range(len(start))]
    return [start]


def grid_of(start: Transform | SeparableTransform) -> list[int]:
    """Return the grid sizes of a start."""
    if isinstance(start, PODTransform):
        return list(start.grid_shape)
    return [axis.n for axis in axes_of(start)]


def checked_axes(start: Transform | SeparableTransform) -> list[Transform]:
    """Return the transform of each axis, once they are known to be fixed and of one direction."""
    axes = axes_of(start)
    for axis in axes:
        if not isinstance(axis, FixedTransform | GivenTransform):
            rule = "`start` must be a fixed transform, or a SeparableTransform of fixed ones"
            remedy = "Use FourierTransform, CosineTransform, SineTransform or GivenTransform."
            raise TypeError(message(rule, type(axis).__name__, remedy))
    if len({axis.spec.synthesis for axis in axes}) > 1:
        rule = "all axes must go from the grid to modes, or all from modes to the grid"
        got = ", ".join(axis.spec.init for axis in axes)
        raise ValueError(message(rule, got, "Use `inverse` on every axis or on none."))
    return axes


def with_modes(transform: Transform, n_modes: int) -> Transform:
    """Return a fixed transform with a given number of its modes."""
    if not isinstance(transform, FixedTransform) or n_modes == transform.n_modes:
        return transform
    return transform.from_spec(replace(transform.spec, n_modes=n_modes))


def n_leading(transform: Transform) -> int:
    """Return how many modes of non-negative frequency stand before the negative ones."""
    spec = transform.spec
    signed = spec.family in ("dft", "random") and not (spec.real_input or spec.centered)
    negative = spec.n_modes // 2 if signed else 0
    return spec.n_modes - negative if negative else 0


def ascending_rows(transform: Transform) -> Tensor:
    """Return the rows (K, n) of a fixed transform in float64, its modes ascending."""
    if isinstance(transform, GivenTransform):
        rows = GivenTransform.rows(transform).detach()  # zeros where a POD has no basis yet
        return rows.to(torch.complex128 if rows.is_complex() else torch.float64)
    rows = transform.spec.dense_rows()
    return rows.roll(-n_leading(transform), 0)
