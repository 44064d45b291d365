"""Data set of Stokes' second problem: a fluid above an oscillating plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import (
    box_layout,
    finite_number,
    frame_times,
    interval,
)
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.stokes import stokes_second


@dataclass(frozen=True, kw_only=True)
class StokesSecondProblem(FieldProblem):
    """Generate trajectories of the fluid above an oscillating wall, BOON's Dirichlet problem.

    U_t = ν U_yy on [0, 1], U(0, t) = U0 cos(ωt), the exact solution U0 exp(−ky) cos(ky − ωt),
    k = √(ω / 2ν), with ω ~ U[3, 4]. Field: `velocity`; frame 0 is the initial state.

    Parameters
    ----------
    resolution
        Number of points of [0, 1], including the wall.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    viscosity
        Viscosity ν. BOON's files also have smaller ones.
    amplitude
        Largest velocity U0 of the wall.
    lowest
        Smallest ω.
    highest
        Largest ω.

    Notes
    -----
    The equation and its solution, ν = 0.1, 500 points, and 25 frames after the initial state up to
    t = 1.2 are BOON's. BOON's public notebook does not state U0 and the range of ω; the values
    here, and evenly spaced frames from 0 on, were chosen for this package. The value at y = 1 is
    that of the exact solution too.

    References
    ----------
    Saad et al., Guiding continuous operator learning through physics-based boundary constraints
    (BOON), ICLR 2023, and its examples_1d_multi_step.ipynb.
    """

    name: ClassVar[str] = "stokes_second"
    equation: ClassVar[str] = "U_t = ν U_yy, U = U0 exp(−ky) cos(ky − ωt), k = √(ω / 2ν)"

    resolution: int = 500
    t_end: float = 1.2
    n_times: int = 26
    viscosity: float = 0.1
    amplitude: float = 2.0
    lowest: float = 3.0
    highest: float = 4.0

    def __post_init__(self) -> None:
        self.layout(1)
        self.parameters()

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the velocity, the plate included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=3),)
        return box_layout("velocity", n_samples, shape, "dirichlet", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return viscosity, amplitude and the range of ω."""
        return {
            "viscosity": positive_number("viscosity", self.viscosity),
            "amplitude": finite_number("amplitude", self.amplitude),
            "frequency": list(interval(("lowest", "highest"), self.lowest, self.highest)),
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Evaluate the exact solution."""
        frequency = batch.uniform(self.lowest, self.highest)
        y = torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)
        times = frame_times(self.t_end, self.n_times)
        fields, _ = stokes_second(
            frequency,
            y,
            viscosity=float(self.viscosity),
            amplitude=float(self.amplitude),
            record_times=times,
        )
        return fields[:, :, None]  # (n, T, Y) -> (n, T, 1, Y)
