"""What the generators of trajectories share: times, precision, resolutions."""

from __future__ import annotations

import math

import torch

from monarch_sciml._checks import message, one_of, positive_int

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def frame_times(t_end: float, n_times: int) -> tuple[float, ...]:
    """Return `n_times` evenly spaced times from 0 to `t_end`, both included.

    Raises
    ------
    ValueError
        When `t_end` is not positive, or there are fewer than two times.
    """
    if not (t_end > 0 and math.isfinite(t_end)):
        raise ValueError(message("`t_end` must be positive", t_end, "Raise `t_end`."))
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
