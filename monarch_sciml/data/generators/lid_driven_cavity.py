"""Steady flow in a cavity whose lid slides at a random speed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import positive_int
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, interval, stored_nodes
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.cavity import LidDrivenCavity

N_WAVES, ROUGHNESS = 4, 0.5
"""Cosines in the lid's speed, and the standard deviation of the first; the m-th has 1/m of it."""


@dataclass(frozen=True, kw_only=True)
class LidDrivenCavityProblem(FieldProblem):
    """Generate steady flows in the unit square whose lid y = 1 slides along itself.

    u·∇u + ∇p = Δu / Re, ∇·u = 0; (u, v) = (g(x), 0) on the lid and 0 on the other walls, with
    g = 16 x² (1 − x)² (U + Σ_m a_m cos(mπx)), U ~ U[0.5, 1.5], a_m ~ N(0, (0.5 / m)²), m ≤ 4, and
    log Re uniform. The fields map the first two to the others: `lid_velocity` (g at every y) and
    `log10_reynolds` (constant) to `u`, `v` and `stream_function`; one frame.

    Parameters
    ----------
    grid
        Number of nodes along each axis to solve on. 2^m + 1 is fastest.
    resolution
        Number of nodes along each axis to store, where resolution − 1 divides grid − 1. None stores
        all.
    lowest_reynolds
        Smallest Re, for unit speed and the side of the square.
    highest_reynolds
        Largest Re, for unit speed and the side of the square.

    Notes
    -----
    `PairModule` needs the names of the fields, for example input_fields ["lid_velocity",
    "log10_reynolds"] and target_fields ["u", "v"]. The lid comes to rest smoothly at its ends, so
    that the velocity is continuous. The relative error is below 2e-4 on 65 nodes, 2e-3 on 33; a
    sample takes 0.7 s and 0.2 s. BOON's problem of this name differs: it is unsteady, in vorticity
    form, at one Reynolds number.
    """

    name: ClassVar[str] = "lid_driven_cavity"
    equation: ClassVar[str] = "u·∇u + ∇p = Δu / Re, ∇·u = 0, u = (g(x), 0) on the lid y = 1"
    usual_batch_size: ClassVar[int] = 5

    grid: int = 65
    resolution: int | None = None
    lowest_reynolds: float = 50.0
    highest_reynolds: float = 500.0

    def __post_init__(self) -> None:
        positive_int("grid", self.grid, minimum=5)
        stored_nodes(self.grid, self.resolution)
        self._reynolds  # noqa: B018 - checks the range

    @property
    def _reynolds(self) -> tuple[float, float]:
        names = ("lowest_reynolds", "highest_reynolds")
        return interval(names, self.lowest_reynolds, self.highest_reynolds)

    @cached_property
    def _solver(self) -> LidDrivenCavity:
        return LidDrivenCavity(self.grid)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return the given fields (lid and Reynolds number) and the flow, at the nodes."""
        shape = (stored_nodes(self.grid, self.resolution)[0],) * 2
        names = "lid_velocity log10_reynolds u v stream_function"
        return box_layout(names, n_samples, shape, "wall")

    def parameters(self) -> dict[str, Any]:
        """Return the random lid, the range of the Reynolds number and the grid."""
        return {
            "lid": {"speed": [0.5, 1.5], "n_waves": N_WAVES, "roughness": ROUGHNESS},
            "reynolds": list(self._reynolds),
            "grid": [self.grid, self.grid],
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve the flows one after the other."""
        grid, step, flows = self.grid, stored_nodes(self.grid, self.resolution)[1], []
        for rng in batch.rngs():
            lid, reynolds = self._draw(rng)
            stream, velocity = self._solver.solve(lid[None], reynolds=reynolds)
            given = torch.stack([lid, torch.full_like(lid, math.log10(reynolds))])
            inputs = given[:, :, None].expand(2, grid, grid)  # (2, x) -> (2, x, y)
            # (5, grid, grid) -> (1, 5, resolution, resolution)
            flows.append(torch.cat([inputs, velocity[0], stream])[None, :, ::step, ::step])
            batch.advance(1 / len(batch.samples))
        return torch.stack(flows)

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Draw the speed of the lid at its nodes (n,), and the Reynolds number."""
        lowest, highest = self._reynolds
        reynolds = math.exp(rng.uniform(math.log(lowest), math.log(highest)))
        speed, waves = rng.uniform(0.5, 1.5), np.arange(1, N_WAVES + 1)
        amplitudes = ROUGHNESS * rng.standard_normal(N_WAVES) / waves
        x = np.linspace(0.0, 1.0, self.grid)
        profile = speed + np.cos(np.pi * x[:, None] * waves) @ amplitudes  # (n, m) (m,) -> (n,)
        return torch.from_numpy(16 * x**2 * (1 - x) ** 2 * profile), reynolds
