"""Data set of the wave equation in a box with walls."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.advection_diffusion import smoothness_of, walled
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import frame_times, stored_dtype
from monarch_sciml.solvers.random_series import random_sine_series
from monarch_sciml.solvers.wave import solve_wave


def generate_wave(
    output: Path,
    *,
    speed: float = 1.0,
    n_samples: int = 1200,
    resolution: int = 64,
    n_modes: int = 32,
    alpha: float = 3.0,
    tau: float = 7.0,
    t_end: float = 2.0,
    n_times: int = 41,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 10,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate waves on the unit square whose walls hold them fast.

    u_tt = c² Δu, u = 0 on the walls, u_t(0) = 0; u(0) is a Gaussian random series of sines,
    covariance ∝ (−Δ + τ² I)^(−α), mean square 1. The solution is the exact series.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`), with the fields displacement
        (u) and velocity (u_t).
    speed
        c, sides of the square per unit of time.
    n_samples
        Number of trajectories.
    resolution
        Evenly spaced points to store along each axis, both walls included, at least 3. Sets of one
        seed show the same waves at every resolution.
    n_modes
        Sines of the initial displacement along each axis.
    alpha
        Its smoothness, above 1 for a continuous limit.
    tau
        Its inverse length scale.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    seed
        Seed of the set; sample i depends on (seed, i) alone.
    dtype
        "float32" or "float64", to store; solved in float64.
    batch_size
        Samples solved together.
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
    """
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    resolution, speed = walled(resolution), positive_number("speed", speed)
    modes = (positive_int("n_modes", n_modes),) * 2
    smoothness = smoothness_of(alpha, tau)
    points = [torch.linspace(0.0, 1.0, resolution, dtype=torch.float64)] * 2

    def solve(samples: range, advance: Advance) -> Tensor:
        rngs = [sample_rng(seed, sample) for sample in samples]
        initial = torch.stack([random_sine_series(modes, rng=rng, **smoothness) for rng in rngs])
        return solve_wave(initial, points, speed=speed, record_times=times)[0]

    parameters: dict[str, Any] = {
        "equation": "u_tt = c² Δu in the unit square, u = 0 on the walls, u_t = 0 at t = 0",
        "speed": speed,
        "initial": {**smoothness, "n_modes": list(modes), "mean_square": 1.0},
        "t_end": float(t_end),
        "dtype": dtype,
    }
    layout = FieldLayout(
        fields=("displacement", "velocity"),
        n_samples=n_samples,
        n_times=n_times,
        grid_shape=(resolution, resolution),
        domain_extent=(1.0, 1.0),
        boundary=("dirichlet", "dirichlet"),
        times=times,
    )
    problem = Problem("wave", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)
