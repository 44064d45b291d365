"""Linear problems in the unit box with u = 0 on the walls: waves, advection and diffusion.

Shapes: n samples, T times, d axes, m modes, N points along an axis.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import frame_times, stored_dtype
from monarch_sciml.solvers.advection_diffusion import AdvectionDiffusion
from monarch_sciml.solvers.random_series import evaluate_series, random_sine_series


def generate_advection_diffusion(
    output: Path,
    *,
    velocity: tuple[float, ...] = (1.0, 0.5),
    diffusivity: float = 1e-2,
    n_samples: int = 1200,
    grid: int = 128,
    resolution: int = 64,
    n_modes: int = 16,
    alpha: float = 2.5,
    tau: float = 7.0,
    t_end: float = 0.5,
    n_times: int = 11,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 10,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate a substance carried through the unit interval or square and absorbed by its walls.

    u_t + c·∇u = κ Δu, u = 0 on the walls; where the flow goes out a layer of width κ / |c| forms.
    u(0) is a Gaussian random series of sines, covariance ∝ (−Δ + τ² I)^(−α), mean square 1.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`), with the field concentration.
    velocity
        c, one component for the interval, two for the square; lengths per unit of time.
    diffusivity
        κ, dimensionless; at least 10 |c| / `grid`².
    n_samples
        Number of trajectories.
    grid
        Gauss-Lobatto nodes along each axis to solve on.
    resolution
        Evenly spaced points to store along each axis, both walls included, at least 3. Sets of one
        seed show the same fields at every resolution.
    n_modes
        Sines of the initial concentration along each axis, at most half of `grid`.
    alpha
        Its smoothness, above half the number of axes for a continuous limit.
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
    solver = AdvectionDiffusion(grid, velocity=velocity, diffusivity=diffusivity)
    n_dims, resolution = len(solver.velocity), walled(resolution)
    modes = (positive_int("n_modes", n_modes),) * n_dims
    if 2 * n_modes > grid:
        rule = f"`n_modes` must be at most half of `grid`, {grid}"
        raise ValueError(message(rule, n_modes, "Lower `n_modes`."))
    smoothness = smoothness_of(alpha, tau)
    stored = torch.linspace(0.0, 1.0, resolution, dtype=torch.float64)
    to_stored = solver.interpolation(stored).T.contiguous()

    def solve(samples: range, advance: Advance) -> Tensor:
        rngs = [sample_rng(seed, sample) for sample in samples]
        initial = torch.stack([random_sine_series(modes, rng=rng, **smoothness) for rng in rngs])
        u, _ = solver.solve(
            evaluate_series(initial, [solver.points] * n_dims), record_times=times[1:]
        )
        for _ in range(n_dims):
            # (n, T − 1, N, ...) @ (N, resolution) along the last axis, which goes before the others
            u = (u @ to_stored).movedim(-1, 2)
        first = evaluate_series(initial, [stored] * n_dims)
        # (n, T, *grid) -> (n, T, 1, *grid)
        return torch.cat([first[:, None], u], dim=1)[:, :, None]

    parameters: dict[str, Any] = {
        "equation": "u_t + c·∇u = κ Δu in the unit box, u = 0 on the walls",
        "velocity": list(solver.velocity),
        "diffusivity": solver.diffusivity,
        "initial": {**smoothness, "n_modes": list(modes), "mean_square": 1.0},
        "grid": [grid] * n_dims,
        "t_end": float(t_end),
        "dtype": dtype,
    }
    layout = FieldLayout(
        fields=("concentration",),
        n_samples=n_samples,
        n_times=n_times,
        grid_shape=(resolution,) * n_dims,
        domain_extent=(1.0,) * n_dims,
        boundary=("dirichlet",) * n_dims,
        times=times,
    )
    problem = Problem("advection_diffusion", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def smoothness_of(alpha: float, tau: float) -> dict[str, float]:
    """Return the checked parameters of a random series; ValueError when one is not positive."""
    if not (tau >= 0 and math.isfinite(tau)):
        raise ValueError(message("`tau` must be finite and at least 0", tau, "Change `tau`."))
    return {"alpha": positive_number("alpha", alpha), "tau": float(tau)}


def walled(resolution: int) -> int:
    """Return the points to store; ValueError when there are too few beside the walls."""
    return positive_int("resolution", resolution, minimum=3)
