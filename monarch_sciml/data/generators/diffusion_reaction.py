"""Diffusion and reaction of FitzHugh-Nagumo type between insulating walls, PDEBench's problem.

Letters: n samples, T times, H x W cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, divisor, frame_times
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.diffusion_reaction import DiffusionReaction2d

EXTENT = 2.0
"""Length of the domain [−1, 1] along each axis."""


@dataclass(frozen=True, kw_only=True)
class DiffusionReactionProblem(FieldProblem):
    """Generate trajectories of two reacting fields between insulating walls, PDEBench's problem.

    u_t = Du Δu + u − u³ − k − v, v_t = Dv Δv + u − v on [−1, 1]², no flux through the walls; each
    cell of both fields starts from its own N(0, 1).

    Parameters
    ----------
    grid
        Cells along each axis to solve on.
    resolution
        Cells along each axis to store, a divisor of `grid`; None stores all. Coarser cells hold the
        means of the finer ones, so that sets of one seed and grid show the same trajectories at
        several resolutions.
    diffusivity
        Du and Dv, dimensionless.
    threshold
        Threshold k, dimensionless.
    rtol
        Relative tolerance of a time step of `DiffusionReaction2d`.

    Notes
    -----
    The initial noise is drawn for each cell and therefore depends on the grid, so sets that are to
    be compared must be solved on the same grid. The stored coordinates are the centres of the
    cells.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix D.3.
    """

    name: ClassVar[str] = "diffusion_reaction"
    equation: ClassVar[str] = "u_t = Du Δu + u − u³ − k − v, v_t = Dv Δv + u − v on [−1, 1]²"
    usual_n_samples: ClassVar[int] = 1000
    usual_batch_size: ClassVar[int] = 4

    grid: int = 128
    resolution: int | None = None
    t_end: float = 5.0
    n_times: int = 101
    diffusivity: tuple[float, float] = (1e-3, 5e-3)
    threshold: float = 5e-3
    rtol: float = 1e-7

    def __post_init__(self) -> None:
        self.layout(1)

    @cached_property
    def _solver(self) -> DiffusionReaction2d:
        return DiffusionReaction2d(
            self.grid,
            diffusivity=self.diffusivity,
            threshold=self.threshold,
            domain_extent=EXTENT,
            rtol=self.rtol,
        )

    @property
    def _block(self) -> int:
        """The number of solved cells along an axis for each stored cell."""
        return self.grid // divisor(self.resolution, len(self._solver.points))

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of both fields at cell centres."""
        times, shape = frame_times(self.t_end, self.n_times), (self.grid // self._block,) * 2
        names = "activator inhibitor"
        return box_layout(names, n_samples, shape, "neumann", times=times, extent=EXTENT)

    def coordinates(self) -> list[np.ndarray]:
        """Return the centres of the stored cells, the means of those of the solved ones."""
        return [self._solver.points.view(-1, self._block).mean(dim=1).numpy()] * 2

    def parameters(self) -> dict[str, Any]:
        """Return the coefficients, the initial noise, grid and tolerance."""
        return {
            "diffusivity": [float(d) for d in self.diffusivity],
            "threshold": float(self.threshold),
            "initial": "N(0, 1) in each cell",
            "grid": [self.grid, self.grid],
            "points": "cell centres",
            "t_end": float(self.t_end),
            "rtol": float(self.rtol),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve from noise and take means over the cells of a stored one."""
        noise = [
            torch.from_numpy(rng.standard_normal((2, self.grid, self.grid))) for rng in batch.rngs()
        ]
        times = frame_times(self.t_end, self.n_times)
        fields, _ = self._solver.solve(
            torch.stack(noise), record_times=times, progress=batch.advance
        )
        # (n, T, 2, H, W) -> (n, T, 2, h, H / h, w, W / w), means over the finer cells
        block, resolution = self._block, self.grid // self._block
        shape = (*fields.shape[:3], resolution, block, resolution, block)
        return fields.view(shape).mean(dim=(4, 6))
