"""A substance carried through the unit box and absorbed by its walls.

Letters: n samples, T times, d axes, m modes, N points along an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, frame_times, smoothness
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.advection_diffusion import AdvectionDiffusion
from monarch_sciml.solvers.random_series import evaluate_series, random_sine_series


@dataclass(frozen=True, kw_only=True)
class AdvectionDiffusionProblem(FieldProblem):
    """Generate a substance carried through the unit interval or square and absorbed by its walls.

    u_t + c·∇u = κ Δu, u = 0 on the walls; where the flow leaves, a layer of width κ / |c| forms.
    u(0) is a Gaussian random series of sines, covariance ∝ (−Δ + τ² I)^(−α), mean square 1.

    Parameters
    ----------
    velocity
        Velocity c in lengths per unit of time, with one component for the interval or two for the
        square.
    diffusivity
        Diffusivity κ, dimensionless, at least 10 |c| / `grid`².
    grid
        Gauss-Lobatto nodes along each axis to solve on.
    resolution
        Evenly spaced points to store along each axis, both walls included, at least 3. Sets of one
        seed show the same fields at every resolution.
    n_modes
        Sines of the initial concentration along each axis, at most half of `grid`.
    alpha
        Smoothness of the initial concentration, above half the number of axes for a continuous
        limit.
    tau
        Inverse length scale of the initial concentration.
    """

    name: ClassVar[str] = "advection_diffusion"
    equation: ClassVar[str] = "u_t + c·∇u = κ Δu in the unit box, u = 0 on the walls"
    usual_batch_size: ClassVar[int] = 10

    velocity: tuple[float, ...] = (1.0, 0.5)
    diffusivity: float = 1e-2
    grid: int = 128
    resolution: int = 64
    n_modes: int = 16
    alpha: float = 2.5
    tau: float = 7.0
    t_end: float = 0.5
    n_times: int = 11

    def __post_init__(self) -> None:
        self.layout(1)
        smoothness(self.alpha, self.tau)
        if 2 * positive_int("n_modes", self.n_modes) > self.grid:
            rule = f"`n_modes` must be at most half of `grid`, {self.grid}"
            raise ValueError(message(rule, self.n_modes, "Lower `n_modes`."))

    @cached_property
    def _solver(self) -> AdvectionDiffusion:
        return AdvectionDiffusion(self.grid, velocity=self.velocity, diffusivity=self.diffusivity)

    @property
    def _n_dims(self) -> int:
        return len(self._solver.velocity)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the concentration, walls included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=3),) * self._n_dims
        return box_layout("concentration", n_samples, shape, "dirichlet", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return velocity, diffusivity, initial concentration and grid."""
        modes = {"n_modes": [self.n_modes] * self._n_dims, "mean_square": 1.0}
        return {
            "velocity": list(self._solver.velocity),
            "diffusivity": self._solver.diffusivity,
            "initial": {**smoothness(self.alpha, self.tau), **modes},
            "grid": [self.grid] * self._n_dims,
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve at the nodes and evaluate the polynomial at the stored points."""
        solver, d = self._solver, self._n_dims
        options, modes = smoothness(self.alpha, self.tau), (self.n_modes,) * d
        initial = torch.stack(
            [random_sine_series(modes, rng=rng, **options) for rng in batch.rngs()]
        )
        times = frame_times(self.t_end, self.n_times)
        u, _ = solver.solve(evaluate_series(initial, [solver.points] * d), record_times=times[1:])
        stored = torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)
        to_stored = solver.interpolation(stored).T.contiguous()
        for _ in range(d):
            # (n, T − 1, N, ...) @ (N, resolution) along the last axis, which goes before the others
            u = (u @ to_stored).movedim(-1, 2)
        first = evaluate_series(initial, [stored] * d)
        # (n, T, *grid) -> (n, T, 1, *grid)
        return torch.cat([first[:, None], u], dim=1)[:, :, None]
