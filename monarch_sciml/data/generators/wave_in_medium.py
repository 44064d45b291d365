"""Data set of many waves in one fixed medium."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, check_medium, frame_times, smoothness
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.media import Medium
from monarch_sciml.solvers.random_series import (
    evaluate_periodic_series,
    evaluate_series,
    random_periodic_series,
    random_sine_series,
)
from monarch_sciml.solvers.wave_in_medium import DEGREE, Sides, WaveInMedium

NODES_A_WAVE = 16
"""Least number of nodes along the shortest wave of u(0)."""

_BOUNDARY = {"periodic": "periodic", "dirichlet": "dirichlet", "absorbing": "open"}


@dataclass(frozen=True, kw_only=True)
class WaveInMediumProblem(FieldProblem):
    """Generate waves in one fixed medium, the same for every sample.

    u_tt = ∇·(c² ∇u) − γ u³ in the unit interval or square, u_t(0) = 0; u(0) is a Gaussian random
    series, covariance ∝ (−Δ + τ² I)^(−α), mean square 1, of periodic waves or of sines; absorbing
    sides multiply it by sin² along each axis. Fields: `displacement` (u), `velocity` (u_t) and
    `medium` (c, the same in every sample and frame).

    Parameters
    ----------
    medium
        The speed c of the waves, in sides of the box per unit of time. It has a seed of its own.
    sides
        "periodic", "dirichlet" (u = 0), or "absorbing" (waves leave; stored as "open").
    cubic
        Strength γ of the non-linear spring. 0 makes the map linear.
    grid
        Nodes along each axis to solve on: a multiple of 4, for a layered medium of 4
        `medium.n_layers`; at least twice `resolution`, 16 for the shortest wave of u(0), and 2.5
        within the correlation length of a smooth medium.
    resolution
        Evenly spaced points to store along each axis. Periodic sides leave out the far side, the
        others include both. Sets of one seed show the same waves at every resolution.
    n_modes
        Largest wavenumber of u(0) along each axis: whole waves when periodic, else half waves.
    alpha
        Smoothness of u(0), above half the number of axes for a continuous limit.
    tau
        Inverse length scale of u(0).
    dt
        Largest time step; by default 0.9 of the largest stable one.

    Notes
    -----
    The waves are solved by spectral elements of degree 4 and evaluated at the stored points, so
    that no network shares the discretisation. The medium is the same at every resolution. The
    relative error is below 1e-3 for the default values (against 8 times the nodes in 1-D), and 1 to
    3 % for the least `grid` that is accepted.
    `PairModule` needs the names of the fields: input_fields ["displacement"] or ["displacement",
    "medium"], target_fields ["displacement"], input_frame 0, target_frame -1.
    """

    name: ClassVar[str] = "wave_in_medium"
    equation: ClassVar[str] = "u_tt = ∇·(c² ∇u) − γ u³ in the unit box, u_t = 0 at t = 0"
    usual_batch_size: ClassVar[int] = 10

    medium: Medium = field(default_factory=Medium)
    n_dims: int = 2
    sides: Sides = "periodic"
    cubic: float = 5.0
    grid: int = 128
    resolution: int = 64
    n_modes: int = 4
    alpha: float = 3.0
    tau: float = 7.0
    t_end: float = 0.5
    n_times: int = 2
    dt: float | None = None

    def __post_init__(self) -> None:
        one_of("n_dims", self.n_dims, (1, 2))
        positive_int("grid", self.grid)
        positive_int("n_modes", self.n_modes)
        positive_int("resolution", self.resolution, minimum=3)
        positive_number("cubic", self.cubic, or_zero=True)
        smoothness(self.alpha, self.tau)
        nodes = NODES_A_WAVE if self.sides == "periodic" else NODES_A_WAVE // 2
        if self.grid < 2 * self.resolution or self.grid < nodes * self.n_modes:
            least = max(2 * self.resolution, nodes * self.n_modes)
            rule = f"`grid` must be at least twice `resolution` and {nodes} times `n_modes`"
            raise ValueError(message(rule, self.grid, f"Take {least} or more."))
        if self.grid % DEGREE:
            rule, better = f"`grid` must be a multiple of {DEGREE}", -(-self.grid // DEGREE)
            raise ValueError(message(rule, self.grid, f"Take {better * DEGREE}."))
        check_medium(self.grid, self.grid // DEGREE, DEGREE, self.medium)
        self._solver.check_dt(self.dt)

    @cached_property
    def _times(self) -> tuple[float, ...]:
        return frame_times(self.t_end, self.n_times)

    @cached_property
    def _speed(self) -> Any:
        shape = (self.resolution,) * self.n_dims
        return self.medium.function(shape, periodic=self.sides == "periodic")

    @cached_property
    def _solver(self) -> WaveInMedium:
        options = {"n_dims": self.n_dims, "sides": self.sides, "cubic": self.cubic}
        return WaveInMedium(self.grid, self._speed, **options)

    @cached_property
    def _points(self) -> Tensor:
        """The stored points along an axis."""
        n, periodic = self.resolution, self.sides == "periodic"
        return torch.arange(n, dtype=torch.float64) / (n if periodic else n - 1)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of displacement, velocity and medium on the stored grid."""
        shape, names = (self.resolution,) * self.n_dims, "displacement velocity medium"
        options = {"times": self._times, "constant": ("medium",)}
        return box_layout(names, n_samples, shape, _BOUNDARY[self.sides], **options)

    def parameters(self) -> dict[str, Any]:
        """Return medium, sides, initial displacement and resolution of the solver."""
        return {
            "medium": self.medium.parameters((self.resolution,) * self.n_dims),
            "sides": self.sides,
            "cubic": float(self.cubic),
            "initial": {
                **smoothness(self.alpha, self.tau),
                "n_modes": [self.n_modes] * self.n_dims,
                **({"window": "sin²"} if self.sides == "absorbing" else {"mean_square": 1.0}),
            },
            "grid": [self.grid] * self.n_dims,
            "t_end": float(self.t_end),
            "dt": self.dt,
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve at the nodes of the elements and evaluate at the stored points."""
        solver, d = self._solver, self.n_dims
        initial = self._initial(batch, solver.points)
        waves, _ = solver.solve(
            initial, dt=self.dt, record_times=self._times, progress=batch.advance
        )
        to_stored = solver.interpolation(self._points).T.contiguous()
        for _ in range(d):
            # (n, T, 2, N, ...) @ (N, resolution) along the last axis, which goes before the others
            waves = (waves @ to_stored).movedim(-1, 3)
        medium = self._speed(*[self._points] * d)
        # (*grid) -> (n, T, 1, *grid)
        medium = medium.expand(*waves.shape[:2], 1, *medium.shape)
        return torch.cat([waves, medium], dim=2)

    def _initial(self, batch: Batch, points: Tensor) -> Tensor:
        """Draw u(0) at the nodes (n, N) or (n, N, N)."""
        modes, axes = (self.n_modes,) * self.n_dims, [points] * self.n_dims
        options = smoothness(self.alpha, self.tau)
        if self.sides == "periodic":
            drawn = [random_periodic_series(modes, rng=rng, **options) for rng in batch.rngs()]
            return evaluate_periodic_series(torch.stack(drawn), axes)
        drawn = [random_sine_series(modes, rng=rng, **options) for rng in batch.rngs()]
        values = evaluate_series(torch.stack(drawn), axes)
        if self.sides == "absorbing":
            window = torch.sin(math.pi * points).square()
            for axis in range(self.n_dims):
                values = values * window.view([-1] + [1] * axis)
        return values
