"""Data set of Stokes' second problem: a fluid above an oscillating plate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.generators.generate import Advance, Problem, generate
from monarch_sciml.data.generators.heat_neumann import (
    ENDS,
    ends_layout,
    finite_number,
    random_frequencies,
)
from monarch_sciml.data.generators.options import frame_times, interval, stored_dtype
from monarch_sciml.solvers.stokes import stokes_second


def generate_stokes_second(
    output: Path,
    *,
    n_samples: int = 1200,
    resolution: int = 500,
    t_end: float = 1.2,
    n_times: int = 26,
    viscosity: float = 0.1,
    amplitude: float = 2.0,
    lowest: float = 3.0,
    highest: float = 4.0,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 20,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate trajectories of the fluid above a swinging wall, BOON's Dirichlet problem.

    U_t = ν U_yy on [0, 1], U(0, t) = U0 cos(ωt), the exact solution U0 exp(−ky) cos(ky − ωt),
    k = √(ω / 2ν), with ω ~ U[3, 4]. Field: `velocity`; frame 0 is the initial state.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of trajectories (BOON: 1000 to train, 200 to test).
    resolution
        Points of [0, 1], the wall among them.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    viscosity
        ν; BOON's files also have smaller ones.
    amplitude
        U0, largest velocity of the wall.
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
    Theirs: the equation and its solution, ν = 0.1, 500 points, 25 frames after the initial state,
    up to t = 1.2. Ours, since their public notebook states neither: U0 = 2, the range of ω, and
    frames evenly spaced from 0 on. The value at y = 1 is the exact solution's too.

    References
    ----------
    Saad et al., Guiding continuous operator learning through physics-based boundary constraints
    (BOON), ICLR 2023, and its examples_1d_multi_step.ipynb.
    """
    resolution = positive_int("resolution", resolution, minimum=3)
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    seed, span = positive_int("seed", seed, minimum=0), interval(ENDS, lowest, highest)
    y = torch.linspace(0.0, 1.0, resolution, dtype=torch.float64)
    layout = ends_layout("velocity", n_samples, times, resolution, "dirichlet")
    options: dict[str, Any] = {
        "viscosity": positive_number("viscosity", viscosity),
        "amplitude": finite_number("amplitude", amplitude),
    }
    parameters = {
        "equation": "U_t = ν U_yy, U = U0 exp(−ky) cos(ky − ωt), k = √(ω / 2ν)",
        **options,
        "frequency": list(span),
        "t_end": float(t_end),
        "dtype": dtype,
    }

    def solve(samples: range, advance: Advance) -> Tensor:
        frequency = random_frequencies(seed, samples, span)
        fields, _ = stokes_second(frequency, y, record_times=times, **options)
        return fields[:, :, None]  # (n, T, Y) -> (n, T, 1, Y)

    problem = Problem("stokes_second", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)
