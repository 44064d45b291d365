"""Forced two-dimensional turbulence on the torus, the FNO paper's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number, present_device
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, divisor
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.navier_stokes import NavierStokes2d
from monarch_sciml.solvers.random_fields import gaussian_random_field

ALPHA, TAU = 2.5, 7.0
"""Smoothness and inverse length scale of the initial vorticity."""


@dataclass(frozen=True, kw_only=True)
class NavierStokesProblem(FieldProblem):
    """Generate trajectories of forced two-dimensional turbulence, the FNO paper's problem.

    Each trajectory starts from its own Gaussian random field (α 2.5, τ 7) and is solved by
    `NavierStokes2d` with the FNO paper's forcing. After an interruption the same call continues
    where it stopped and makes the same file.

    Parameters
    ----------
    viscosity
        ν, dimensionless. The paper's sets: 1e-3 with t_end 50, 1e-4 with 30, 1e-5 with 20; for the
        last two solve on a grid of 128 to 256 and store 64.
    grid
        Points along each axis to solve on.
    resolution
        Points along each axis to store, a divisor of `grid`; None stores all.
    n_times
        Number of evenly spaced frames up to the last time, without the initial field. None takes
        one frame per unit of time.
    dt
        Largest time step of the solver. 1e-2 is right for ν = 1e-3 on 64 points; for 1e-4 and 1e-5
        take 2.5e-3 on 128 points, 1.25e-3 on 256.
    device
        Device on which to solve, "cpu" or "cuda".
    """

    name: ClassVar[str] = "navier_stokes"
    equation: ClassVar[str] = "w_t + u·∇w = ν Δw + f on the unit torus"

    viscosity: float = 1e-3
    grid: int = 64
    resolution: int | None = None
    t_end: float = 20.0
    n_times: int | None = None
    dt: float = 1e-2
    device: str = "cpu"

    def __post_init__(self) -> None:
        positive_int("grid", self.grid, minimum=4)
        divisor(self.resolution, self.grid)
        for name in ("t_end", "dt"):
            positive_number(name, getattr(self, name))
        if self.n_times is not None:
            positive_int("n_times", self.n_times)
        present_device(self.device)
        self._solver(torch.float32)

    def _solver(self, dtype: torch.dtype) -> NavierStokes2d:
        shape = (self.grid, self.grid)
        options = {"viscosity": self.viscosity, "dtype": dtype, "device": self.device}
        return NavierStokes2d(shape, **options)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the vorticity; the initial one is not among them."""
        n_times = self.n_times or max(1, int(self.t_end))
        times = tuple(self.t_end * (i + 1) / n_times for i in range(n_times))
        shape = (divisor(self.resolution, self.grid),) * 2
        return box_layout("vorticity", n_samples, shape, "periodic", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return viscosity, forcing, initial field, grid and steps."""
        return {
            "viscosity": float(self.viscosity),
            "forcing": "0.1 (sin 2π(x + y) + cos 2π(x + y))",
            "initial": {"alpha": ALPHA, "tau": TAU, "sigma": TAU ** (ALPHA - 1)},
            "grid": [self.grid, self.grid],
            "t_end": float(self.t_end),
            "dt": float(self.dt),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve from random fields in the type of the stored values."""
        w0 = self.initial(batch)
        times = self.layout(1).times
        solver = self._solver(batch.dtype)
        w, _ = solver.solve(w0, dt=self.dt, record_times=times, progress=batch.advance)
        step = self.grid // divisor(self.resolution, self.grid)
        # (n, T, grid, grid) -> (n, T, 1, resolution, resolution)
        return w[:, :, None, ::step, ::step]

    def initial(self, batch: Batch) -> Tensor:
        """Draw the initial vorticity (n, grid, grid) of a batch, in the dtype that is stored."""
        shape, field = (self.grid, self.grid), {"alpha": ALPHA, "tau": TAU, "dtype": torch.float64}
        drawn = [
            gaussian_random_field(1, shape, generator=generator, **field)
            for generator in batch.generators()
        ]
        return torch.cat(drawn).to(batch.dtype)
