"""Data set of the wave equation in a box with walls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, frame_times, smoothness
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.random_series import random_sine_series
from monarch_sciml.solvers.wave import solve_wave


@dataclass(frozen=True, kw_only=True)
class WaveProblem(FieldProblem):
    """Generate waves on the unit square with zero displacement at the walls.

    u_tt = c² Δu, u = 0 on the walls, u_t(0) = 0; u(0) is a Gaussian random series of sines,
    covariance ∝ (−Δ + τ² I)^(−α), mean square 1. The solution is the exact series.

    Parameters
    ----------
    speed
        Speed c in sides of the square per unit of time.
    resolution
        Evenly spaced points to store along each axis, both walls included, at least 3. Sets of one
        seed show the same waves at every resolution.
    n_modes
        Number of sines of the initial displacement along each axis.
    alpha
        Smoothness of the initial displacement, above 1 for a continuous limit.
    tau
        Inverse length scale of the initial displacement.
    """

    name: ClassVar[str] = "wave"
    equation: ClassVar[str] = (
        "u_tt = c² Δu in the unit square, u = 0 on the walls, u_t = 0 at t = 0"
    )
    usual_batch_size: ClassVar[int] = 10

    speed: float = 1.0
    resolution: int = 64
    n_modes: int = 32
    alpha: float = 3.0
    tau: float = 7.0
    t_end: float = 2.0
    n_times: int = 41

    def __post_init__(self) -> None:
        self.layout(1)
        positive_number("speed", self.speed)
        positive_int("n_modes", self.n_modes)
        smoothness(self.alpha, self.tau)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of displacement and velocity, walls included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=3),) * 2
        return box_layout("displacement velocity", n_samples, shape, "dirichlet", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return speed and initial displacement."""
        modes = {"n_modes": [self.n_modes] * 2, "mean_square": 1.0}
        return {
            "speed": float(self.speed),
            "initial": {**smoothness(self.alpha, self.tau), **modes},
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Evaluate the exact series."""
        options = smoothness(self.alpha, self.tau)
        initial = torch.stack(
            [random_sine_series((self.n_modes,) * 2, rng=rng, **options) for rng in batch.rngs()]
        )
        points = [torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)] * 2
        times = frame_times(self.t_end, self.n_times)
        return solve_wave(initial, points, speed=float(self.speed), record_times=times)[0]
