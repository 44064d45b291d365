"""What the generators share: times, precision, resolutions, ranges of random numbers."""

from __future__ import annotations

import torch

from monarch_sciml._checks import message, one_of, positive_int, positive_number

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def frame_times(t_end: float, n_times: int) -> tuple[float, ...]:
    """Return `n_times` evenly spaced times from 0 to `t_end`, both included.

    Raises
    ------
    ValueError
        When `t_end` is not positive, or there are fewer than two times.
    """
    t_end = positive_number("t_end", t_end)
    n_times = positive_int("n_times", n_times, minimum=2)
    return tuple(t_end * i / (n_times - 1) for i in range(n_times))


def stored_dtype(dtype: str) -> torch.dtype:
    """Return the dtype of this name; ValueError when it is neither float32 nor float64."""
    return DTYPES[one_of("dtype", dtype, tuple(DTYPES))]


def divisor(resolution: int | None, grid: int) -> int:
    """Return the points to store (None: all of them); ValueError when they do not divide `grid`."""
    resolution = grid if resolution is None else positive_int("resolution", resolution)
    if grid % resolution:
        rule = f"`resolution` must divide `grid`, {grid}"
        raise ValueError(message(rule, resolution, "Choose a divisor."))
    return resolution


def interval(names: tuple[str, str], lowest: float, highest: float) -> tuple[float, float]:
    """Return both ends of a range of positive numbers; ValueError when they are not in order."""
    lowest, highest = positive_number(names[0], lowest), positive_number(names[1], highest)
    if highest < lowest:
        rule = f"`{names[1]}` must not be below `{names[0]}`, {lowest:g}"
        raise ValueError(message(rule, f"{highest:g}", "Raise it."))
    return lowest, highest


def stored_nodes(grid: int, resolution: int | None) -> tuple[int, int]:
    """Return how many nodes to store along an axis, and each how many-th of `grid` they are."""
    resolution = grid if resolution is None else positive_int("resolution", resolution, minimum=2)
    if (grid - 1) % (resolution - 1):
        rule = f"`resolution` - 1 must divide `grid` - 1, {grid - 1}"
        raise ValueError(message(rule, resolution - 1, "Choose another `resolution`."))
    return resolution, (grid - 1) // (resolution - 1)
