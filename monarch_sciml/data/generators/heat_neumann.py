"""BOON's two one-dimensional problems: a heated end, and a swinging wall."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import frame_times, interval, stored_dtype
from monarch_sciml.solvers.heat import heat_neumann

ENDS = ("lowest", "highest")


def generate_heat_neumann(
    output: Path,
    *,
    n_samples: int = 1200,
    resolution: int = 1024,
    t_end: float = 2.0,
    n_times: int = 26,
    diffusivity: float = 0.01,
    flux: float = 5.0,
    lowest: float = 2.01,
    highest: float = 3.99,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 20,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate trajectories of a rod whose right end is heated and cooled, BOON's heat problem.

    u_t = κ u_xx on [0, 1], u_x(0, t) = 0, u_x(1, t) = U sin(πt), u(x, 0) = cos(ωπx) with
    ω ~ U[2.01, 3.99]. Field: `temperature`; frame 0 is the initial state.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of trajectories (BOON: 1000 to train, 200 to test).
    resolution
        Points of [0, 1], both ends among them.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    diffusivity
        κ > 0.
    flux
        U, amplitude of the slope that heat from outside keeps up at the right end.
    lowest
        Least ω.
    highest
        Greatest ω.
    seed
        Seed of the set; sample i depends on (seed, i) alone.
    dtype
        "float32" or "float64", to store; solved in float64.
    batch_size
        Samples written together.
    shard
        Make only this share, "2/4" for the second of four, in a file of its own beside `output`.
        Without it the samples of the shares found there are taken, only the others solved.
    progress
        Show a bar that counts samples.
    exist_ok
        Return at once when the file to make holds just these samples.

    Returns
    -------
    Path
        `output`, or the file of the share.

    Raises
    ------
    FileExistsError, OSError
        As `generate`.
    ValueError
        When an argument is out of range, or as `generate`.

    Notes
    -----
    Theirs: κ = 0.01, U = 5, the range of ω, 1024 points (2048 of which each second one is taken),
    25 frames after the initial state, up to t = 2. Their notebook writes "t_M = 2" in words and
    takes the last 25 of 200 times up to 0.5 in code; the words are followed here. Ours: frames
    evenly spaced from 0 on, and the solution by its exact series. Their one-step problem is
    t_end 0.5, n_times 2, resolution 500, with 500 samples to train and 100 to test and the same U.

    References
    ----------
    Saad et al., Guiding continuous operator learning through physics-based boundary constraints
    (BOON), ICLR 2023, and its examples_1d_multi_step.ipynb and examples_1d_single_step.ipynb.
    """
    resolution = positive_int("resolution", resolution, minimum=3)
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    seed, span = positive_int("seed", seed, minimum=0), interval(ENDS, lowest, highest)
    x = torch.linspace(0.0, 1.0, resolution, dtype=torch.float64)
    layout = ends_layout("temperature", n_samples, times, resolution, "neumann")
    options: dict[str, Any] = {
        "diffusivity": positive_number("diffusivity", diffusivity),
        "flux": finite_number("flux", flux),
    }
    parameters = {
        "equation": "u_t = κ u_xx, u_x(0) = 0, u_x(1) = U sin(πt), u(x, 0) = cos(ωπx)",
        **options,
        "frequency": list(span),
        "t_end": float(t_end),
        "dtype": dtype,
    }

    def solve(samples: range, advance: Advance) -> Tensor:
        frequency = random_frequencies(seed, samples, span)
        fields, _ = heat_neumann(frequency, x, record_times=times, **options)
        return fields[:, :, None]  # (n, T, X) -> (n, T, 1, X)

    problem = Problem("heat_neumann", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def ends_layout(
    field: str, n_samples: int, times: tuple[float, ...], resolution: int, boundary: str
) -> FieldLayout:
    """Return the layout of one field on [0, 1], both ends among its points."""
    return FieldLayout(
        fields=(field,),
        n_samples=positive_int("n_samples", n_samples),
        n_times=len(times),
        grid_shape=(resolution,),
        domain_extent=(1.0,),
        boundary=(boundary,),
        times=times,
    )


def finite_number(name: str, value: float) -> float:
    """Return a number; ValueError when it is not finite."""
    if not math.isfinite(value):
        raise ValueError(message(f"`{name}` must be finite", value, "Pass a number."))
    return float(value)


def random_frequencies(seed: int, samples: range, span: tuple[float, float]) -> Tensor:
    """Draw ω (n,), each from its sample's own generator."""
    drawn: Any = [sample_rng(seed, sample).uniform(*span) for sample in samples]
    return torch.tensor(drawn, dtype=torch.float64)
