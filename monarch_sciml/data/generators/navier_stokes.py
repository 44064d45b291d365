"""Forced two-dimensional turbulence on the torus, the FNO paper's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number, present_device
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_generator
from monarch_sciml.data.generators.options import divisor, stored_dtype
from monarch_sciml.solvers.navier_stokes import NavierStokes2d
from monarch_sciml.solvers.random_fields import gaussian_random_field

ALPHA, TAU = 2.5, 7.0
"""Smoothness and inverse length scale of the initial vorticity."""


def generate_navier_stokes(
    output: Path,
    *,
    viscosity: float = 1e-3,
    n_samples: int = 1200,
    grid: int = 64,
    resolution: int | None = None,
    t_end: float = 20.0,
    n_times: int | None = None,
    dt: float = 1e-2,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 20,
    device: str = "cpu",
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate trajectories of forced two-dimensional turbulence, the FNO paper's problem.

    Each trajectory starts from its own Gaussian random field (α 2.5, τ 7) and is solved by
    `NavierStokes2d` with the FNO paper's forcing. Interrupted, the same call goes on where it
    stopped and makes the same file.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    viscosity
        ν, dimensionless. The paper's sets: 1e-3 with t_end 50, 1e-4 with 30, 1e-5 with 20; for the
        last two solve on a grid of 128 to 256 and store 64.
    n_samples
        Number of trajectories.
    grid
        Points along each axis to solve on.
    resolution
        Points along each axis to store, a divisor of `grid`; None stores all.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames up to the last time; None: one a time unit. The initial field
        is not among them.
    dt
        Largest time step of the solver. 1e-2 is right for ν = 1e-3 on 64 points; for 1e-4 and 1e-5
        take 2.5e-3 on 128 points, 1.25e-3 on 256.
    seed
        Sample i depends on (seed, i) alone: more samples, another batch size or a resumed run leave
        the earlier ones as they are.
    dtype
        "float32" or "float64", to solve in and to store.
    batch_size
        Trajectories solved together.
    device
        Where to solve, "cpu" or "cuda".
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
        When an argument is out of range, a solution diverges, or as `generate`.
    """
    layout, parameters = _plan(viscosity, n_samples, grid, resolution, t_end, n_times, dt, dtype)
    seed, batch_size = positive_int("seed", seed, minimum=0), positive_int("batch_size", batch_size)
    present_device(device)
    precision = stored_dtype(dtype)
    solver = NavierStokes2d((grid, grid), viscosity=viscosity, dtype=precision, device=device)
    step = grid // layout.grid_shape[0]

    def solve(samples: range, advance: Advance) -> Tensor:
        w0 = _initial_fields(seed, samples, grid, precision)
        w, _ = solver.solve(w0, dt=dt, record_times=layout.times, progress=advance)
        # (n, T, grid, grid) -> (n, T, 1, resolution, resolution)
        return w[:, :, None, ::step, ::step]

    problem = Problem(
        "navier_stokes", layout, parameters, solve, batch_size, precision, n_points=grid**2
    )
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def _plan(
    viscosity: float,
    n_samples: int,
    grid: int,
    resolution: int | None,
    t_end: float,
    n_times: int | None,
    dt: float,
    dtype: str,
) -> tuple[FieldLayout, dict[str, Any]]:
    """Check the arguments; return what the file will hold and the parameters it states."""
    grid = positive_int("grid", grid, minimum=4)
    resolution = divisor(resolution, grid)
    t_end, dt = positive_number("t_end", t_end), positive_number("dt", dt)
    n_times = max(1, int(t_end)) if n_times is None else positive_int("n_times", n_times)
    layout = FieldLayout(
        fields=("vorticity",),
        n_samples=positive_int("n_samples", n_samples),
        n_times=n_times,
        grid_shape=(resolution, resolution),
        domain_extent=(1.0, 1.0),
        boundary=("periodic", "periodic"),
        times=tuple(t_end * (i + 1) / n_times for i in range(n_times)),
    )
    parameters = {
        "equation": "w_t + u·∇w = ν Δw + f on the unit torus",
        "viscosity": float(viscosity),
        "forcing": "0.1 (sin 2π(x + y) + cos 2π(x + y))",
        "initial": {"alpha": ALPHA, "tau": TAU, "sigma": TAU ** (ALPHA - 1)},
        "grid": [grid, grid],
        "t_end": t_end,
        "dt": dt,
        "dtype": dtype,
    }
    return layout, parameters


def _initial_fields(seed: int, samples: range, grid: int, dtype: torch.dtype) -> Tensor:
    """Draw the initial vorticity of these samples (n, grid, grid), each from its own generator."""
    fields = []
    for sample in samples:
        generator = sample_generator(seed, sample)
        field = gaussian_random_field(
            1, (grid, grid), alpha=ALPHA, tau=TAU, generator=generator, dtype=torch.float64
        )
        fields.append(field.to(dtype))
    return torch.cat(fields)
