"""Viscous Burgers' equation, periodic (FNO paper) and between walls (SPFNO paper).

Letters: n samples, m modes, T times, N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, divisor, frame_times
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.burgers import BurgersNeumann, BurgersPeriodic
from monarch_sciml.solvers.random_series import evaluate_series

SIGMA, TAU = 25.0, 5.0
"""Amplitude and inverse length scale of the initial velocity, N(0, σ² (−Δ + τ² I)^(−2))."""


@dataclass(frozen=True, kw_only=True)
class BurgersPeriodicProblem(FieldProblem):
    """Generate solutions of Burgers' equation on the unit torus, the FNO paper's first problem.

    u_t + (u²/2)_x = ν u_xx, u(0) ~ N(0, 625 (−Δ + 25 I)^(−2)) with zero mean: the sum of
    √2 · 25 / ((2πk)² + 25) (ξ cos 2πkx + η sin 2πkx), ξ and η ~ N(0, 1), over k = 1 to `n_modes`.

    Parameters
    ----------
    viscosity
        ν, dimensionless. The paper's text says 0.1, which leaves 1 % of the initial velocity at
        t = 1; its published files have 1e-3.
    grid
        Number of points to solve on. Below ν = 0.01 take at least 1 / ν.
    resolution
        Number of points to store, a divisor of `grid`. None stores all.
    n_modes
        Number of waves of the initial velocity, fewer than half of `grid`. The initial velocity is
        the same function on every grid.

    Notes
    -----
    The mean is zero as in the authors' generator (the measure in the paper has a random mean, which
    would only translate the solution). The solver is `BurgersPeriodic`. For the default values the
    relative error at t = 1 is below 1e-8 (twenty samples against an eighth of the step on four
    times the points).

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section 5.1 and A.3.1.
    """

    name: ClassVar[str] = "burgers_periodic"
    equation: ClassVar[str] = "u_t + (u²/2)_x = ν u_xx on the unit torus"
    usual_batch_size: ClassVar[int] = 50

    viscosity: float = 0.01
    grid: int = 1024
    resolution: int | None = None
    n_modes: int = 256
    t_end: float = 1.0
    n_times: int = 2
    dt: float = 2e-3

    def __post_init__(self) -> None:
        self.layout(1)
        positive_number("dt", self.dt)
        if 2 * positive_int("n_modes", self.n_modes) >= self._solver.points.numel():
            rule = f"`n_modes` must be below half of `grid`, {self.grid}"
            raise ValueError(message(rule, self.n_modes, "Lower `n_modes`."))

    @cached_property
    def _solver(self) -> BurgersPeriodic:
        return BurgersPeriodic(self.grid, viscosity=self.viscosity)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the velocity."""
        times = frame_times(self.t_end, self.n_times)
        shape = (divisor(self.resolution, len(self._solver.points)),)
        return box_layout("u", n_samples, shape, "periodic", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return viscosity, initial velocity, grid and steps."""
        modes = {"mean": 0.0, "n_modes": self.n_modes}
        return {
            "viscosity": float(self.viscosity),
            "initial": {"sigma": SIGMA, "tau": TAU, "alpha": 2.0, **modes},
            "grid": [self.grid],
            "t_end": float(self.t_end),
            "dt": float(self.dt),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve from a random series of cosines and sines."""
        modes = torch.arange(1, self.n_modes + 1, dtype=torch.float64)
        deviation = math.sqrt(2) * SIGMA / ((2 * math.pi * modes) ** 2 + TAU**2)
        noise = [torch.from_numpy(rng.standard_normal((len(modes), 2))) for rng in batch.rngs()]
        # n of (m, 2) -> (2, n, m)
        cosines, sines = deviation * torch.stack(noise).movedim(2, 0)
        points = [2 * self._solver.points]
        u0 = evaluate_series(cosines, points, kind="cosine") + evaluate_series(sines, points)
        times = self.layout(1).times
        u, _ = self._solver.solve(u0, dt=self.dt, record_times=times, progress=batch.advance)
        # (n, T, grid) -> (n, T, 1, resolution)
        return u[:, :, None, :: self.grid // divisor(self.resolution, self.grid)]


@dataclass(frozen=True, kw_only=True)
class BurgersNeumannProblem(FieldProblem):
    """Generate solutions of Burgers' equation between insulating walls, the SPFNO paper's problem.

    u_t + (u²/2)_x = ν u_xx on [−1, 1], u_x(±1) = 0, with the initial velocity
    Σ 25 / ((nπ)² + 25) ξ_n cos(nπ(x + 1)/2), ξ_n ~ N(0, 1), n = 1 to `n_modes`.

    Parameters
    ----------
    viscosity
        ν, dimensionless; 0.1/π in the paper.
    grid
        Number of Gauss-Lobatto nodes to solve on. ν = 0.003 needs 512.
    resolution
        Evenly spaced points to store, both walls included, at least 2 (the paper: 4097 and
        fewer); the polynomial is evaluated there.
    n_modes
        Cosines of the initial velocity, at most half of `grid`.
    whole_waves
        Whether to take cos(nπ(x + 1)), n = 1 to `n_modes` / 2, as the formula is printed in the
        paper, which makes fields symmetric about x = 0. The published data were drawn from half
        waves.

    Notes
    -----
    Solved by `BurgersNeumann`; for the default values the relative error at t = 1 is below 5e-7
    (twenty samples against an eighth of the step on half as many points more). Half waves: the
    authors' generator (data_generation/burgers-neumann of spectral_operator_learning) draws a field
    on [0, 1] whose coordinate is (x + 1)/2.

    References
    ----------
    Liu et al., SPFNO, arXiv 2312.06980; Liu et al., OPNO, arXiv 2206.12698, section 4.1.
    """

    name: ClassVar[str] = "burgers_neumann"
    equation: ClassVar[str] = "u_t + (u²/2)_x = ν u_xx on [−1, 1], u_x = 0 at the ends"
    usual_n_samples: ClassVar[int] = 1100
    usual_batch_size: ClassVar[int] = 50

    viscosity: float = 0.1 / math.pi
    grid: int = 256
    resolution: int = 256
    n_modes: int = 128
    whole_waves: bool = False
    t_end: float = 1.0
    n_times: int = 2
    dt: float = 2e-3

    def __post_init__(self) -> None:
        self.layout(1)
        positive_number("dt", self.dt)
        if 2 * positive_int("n_modes", self.n_modes, minimum=2) > len(self._solver.points):
            rule = f"`n_modes` must be at most half of `grid`, {self.grid}"
            raise ValueError(message(rule, self.n_modes, "Lower `n_modes`."))

    @cached_property
    def _solver(self) -> BurgersNeumann:
        return BurgersNeumann(self.grid, viscosity=self.viscosity)

    @cached_property
    def _stored(self) -> Tensor:
        return torch.linspace(-1.0, 1.0, self.resolution, dtype=torch.float64)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the velocity, walls included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=2),)
        return box_layout("u", n_samples, shape, "neumann", times=times, extent=2.0)

    def coordinates(self) -> list[np.ndarray]:
        """Return the stored points of [−1, 1]."""
        return [self._stored.numpy()]

    def parameters(self) -> dict[str, Any]:
        """Return viscosity, initial velocity, grid and steps."""
        modes = {"n_modes": self.n_modes, "whole_waves": self.whole_waves}
        return {
            "viscosity": float(self.viscosity),
            "initial": {"sigma": SIGMA, "tau": TAU, **modes},
            "grid": [self.grid],
            "t_end": float(self.t_end),
            "dt": float(self.dt),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve at the nodes and evaluate the polynomial at the stored points."""
        solver, times = self._solver, frame_times(self.t_end, self.n_times)
        coefficients = self._coefficients(batch)
        initial, first = (
            evaluate_series(coefficients, [(points + 1) / 2], kind="cosine")
            for points in (solver.points, self._stored)
        )
        u, _ = solver.solve(initial, dt=self.dt, record_times=times[1:], progress=batch.advance)
        to_stored = solver.interpolation(self._stored).T.contiguous()
        # (n, T − 1, grid) -> (n, T, resolution) -> (n, T, 1, resolution)
        return torch.cat([first[:, None], u @ to_stored], dim=1)[:, :, None]

    def _coefficients(self, batch: Batch) -> Tensor:
        """Draw the cosines (n, m) of the initial velocity."""
        stride = 2 if self.whole_waves else 1  # whole waves are every second half wave
        waves = torch.arange(1, self.n_modes // stride + 1, dtype=torch.float64)
        deviation = SIGMA / ((math.pi * waves) ** 2 + TAU**2)
        coefficients = torch.zeros(len(batch.samples), self.n_modes, dtype=torch.float64)
        for row, rng in zip(coefficients, batch.rngs(), strict=True):
            noise = torch.from_numpy(rng.standard_normal(len(waves)))
            row[stride - 1 :: stride][: len(waves)] = deviation * noise
        return coefficients
