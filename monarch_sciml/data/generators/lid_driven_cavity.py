"""Steady flow in a cavity whose lid slides at a random speed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import positive_int
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import interval, stored_dtype, stored_nodes
from monarch_sciml.solvers.cavity import LidDrivenCavity

FIELDS = ("lid_velocity", "log10_reynolds", "u", "v", "stream_function")
N_WAVES, ROUGHNESS = 4, 0.5
"""Cosines in the lid's speed, and the standard deviation of the first; the m-th has 1/m of it."""


def generate_lid_driven_cavity(
    output: Path,
    *,
    n_samples: int = 1200,
    grid: int = 65,
    resolution: int | None = None,
    lowest_reynolds: float = 50.0,
    highest_reynolds: float = 500.0,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 5,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate steady flows in the unit square whose lid y = 1 slides along itself.

    u·∇u + ∇p = Δu / Re, ∇·u = 0; (u, v) = (g(x), 0) on the lid and 0 on the other walls, with
    g = 16 x² (1 − x)² (U + Σ_m a_m cos(mπx)), U ~ U[0.5, 1.5], a_m ~ N(0, (0.5 / m)²), m ≤ 4, and
    log Re uniform. The fields map the first two to the others: `lid_velocity` (g at every y) and
    `log10_reynolds` (constant) to `u`, `v` and `stream_function`; one frame.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of flows.
    grid
        Nodes along each axis to solve on; 2^m + 1 is fastest.
    resolution
        Nodes along each axis to store: resolution − 1 divides grid − 1; None stores all.
    lowest_reynolds
        Least Re, of unit speed and the side of the square.
    highest_reynolds
        Greatest Re.
    seed
        Seed of the set; sample i depends on (seed, i) alone; another grid samples the same flow.
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
        When an argument is out of range, no steady flow is found, or as `generate`.

    Notes
    -----
    Name the fields to PairModule: input_fields ["lid_velocity", "log10_reynolds"], target_fields
    ["u", "v"], say. The lid comes to rest smoothly at its ends, so that the velocity is continuous.
    The relative error is below 2e-4 on 65 nodes, 2e-3 on 33; a sample takes 0.7 s and 0.2 s.
    BOON's problem of this name is another one: vorticity, unsteady, at one Reynolds number.
    """
    grid = positive_int("grid", grid, minimum=5)
    (resolution, step), precision = stored_nodes(grid, resolution), stored_dtype(dtype)
    seed = positive_int("seed", seed, minimum=0)
    span = interval(("lowest_reynolds", "highest_reynolds"), lowest_reynolds, highest_reynolds)
    layout = FieldLayout(
        fields=FIELDS,
        n_samples=positive_int("n_samples", n_samples),
        n_times=1,
        grid_shape=(resolution, resolution),
        domain_extent=(1.0, 1.0),
        boundary=("wall", "wall"),
    )
    parameters = {
        "equation": "u·∇u + ∇p = Δu / Re, ∇·u = 0, u = (g(x), 0) on the lid y = 1",
        "lid": {"speed": [0.5, 1.5], "n_waves": N_WAVES, "roughness": ROUGHNESS},
        "reynolds": list(span),
        "grid": [grid, grid],
        "dtype": dtype,
    }
    solver = LidDrivenCavity(grid)

    def solve(samples: range, advance: Advance) -> Tensor:
        flows = []
        for sample in samples:
            lid, reynolds = _draw(seed, sample, grid, span)
            stream, velocity = solver.solve(lid[None], reynolds=reynolds)
            given = torch.stack([lid, torch.full_like(lid, math.log10(reynolds))])
            inputs = given[:, :, None].expand(2, grid, grid)  # (2, x) -> (2, x, y)
            # (5, grid, grid) -> (1, 5, resolution, resolution)
            flows.append(torch.cat([inputs, velocity[0], stream])[None, :, ::step, ::step])
            advance(1 / len(samples))
        return torch.stack(flows)

    problem = Problem("lid_driven_cavity", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def _draw(seed: int, sample: int, grid: int, span: tuple[float, float]) -> tuple[Tensor, float]:
    """Draw the speed of the lid at its nodes (n,), and the Reynolds number."""
    rng = sample_rng(seed, sample)
    reynolds = math.exp(rng.uniform(math.log(span[0]), math.log(span[1])))
    speed, waves = rng.uniform(0.5, 1.5), np.arange(1, N_WAVES + 1)
    amplitudes = ROUGHNESS * rng.standard_normal(N_WAVES) / waves
    x = np.linspace(0.0, 1.0, grid)
    profile = speed + np.cos(np.pi * x[:, None] * waves) @ amplitudes  # (n, m) (m,) -> (n,)
    return torch.from_numpy(16 * x**2 * (1 - x) ** 2 * profile), reynolds
