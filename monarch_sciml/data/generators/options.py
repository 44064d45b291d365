"""Options, times, resolutions and ranges of random numbers of all generators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.solvers.media import Medium

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """Hold the options that all generators have in addition to the parameters of their problems.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of samples, which are trajectories when there are several frames.
    seed
        Seed of the set. Sample i depends only on (seed, i), so more samples, another batch size or
        a resumed run do not change the earlier samples.
    dtype
        Type of the stored values, "float32" or "float64".
    batch_size
        Number of samples solved together.
    shard
        The one share to generate, such as "2/4" for the second of four, into a separate file beside
        `output`. Without it, samples that such files hold are copied and only the others are
        solved.
    progress
        Whether to show a bar that counts samples.
    exist_ok
        Whether to return at once when the file exists already with exactly these samples.
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
    """Return the number of points to store, by default all; ValueError if it does not divide
    `grid`.
    """
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
    """Return the number of nodes to store along an axis, and the stride between them in `grid`."""
    resolution = grid if resolution is None else positive_int("resolution", resolution, minimum=2)
    if (grid - 1) % (resolution - 1):
        rule = f"`resolution` - 1 must divide `grid` - 1, {grid - 1}"
        raise ValueError(message(rule, resolution - 1, "Choose another `resolution`."))
    return resolution, (grid - 1) // (resolution - 1)


NODES_IN_LENGTH = 2.5
"""Least number of nodes within the correlation length of a smooth medium."""


def check_medium(grid: int, n_elements: int, degree: int, medium: Medium) -> None:
    """Raise ValueError when the elements of a solver do not resolve a medium.

    Parameters
    ----------
    grid
        Nodes along an axis, the value of the option `grid`.
    n_elements, degree
        Elements along an axis, and their degree.
    medium
        The medium. Layers must end where elements meet, and a smooth medium must not vary within
        a few nodes.
    """
    if medium.kind == "layered" and n_elements % medium.n_layers:
        rule = f"each of the {medium.n_layers} layers must end where two elements meet"
        more = (-(-n_elements // medium.n_layers) * medium.n_layers - n_elements) * degree
        got = f"{n_elements} elements for `grid` {grid}"
        raise ValueError(message(rule, got, f"Take a `grid` of {grid + more}."))
    if medium.kind == "smooth":
        check_nodes("medium.correlation_length", medium.correlation_length, grid, NODES_IN_LENGTH)


def check_nodes(name: str, length: float, grid: int, least: float) -> None:
    """Raise ValueError when fewer than `least` of the `grid` nodes of an axis lie in a length."""
    if grid * length < least:
        rule = f"`grid` must have at least {least:g} nodes within `{name}`, {length:g}"
        remedy = f"Take {math.ceil(least / length)} or more, or a larger `{name}`."
        raise ValueError(message(rule, f"{grid * length:.2g} of {grid}", remedy))


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
    """Return the layout of fields, named in one text, in a box with equal sides.

    Without `times` the fields are steady and have one frame.
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
