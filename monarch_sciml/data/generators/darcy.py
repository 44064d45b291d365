"""Darcy flow through a medium of two permeabilities, the FNO paper's steady problem."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_generator
from monarch_sciml.data.generators.options import stored_dtype, stored_nodes
from monarch_sciml.solvers.darcy import Darcy2d
from monarch_sciml.solvers.random_fields import cosine_random_field

ALPHA, TAU, N_MODES = 2.0, 3.0, 128
"""Smoothness, inverse length scale and modes along each axis of the random field."""


def generate_darcy(
    output: Path,
    *,
    n_samples: int = 1200,
    grid: int = 129,
    resolution: int | None = 65,
    high: float = 12.0,
    low: float = 4.0,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 20,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate pairs of a coefficient and the pressure of its Darcy flow, u = 0 on the walls.

    −∇·(a ∇u) = 1 in the unit square; a = `high` where ψ ≥ 0, else `low`, with
    ψ ~ N(0, (−Δ + 9 I)^(−2)), zero normal derivative at the walls. Fields: `coefficient` (the
    input) and `pressure`, one frame, at the nodes with the walls among them.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`).
    n_samples
        Number of pairs.
    grid
        Nodes along each axis to solve on. The paper takes 421.
    resolution
        Nodes along each axis to store: resolution − 1 divides grid − 1; None stores all. The paper
        stores 421, 211, 141, 106, 85.
    high
        a where ψ ≥ 0.
    low
        a elsewhere.
    seed
        Seed of the set; sample i depends on (seed, i) alone; another grid samples the same ψ.
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
    The solver takes a at the centres of the cells, the file holds it at the nodes: both are samples
    of one function, which 128² cosines describe. The paper's text says 12 and 3, its script (and
    its files) 12 and 4. A sample takes 0.03 s on 129 nodes, 0.25 s on 421.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section A.3.2.
    """
    grid = positive_int("grid", grid, minimum=3)
    (resolution, step), precision = stored_nodes(grid, resolution), stored_dtype(dtype)
    seed, values = (
        positive_int("seed", seed, minimum=0),
        (positive_number("low", low), positive_number("high", high)),
    )
    layout = FieldLayout(
        fields=("coefficient", "pressure"),
        n_samples=positive_int("n_samples", n_samples),
        n_times=1,
        grid_shape=(resolution, resolution),
        domain_extent=(1.0, 1.0),
        boundary=("dirichlet", "dirichlet"),
    )
    parameters = {
        "equation": "−∇·(a ∇u) = 1, u = 0 on the walls",
        "coefficient": {"high": values[1], "low": values[0]},
        "field": {"alpha": ALPHA, "tau": TAU, "n_modes": N_MODES},
        "grid": [grid, grid],
        "dtype": dtype,
    }
    solver = Darcy2d(grid)

    def solve(samples: range, advance: Advance) -> Tensor:
        fields = []
        for sample in samples:
            nodes, cells = _coefficient(seed, sample, grid, values)
            pressure = solver.solve(cells[None])
            # (2, grid, grid) -> (1, 2, resolution, resolution)
            fields.append(torch.stack([nodes, pressure[0]])[None, :, ::step, ::step])
            advance(1 / len(samples))
        return torch.stack(fields)

    problem = Problem("darcy", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def _coefficient(
    seed: int, sample: int, grid: int, values: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return a sample's coefficient at the nodes (n, n) and at the centres (n − 1, n − 1)."""
    generator, n_fine = sample_generator(seed, sample), 2 * grid - 1  # nodes and midpoints
    psi = cosine_random_field(
        1, (n_fine, n_fine), alpha=ALPHA, tau=TAU, n_modes=N_MODES, generator=generator
    )[0]
    low, high = values
    a = torch.where(psi >= 0, high, low).double()
    return a[::2, ::2], a[1::2, 1::2]
