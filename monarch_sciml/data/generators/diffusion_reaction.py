"""Diffusion and reaction of FitzHugh-Nagumo type between insulating walls, PDEBench's problem.

Shapes: n samples, T times, H x W cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import divisor, frame_times, stored_dtype
from monarch_sciml.solvers.diffusion_reaction import DiffusionReaction2d

EXTENT = 2.0
"""Length of the domain [−1, 1] along each axis."""


def generate_diffusion_reaction(
    output: Path,
    *,
    n_samples: int = 1000,
    grid: int = 128,
    resolution: int | None = None,
    t_end: float = 5.0,
    n_times: int = 101,
    diffusivity: tuple[float, float] = (1e-3, 5e-3),
    threshold: float = 5e-3,
    rtol: float = 1e-7,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 4,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate trajectories of two reacting fields between insulating walls, PDEBench's problem.

    u_t = Du Δu + u − u³ − k − v, v_t = Dv Δv + u − v on [−1, 1]², no flux through the walls; each
    cell of both fields starts from its own N(0, 1).

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`), with the fields activator (u)
        and inhibitor (v).
    n_samples
        Number of trajectories.
    grid
        Cells along each axis to solve on.
    resolution
        Cells along each axis to store, a divisor of `grid`; None stores all. Coarser cells hold the
        means of the finer ones, so that sets of one seed and grid show the same trajectories at
        several resolutions.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    diffusivity
        Du and Dv, dimensionless.
    threshold
        k, dimensionless.
    rtol
        Relative tolerance of a time step, see `DiffusionReaction2d`.
    seed
        Seed of the set; sample i depends on (seed, i) alone.
    dtype
        "float32" or "float64", to store; solved in float64.
    batch_size
        Samples written at a time; each is solved on its own.
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
    Noise of N(0, 1) a cell depends on the grid: solve sets to be compared on one grid. The stored
    coordinates are the centres of the cells.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix D.3.
    """
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    solver = DiffusionReaction2d(
        grid, diffusivity=diffusivity, threshold=threshold, domain_extent=EXTENT, rtol=rtol
    )
    resolution = divisor(resolution, grid)
    block = grid // resolution

    def solve(samples: range, advance: Advance) -> Tensor:
        noise = [
            torch.from_numpy(sample_rng(seed, i).standard_normal((2, grid, grid))) for i in samples
        ]
        fields, _ = solver.solve(torch.stack(noise), record_times=times, progress=advance)
        # (n, T, 2, H, W) -> (n, T, 2, h, H / h, w, W / w), means over the finer cells
        shape = (*fields.shape[:3], resolution, block, resolution, block)
        return fields.view(shape).mean(dim=(4, 6))

    parameters: dict[str, Any] = {
        "equation": "u_t = Du Δu + u − u³ − k − v, v_t = Dv Δv + u − v on [−1, 1]²",
        "diffusivity": [float(d) for d in diffusivity],
        "threshold": float(threshold),
        "initial": "N(0, 1) in each cell",
        "grid": [grid, grid],
        "points": "cell centres",
        "t_end": float(t_end),
        "rtol": float(rtol),
        "dtype": dtype,
    }
    layout = FieldLayout(
        fields=("activator", "inhibitor"),
        n_samples=n_samples,
        n_times=n_times,
        grid_shape=(resolution, resolution),
        domain_extent=(EXTENT, EXTENT),
        boundary=("neumann", "neumann"),
        times=times,
    )
    # centres of the stored cells, the means of those of the solved ones
    centres = solver.points.view(resolution, block).mean(dim=1).numpy()
    problem = Problem(
        "diffusion_reaction", layout, parameters, solve, batch_size, precision, [centres, centres]
    )
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)
