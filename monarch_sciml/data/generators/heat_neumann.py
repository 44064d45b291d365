"""A rod whose right end is heated and cooled, BOON's Neumann problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from monarch_sciml._checks import positive_number
from monarch_sciml.data.generators.driven_end import DrivenEndProblem
from monarch_sciml.data.generators.options import finite_number
from monarch_sciml.solvers.heat import heat_neumann


@dataclass(frozen=True, kw_only=True)
class HeatNeumannProblem(DrivenEndProblem):
    """Generate trajectories of a rod whose right end is heated and cooled, BOON's heat problem.

    u_t = κ u_xx on [0, 1], u_x(0, t) = 0, u_x(1, t) = U sin(πt), u(x, 0) = cos(ωπx) with
    ω ~ U[2.01, 3.99]. Field: `temperature`; frame 0 is the initial state.

    Parameters
    ----------
    diffusivity
        κ > 0.
    flux
        Amplitude U of the slope at the right end.

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
    field: ClassVar[str] = "temperature"
    boundary: ClassVar[str] = "neumann"

    resolution: int = 1024
    t_end: float = 2.0
    n_times: int = 26
    diffusivity: float = 0.01
    flux: float = 5.0
    lowest: float = 2.01
    highest: float = 3.99

    def constants(self) -> dict[str, float]:
        """Return diffusivity and flux."""
        return {
            "diffusivity": positive_number("diffusivity", self.diffusivity),
            "flux": finite_number("flux", self.flux),
        }

    def exact(self, frequency: Tensor, x: Tensor, times: Sequence[float]) -> Tensor:
        """Evaluate the exact series."""
        diffusivity, flux = self.constants().values()
        return heat_neumann(frequency, x, diffusivity=diffusivity, flux=flux, record_times=times)[0]
