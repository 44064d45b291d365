"""A rod whose right end is heated and cooled, BOON's Neumann problem."""

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
from monarch_sciml.solvers.heat import heat_neumann


@dataclass(frozen=True, kw_only=True)
class HeatNeumannProblem(FieldProblem):
    """Generate trajectories of a rod whose right end is heated and cooled, BOON's heat problem.

    u_t = κ u_xx on [0, 1], u_x(0, t) = 0, u_x(1, t) = U sin(πt), u(x, 0) = cos(ωπx) with
    ω ~ U[2.01, 3.99]. Field: `temperature`; frame 0 is the initial state.

    Parameters
    ----------
    resolution
        Number of points of [0, 1], both ends included.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    diffusivity
        κ > 0.
    flux
        Amplitude U of the slope at the right end.
    lowest
        Smallest ω.
    highest
        Largest ω.

    Notes
    -----
    These values are BOON's: κ = 0.01, U = 5, the range of ω, 1024 points (every second one of
    2048), and 25 frames after the initial state up to t = 2. BOON's notebook states "t_M = 2" in
    its text and takes the last 25 of 200 times up to 0.5 in its code; the text is followed here.
    Unlike BOON's, the frames here are evenly spaced from 0 on, and the solution is the exact
    series. BOON's one-step problem is t_end 0.5, n_times 2, resolution 500 with the same U, and has
    500 samples to train and 100 to test.

    References
    ----------
    Saad et al., Guiding continuous operator learning through physics-based boundary constraints
    (BOON), ICLR 2023, and its examples_1d_multi_step.ipynb and examples_1d_single_step.ipynb.
    """

    name: ClassVar[str] = "heat_neumann"
    equation: ClassVar[str] = "u_t = κ u_xx, u_x(0) = 0, u_x(1) = U sin(πt), u(x, 0) = cos(ωπx)"

    resolution: int = 1024
    t_end: float = 2.0
    n_times: int = 26
    diffusivity: float = 0.01
    flux: float = 5.0
    lowest: float = 2.01
    highest: float = 3.99

    def __post_init__(self) -> None:
        self.layout(1)
        self.parameters()

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the temperature, ends included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=3),)
        return box_layout("temperature", n_samples, shape, "neumann", times=times)

    def parameters(self) -> dict[str, Any]:
        """Return diffusivity, flux and the range of ω."""
        return {
            "diffusivity": positive_number("diffusivity", self.diffusivity),
            "flux": finite_number("flux", self.flux),
            "frequency": list(interval(("lowest", "highest"), self.lowest, self.highest)),
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Evaluate the exact series."""
        frequency = batch.uniform(self.lowest, self.highest)
        x = torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)
        times = frame_times(self.t_end, self.n_times)
        fields, _ = heat_neumann(
            frequency,
            x,
            diffusivity=float(self.diffusivity),
            flux=float(self.flux),
            record_times=times,
        )
        return fields[:, :, None]  # (n, T, X) -> (n, T, 1, X)
