"""Checks and conversions of the arguments that neuralop passes to a spectral convolution.

Letters: I and O channels in and out, d axes, n grid size, K_i kept modes.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from monarch_sciml._checks import message, positive_int, positive_number

_CALLERS = 8  # from the layer to the network: FNOBlocks, a list of layers, FNO, a partial class


def home_grid(n_modes: Sequence[int], grid_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Return the grid of the transforms, by default powers of two with four points per mode.

    Raises
    ------
    ValueError
        When the grid has another number of axes, or fewer points than modes.
    """
    if grid_shape is None:
        return tuple(1 << (4 * modes - 1).bit_length() for modes in n_modes)
    grid = tuple(grid_shape)
    if len(grid) != len(n_modes):
        rule = f"`grid_shape` must have {len(n_modes)} sizes, one per entry of `n_modes`"
        raise ValueError(message(rule, grid, "Give one size per axis."))
    check_modes(n_modes, grid)
    return grid


def sizes(name: str, value: int | Sequence[int]) -> list[int]:
    """Return one size or several as a list of positive ints."""
    values = [value] if hasattr(value, "__index__") else list(value)  # type: ignore[arg-type]
    return [positive_int(name, size) for size in values]


def scaling_factors(value: float | Sequence[Any] | None, order: int) -> list[float] | None:
    """Accept one number, one per axis, or neuralop's nested list for one layer.

    Raises
    ------
    ValueError
        When there are as many numbers as neither, or one is not positive and finite.
    """
    if value is None:
        return None
    flat = [value] if isinstance(value, (int, float)) else list(value)
    if len(flat) == 1 and isinstance(flat[0], (list, tuple)):
        flat = list(flat[0])
    if len(flat) not in (1, order):
        rule = f"`resolution_scaling_factor` must be one number, or {order} of them"
        raise ValueError(message(rule, value, "Give one number per axis."))
    factors = [positive_number("resolution_scaling_factor", factor) for factor in flat]
    return factors * order if len(factors) == 1 else factors


def refuse(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError when an argument of neuralop has a value that this layer does not
    support.
    """
    if value not in allowed:
        rule = f"`{name}` must be {allowed[0]!r} for MonarchSpectralConv"
        raise ValueError(message(rule, repr(value), "Use neuralop's SpectralConv for that."))


def refuse_sphere() -> None:
    """Raise ValueError when neuralop's SFNO is what builds the layer.

    SFNO takes any `conv_module`, and would become an FNO on a plane with every point of latitude
    and longitude alike.
    """
    frame = inspect.currentframe()
    for _ in range(_CALLERS):
        frame = None if frame is None else frame.f_back
        if frame is not None and type(frame.f_locals.get("self")).__name__ == "SFNO":
            rule = "`conv_module` must be neuralop's SphericalConv for an SFNO"
            remedy = "Leave `conv_module` out, or use FNO for a field on a plane."
            raise ValueError(message(rule, "MonarchSpectralConv", remedy))


def check_modes(n_modes: Sequence[int], grid: Sequence[int]) -> None:
    """Raise ValueError when an axis has fewer points than modes."""
    for axis, (modes, n) in enumerate(zip(n_modes, grid)):
        if modes > n:
            where = axis - len(grid)
            rule = f"`n_modes` must be at most {n} along axis {where} for a grid of {n} points"
            raise ValueError(message(rule, modes, "Lower `n_modes` or refine the grid."))
