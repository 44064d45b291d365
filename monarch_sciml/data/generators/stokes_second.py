"""Data set of Stokes' second problem: a fluid above an oscillating plate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from monarch_sciml._checks import positive_number
from monarch_sciml.data.generators.driven_end import DrivenEndProblem
from monarch_sciml.data.generators.options import finite_number
from monarch_sciml.solvers.stokes import stokes_second


@dataclass(frozen=True, kw_only=True)
class StokesSecondProblem(DrivenEndProblem):
    """Generate trajectories of the fluid above an oscillating wall, BOON's Dirichlet problem.

    U_t = ν U_yy on [0, 1], U(0, t) = U0 cos(ωt), the exact solution U0 exp(−ky) cos(ky − ωt),
    k = √(ω / 2ν), with ω ~ U[3, 4]. Field: `velocity`; frame 0 is the initial state.

    Parameters
    ----------
    viscosity
        Viscosity ν. BOON's files also have smaller ones.
    amplitude
        Largest velocity U0 of the wall.

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
    field: ClassVar[str] = "velocity"
    boundary: ClassVar[str] = "dirichlet"

    resolution: int = 500
    t_end: float = 1.2
    n_times: int = 26
    viscosity: float = 0.1
    amplitude: float = 2.0
    lowest: float = 3.0
    highest: float = 4.0

    def constants(self) -> dict[str, float]:
        """Return viscosity and amplitude."""
        return {
            "viscosity": positive_number("viscosity", self.viscosity),
            "amplitude": finite_number("amplitude", self.amplitude),
        }

    def exact(self, frequency: Tensor, x: Tensor, times: Sequence[float]) -> Tensor:
        """Evaluate the exact solution."""
        viscosity, amplitude = self.constants().values()
        return stokes_second(
            frequency, x, viscosity=viscosity, amplitude=amplitude, record_times=times
        )[0]
