"""Two-dimensional diffusion and reaction of FitzHugh-Nagumo type between insulating walls.

Letters: B samples, T recorded times, H x W cells (axis -2 is x, axis -1 is y).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.solvers.stepping import progress_bar, record_schedule

Source = Callable[[Tensor, Tensor, float], Tensor] | None


class DiffusionReaction2d:
    """Integrate u_t = Du Δu + u − u³ − k − v, v_t = Dv Δv + u − v, without flux through the walls.

    This is PDEBench's problem. The solver uses cell-centred finite volumes of second order on
    [−L/2, L/2]², and in time scipy's Runge-Kutta pair of order 5(4), which chooses its steps by the
    tolerance.

    Parameters
    ----------
    n_cells
        Cells along each axis, at least 2.
    diffusivity
        Du and Dv ≥ 0, dimensionless.
    threshold
        k.
    domain_extent
        L.
    rtol
        Relative tolerance of a time step; the absolute one is a hundredth of it.
    source
        Function of the cell centres x (H, 1), y (1, W) and the time that returns a source (2, H, W)
        to add to (u_t, v_t). None is no source.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    PDEBench calls the same method with scipy's default tolerances, rtol 1e-3 and atol 1e-6. Steps
    are bounded by stability, about 3.3 h² / (8 max D) for cells of width h.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix D.3 (equations 8 and 9).

    Examples
    --------
    >>> solver = DiffusionReaction2d(16)
    >>> start = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> fields, times = solver.solve(start, t_end=1.0, n_record=2)
    >>> fields.shape
    torch.Size([1, 2, 2, 16, 16])
    """

    def __init__(
        self,
        n_cells: int,
        *,
        diffusivity: tuple[float, float] = (1e-3, 5e-3),
        threshold: float = 5e-3,
        domain_extent: float = 2.0,
        rtol: float = 1e-7,
        source: Source = None,
    ) -> None:
        self.n_cells = positive_int("n_cells", n_cells, minimum=2)
        if len(diffusivity) != 2 or not all(d >= 0 and np.isfinite(d) for d in diffusivity):
            rule = "`diffusivity` must be two numbers of at least 0"
            raise ValueError(message(rule, diffusivity, "Pass [1e-3, 5e-3], say."))
        if not np.isfinite(threshold):
            raise ValueError(message("`threshold` must be finite", threshold, "Pass 5e-3, say."))
        self.threshold, self.source = float(threshold), source
        self.rtol = positive_number("rtol", rtol)
        self.width = positive_number("domain_extent", domain_extent) / self.n_cells
        centres = self.width * (torch.arange(self.n_cells, dtype=torch.float64) + 0.5)
        self.points = centres - domain_extent / 2
        self._rates = np.array(diffusivity, dtype=np.float64)[:, None, None] / self.width**2

    def solve(
        self,
        initial: Tensor,
        *,
        t_end: float | None = None,
        n_record: int | None = None,
        record_times: Sequence[float] | None = None,
        progress: bool | Callable[[float], object] = False,
    ) -> tuple[Tensor, Tensor]:
        """Integrate from t = 0 and return both fields at the recorded times.

        Parameters
        ----------
        initial
            Cell means of u and v, (B, 2, H, W), dimensionless.
        t_end, n_record, record_times
            The arguments of `NavierStokes2d.solve`; a record time 0 gives `initial` itself.
        progress
            Whether to show a bar that counts samples, or a function that is called after each
            sample with the fraction of the work done by it.

        Returns
        -------
        fields
            Cell means (B, T, 2, H, W), float64.
        times
            Recorded times (T,), float64.

        Raises
        ------
        ValueError
            When `initial` has another shape or is not finite, the times do not increase, or the
            solution diverges.
        """
        times = record_schedule(t_end, n_record, record_times)
        cells = self.n_cells
        if initial.ndim != 4 or tuple(initial.shape[1:]) != (2, cells, cells):
            rule = f"`initial` must have shape (n_samples, 2, {cells}, {cells})"
            raise ValueError(message(rule, tuple(initial.shape), "Change `n_cells`."))
        states = finite("initial", initial.detach().cpu().double(), remedy="Check its source.")
        with progress_bar(len(states), progress, name="Diffusion-reaction") as tick:
            solved = []
            for state in states.numpy():
                solved.append(torch.from_numpy(self._trajectory(state, times)))
                tick()
        return torch.stack(solved), torch.tensor(times, dtype=torch.float64)

    def _trajectory(self, state: NDArray[Any], times: Sequence[float]) -> NDArray[Any]:
        """Return the fields (T, 2, H, W) that follow from one initial state (2, H, W)."""
        from scipy.integrate import solve_ivp

        if not times[-1]:
            return state[None].copy()
        result = solve_ivp(
            self._slope(),
            (0.0, times[-1]),
            state.ravel(),
            method="RK45",
            t_eval=times,
            rtol=self.rtol,
            atol=self.rtol / 100,
        )
        if not result.success:
            raise _diverged(f"'{result.message}'")
        # (2 H W, T) -> (T, 2, H, W)
        return np.ascontiguousarray(result.y.T).reshape(-1, *state.shape)

    def _slope(self) -> Callable[[float, NDArray[Any]], NDArray[Any]]:
        """Return the right-hand side, a function of the time and both fields in a row."""
        shape = (2, self.n_cells, self.n_cells)
        rates, threshold = self._rates, self.threshold
        x, y = self.points[:, None], self.points[None, :]

        def slope(time: float, flat: NDArray[Any]) -> NDArray[Any]:
            state = flat.reshape(shape)
            # flux through the faces between neighbours, none through the walls
            new = np.zeros(shape)
            flux = np.diff(state, axis=1)
            new[:, :-1] += flux
            new[:, 1:] -= flux
            flux = np.diff(state, axis=2)
            new[:, :, :-1] += flux
            new[:, :, 1:] -= flux
            new *= rates
            u, v = state
            new[0] += u - u * u * u - threshold - v
            new[1] += u - v
            if self.source is not None:
                new += self.source(x, y, time).numpy()
            if not np.isfinite(new).all():  # else scipy would try ever smaller steps
                raise _diverged(f"NaN or infinity at t = {time:.4g}")
            return new.ravel()

        return slope


def _diverged(got: str) -> ValueError:
    return ValueError(message("the solution must stay finite", got, "Choose other parameters."))
