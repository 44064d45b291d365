"""Advection and diffusion with absorbing walls in one or two dimensions.

Letters: B samples, T recorded times, N nodes along each of d axes, I = N − 2 inner ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.solvers.legendre import differentiation, gauss_lobatto, interpolation
from monarch_sciml.solvers.stepping import record_schedule

_RESOLVED = 10  # least N² κ / |c| that resolves the boundary layers


class AdvectionDiffusion:
    """Integrate u_t + c·∇u = κ Δu in the unit interval or square, u = 0 on the walls.

    The solver uses Legendre collocation in space and the matrix exponential in time, so there is no
    time step: in two dimensions u(t) = E_x(t) u(0) E_y(t)ᵀ exactly. At the walls where the flow
    leaves, u falls to zero within a layer of width κ / |c|, where the nodes are dense.

    Parameters
    ----------
    n_points
        Nodes along each axis, at least 4.
    velocity
        Velocity c, one component for each axis, in lengths of the box per unit of time.
    diffusivity
        Diffusivity κ > 0, dimensionless.

    Raises
    ------
    ValueError
        When there are no or more than two axes, an argument is out of range, or the nodes do not
        resolve the layers: |c| / κ must not exceed N² / 10 (the relative error is then 1e-5, and
        below 1e-8 with N² / 20).

    References
    ----------
    Canuto et al., Spectral Methods, Springer 2006, sections 3.3 and 7.2 (boundary layers).

    Examples
    --------
    >>> solver = AdvectionDiffusion(64, velocity=(1.0,), diffusivity=1e-2)
    >>> u0 = torch.sin(torch.pi * solver.points)[None]
    >>> u, times = solver.solve(u0, t_end=0.5, n_record=2)
    >>> u.shape
    torch.Size([1, 2, 64])
    """

    def __init__(self, n_points: int, *, velocity: Sequence[float], diffusivity: float) -> None:
        self.n_points = positive_int("n_points", n_points, minimum=4)
        self.velocity = tuple(float(c) for c in velocity)
        self.diffusivity = positive_number("diffusivity", diffusivity)
        if not 1 <= len(self.velocity) <= 2 or not np.isfinite(self.velocity).all():
            rule = "`velocity` must have one or two finite components"
            raise ValueError(message(rule, list(self.velocity), "Pass [1.0, 0.5], say."))
        fastest = max(abs(c) for c in self.velocity)
        if _RESOLVED * fastest > self.diffusivity * self.n_points**2:
            rule = f"the {n_points} nodes must resolve layers of width κ / |c|"
            needed = int(np.ceil(np.sqrt(_RESOLVED * fastest / self.diffusivity)))
            got = f"{self.diffusivity / fastest:.3g}"
            raise ValueError(message(rule, got, f"Take {needed} nodes, or a larger diffusivity."))
        self._nodes, _ = gauss_lobatto(self.n_points, 0.0, 1.0)
        self.points = torch.from_numpy(self._nodes)
        derivative = differentiation(self._nodes)
        second = derivative @ derivative
        self._generators = [
            (self.diffusivity * second - c * derivative)[1:-1, 1:-1] for c in self.velocity
        ]

    def interpolation(self, points: Tensor) -> Tensor:
        """Return the matrix (M, N) from values at the nodes to values at points in [0, 1]."""
        return torch.from_numpy(interpolation(self._nodes, points.double().numpy()))

    def solve(
        self,
        u0: Tensor,
        *,
        t_end: float | None = None,
        n_record: int | None = None,
        record_times: Sequence[float] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Integrate from t = 0 and return the concentration at the recorded times.

        Parameters
        ----------
        u0
            Initial concentration (B, N) or (B, N, N) at the nodes. It should be zero at the walls,
            where the solution is zero for t > 0.
        t_end, n_record, record_times
            The arguments of `NavierStokes2d.solve`.

        Returns
        -------
        trajectories
            Concentration (B, T, N) or (B, T, N, N), float64.
        times
            Recorded times (T,), float64.

        Raises
        ------
        ValueError
            When `u0` has another shape or is not finite, or the times do not increase.
        """
        from scipy.linalg import expm

        times = record_schedule(t_end, n_record, record_times)
        if tuple(u0.shape[1:]) != (self.n_points,) * len(self.velocity):
            shape = ", ".join(["n_samples"] + [str(self.n_points)] * len(self.velocity))
            rule = f"`u0` must have shape ({shape})"
            raise ValueError(message(rule, tuple(u0.shape), "Evaluate it at the solver's nodes."))
        state = finite("u0", u0.detach().to("cpu", torch.float64), remedy="Check its source.")
        frames, now, step, factors = [], 0.0, 0.0, []
        for time in times:
            if time > now:
                if abs(time - now - step) > 1e-12 * time:
                    step = time - now
                    factors = [torch.from_numpy(expm(step * g)) for g in self._generators]
                state, now = _propagated(state, factors), time
            frames.append(state)
        # T frames of (B, *grid) -> (B, T, *grid)
        return torch.stack(frames, dim=1), torch.tensor(times, dtype=torch.float64)


def _propagated(state: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Apply the exponentials (I, I), one an axis, to the inner values of the state (B, *grid)."""
    new = torch.zeros_like(state)
    if len(factors) == 1:
        new[:, 1:-1] = state[:, 1:-1] @ factors[0].T
    else:
        new[:, 1:-1, 1:-1] = factors[0] @ state[:, 1:-1, 1:-1] @ factors[1].T
    return new
