"""What the generators share: options of a set, times, resolutions, ranges of random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """State what every generator takes beside the physics of its problem.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of samples (trajectories, where there are several frames).
    seed
        Seed of the set. Sample i depends on (seed, i) alone: more samples, another batch size or a
        resumed run leave the earlier ones as they are.
    dtype
        "float32" or "float64", of the stored values.
    batch_size
        Samples solved together.
    shard
        Make only this share, "2/4" for the second of four, in a file of its own beside `output`.
        Without it the samples of the shares found there are taken, only the others solved.
    progress
        Show a bar that counts samples.
    exist_ok
        Return at once when the file to make holds just these samples.
    """

    output: Path
    n_samples: int
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    batch_size: int
    shard: str | None = None
    progress: bool = True
    exist_ok: bool = False

    def __post_init__(self) -> None:
        positive_int("n_samples", self.n_samples)
        positive_int("seed", self.seed, minimum=0)
        positive_int("batch_size", self.batch_size)
        stored_dtype(self.dtype)


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


def smoothness(alpha: float, tau: float) -> dict[str, float]:
    """Return smoothness and inverse length scale of a random field; ValueError out of range."""
    if not (tau >= 0 and math.isfinite(tau)):
        raise ValueError(message("`tau` must be finite and at least 0", tau, "Change `tau`."))
    return {"alpha": positive_number("alpha", alpha), "tau": float(tau)}


def finite_number(name: str, value: float) -> float:
    """Return `value` as float; ValueError when it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(message(f"`{name}` must be finite", value, "Pass a number."))
    return float(value)


def box_layout(
    fields: str,
    n_samples: int,
    grid_shape: tuple[int, ...],
    boundary: str,
    *,
    times: tuple[float, ...] | None = None,
    extent: float = 1.0,
    constant: tuple[str, ...] = (),
) -> FieldLayout:
    """Return the layout of fields, named in one text, in a box whose sides are all alike.

    Without `times` the fields are steady: one frame.
    """
    n_dims = len(grid_shape)
    return FieldLayout(
        fields=tuple(fields.split()),
        n_samples=n_samples,
        n_times=1 if times is None else len(times),
        grid_shape=grid_shape,
        domain_extent=(extent,) * n_dims,
        boundary=(boundary,) * n_dims,
        times=times,
        constant=constant,
    )
