"""The shallow-water equations over a fixed floor between walls, by finite volumes.

Letters: B samples, T recorded times, N cells along each of d axes; h depth, q = h u discharge, z
floor, w = h + z surface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, one_of, positive_int, positive_number
from monarch_sciml.solvers.legendre import Array
from monarch_sciml.solvers.stepping import check_finite, progress_bar, record_schedule

_COURANT = 0.45
_DRY = 1e-8  # share of the largest depth below which water stands still


class ShallowWater:
    """Integrate the shallow-water equations in the unit interval or square between walls.

    h_t + ∇·(h u) = 0, (h u)_t + ∇·(h u ⊗ u + g h² I / 2) = −g h ∇z, u·n = 0 on the walls. The
    solver uses finite volumes with the hydrostatic reconstruction: a lake at rest stays at rest,
    the depth stays positive or zero, and the volume of the water is conserved. Slopes are limited
    by minmod, the flux is HLLC, and each step consists of two stages of Heun's method.

    Parameters
    ----------
    floor
        Height z of the floor at the centres of the cells, (N,) or (N, N), in units of length.
    gravity
        g, positive.

    Raises
    ------
    ValueError
        When the floor is not square, has fewer than 4 cells, or is not finite, or g is not
        positive.

    Notes
    -----
    The order is 2 for smooth solutions and 1 at bores and shores. Every sample has its own time
    steps, so that it does not depend on the other samples of its batch.

    References
    ----------
    Audusse, Bouchut, Bristeau, Klein and Perthame, SIAM Journal on Scientific Computing 25 (2004),
    equations 2.9 to 2.16 and 3.1 to 3.9; Toro, Shock-Capturing Methods for Free-Surface Shallow
    Flows, Wiley 2001, section 10.4 (flux).

    Examples
    --------
    >>> solver = ShallowWater(torch.zeros(64), gravity=1.0)
    >>> depth = 1 + 0.1 * torch.cos(torch.pi * solver.points)
    >>> fields, times = solver.solve(depth[None], t_end=0.5)
    >>> fields.shape  # depth and discharge
    torch.Size([1, 1, 2, 64])
    """

    def __init__(self, floor: Tensor, *, gravity: float = 1.0) -> None:
        self.n_dims: int = one_of("the number of axes of `floor`", floor.ndim, (1, 2))
        self.n_cells = positive_int("n_cells", floor.shape[0], minimum=4)
        if floor.shape[-1] != self.n_cells:
            rule = "`floor` must have as many cells along either axis"
            raise ValueError(message(rule, tuple(floor.shape), "Pass a square."))
        self.gravity = positive_number("gravity", gravity)
        self._floor = finite("floor", floor.double(), remedy="Check its source.").numpy()
        self.points = (torch.arange(self.n_cells, dtype=torch.float64) + 0.5) / self.n_cells

    def solve(
        self,
        depth: Tensor,
        discharge: Tensor | None = None,
        *,
        t_end: float | None = None,
        n_record: int | None = None,
        record_times: Sequence[float] | None = None,
        progress: bool | Callable[[float], object] = False,
    ) -> tuple[Tensor, Tensor]:
        """Integrate from t = 0 and return depth and discharge at the recorded times.

        Parameters
        ----------
        depth
            Initial depth h ≥ 0 in the cells, (B, N) or (B, N, N), in units of length.
        discharge
            Initial discharge (B, d, N) or (B, d, N, N). None is water at rest.
        t_end, n_record, record_times
            The arguments of `NavierStokes2d.solve` with the same meaning.
        progress
            Whether to show a bar that counts recorded times, or a function that is called after
            each of them with the fraction of the work done by it.

        Returns
        -------
        fields
            Depth and the d components of the discharge (B, T, 1 + d, N) or (B, T, 1 + d, N, N),
            float64.
        times
            Recorded times (T,), float64.

        Raises
        ------
        ValueError
            When a shape does not fit, the depth is negative somewhere, a value is not finite, the
            times do not increase, or the solution does not stay finite.
        """
        times = record_schedule(t_end, n_record, record_times)
        state, frames, now = self._start(depth, discharge), [], 0.0
        quiet = np.errstate(over="ignore", invalid="ignore")  # `check_finite` says it
        with quiet, progress_bar(len(times), progress, name="Shallow water") as advance:
            for time in times:
                state = self._until(state, time - now)
                now = time
                # (1 + d, B, *grid) -> (B, 1 + d, *grid)
                frames.append(torch.from_numpy(state).transpose(0, 1).clone())
                check_finite(frames[-1], time, None)
                advance()
        return torch.stack(frames, dim=1), torch.tensor(times, dtype=torch.float64)

    def _start(self, depth: Tensor, discharge: Tensor | None) -> Array:
        """Check the initial fields and return them as one array (1 + d, B, *grid)."""
        grid, n_samples = self._floor.shape, len(depth)
        if discharge is None:
            discharge = torch.zeros(n_samples, self.n_dims, *grid, dtype=torch.float64)
        given = {"depth": (depth, grid), "discharge": (discharge, (self.n_dims, *grid))}
        for name, (field, shape) in given.items():
            if tuple(field.shape) != (n_samples, *shape):
                rule = f"`{name}` must have shape ({', '.join(map(str, ('n_samples', *shape)))})"
                raise ValueError(message(rule, tuple(field.shape), "Pass values in the cells."))
            finite(name, field, remedy="Check its source.")
        if bool((depth < 0).any()):
            rule = "`depth` must not be negative"
            raise ValueError(message(rule, float(depth.min()), "Cut it off at 0."))
        both = torch.cat([depth[:, None].double(), discharge.double()], dim=1)
        return np.ascontiguousarray(both.transpose(0, 1).numpy())

    def _until(self, state: Array, duration: float) -> Array:
        """Advance every sample by `duration` in its own time steps."""
        left = np.full(state.shape[1], duration)
        while (left > 0).any():
            dt = np.minimum(left, _COURANT / (self.n_cells * self._fastest(state)))
            dt = np.where(left - dt < 1e-12 * duration, left, dt)
            step = dt.reshape(-1, *[1] * self.n_dims)
            first = state + step * self._rate(state)
            second = first + step * self._rate(first)
            state = np.where(step > 0, (state + second) / 2, state)
            left = left - dt
        return state

    def _fastest(self, state: Array) -> Array:
        """Return the sum over the axes of the largest |u| + √(g h) of each sample, (B,)."""
        depth, velocity = self._primitive(state)
        waves = np.sqrt(self.gravity * depth)
        axes = tuple(range(1, depth.ndim))
        fastest = sum((np.abs(u) + waves).max(axis=axes) for u in velocity)
        return np.maximum(fastest, np.finfo(float).tiny)

    def _primitive(self, state: Array) -> tuple[Array, Array]:
        """Return depth (B, *grid) and velocity (d, B, *grid), zero where it is dry."""
        depth = np.maximum(state[0], 0.0)
        wet = depth > _DRY * depth.max(axis=tuple(range(1, depth.ndim)), keepdims=True)
        return depth, np.where(wet, state[1:], 0.0) / np.where(wet, depth, 1.0)

    def _rate(self, state: Array) -> Array:
        """Return the time derivative (1 + d, B, *grid)."""
        depth, velocity = self._primitive(state)
        rate = np.zeros_like(state)
        for axis in range(self.n_dims):
            place = axis - self.n_dims
            turned = [np.moveaxis(a, place, -1) for a in (depth, self._floor, velocity, rate)]
            self._add_along(*turned, normal=axis)
        return rate

    def _add_along(
        self, depth: Array, floor: Array, velocity: Array, rate: Array, *, normal: int
    ) -> None:
        """Add the derivatives along the last axis to `rate` (1 + d, B, ..., N), in place."""
        g, n = self.gravity, self.n_cells
        signs = np.where(np.arange(len(velocity)) == normal, -1.0, 1.0)
        mirror = signs.reshape(-1, *[1] * (velocity.ndim - 1))
        depth, floor = _with_walls(depth), _with_walls(np.broadcast_to(floor, depth.shape))
        velocity = _with_walls(velocity, mirror)
        # values at the left and right ends of cells −1, 0, ..., N
        h, w, u = _ends(depth), _ends(depth + floor), _ends(velocity)
        z = [surface - height for surface, height in zip(w, h, strict=True)]
        # at the N + 1 faces: from the right end of the cell before, the left end of the next
        before, after = np.s_[..., :-1], np.s_[..., 1:]
        top = np.maximum(z[1][before], z[0][after])
        below = np.maximum(0.0, w[1][before] - top)
        above = np.maximum(0.0, w[0][after] - top)
        flux = _hllc(below, u[1][before], above, u[0][after], g, normal)
        # hydrostatic pressure of the water that the reconstruction takes away at either face
        lost_before = g / 2 * (h[1][before] ** 2 - below**2)
        lost_after = g / 2 * (h[0][after] ** 2 - above**2)
        rate -= n * (flux[..., 1:] - flux[..., :-1])
        inner = np.s_[..., 1:-1]
        slope = g / 2 * (h[0][inner] + h[1][inner]) * (z[1][inner] - z[0][inner])
        rate[1 + normal] -= n * (lost_before[..., 1:] - lost_after[..., :-1] + slope)


def _with_walls(values: Array, sign: Array | float = 1.0) -> Array:
    """Add two cells beyond either wall that mirror (..., N), with a sign for the velocity."""
    first, last = values[..., 1::-1] * sign, values[..., :-3:-1] * sign
    return np.concatenate([first, values, last], axis=-1)


def _ends(values: Array) -> tuple[Array, Array]:
    """Return values at the left and right end of all cells but the outermost two."""
    steps = np.diff(values, axis=-1)
    smaller = np.minimum(np.abs(steps[..., :-1]), np.abs(steps[..., 1:]))
    same = steps[..., :-1] * steps[..., 1:] > 0
    half = np.where(same, np.sign(steps[..., 1:]) * smaller, 0.0) / 2
    centre = values[..., 1:-1]
    return centre - half, centre + half


def _hllc(
    h_left: Array, u_left: Array, h_right: Array, u_right: Array, gravity: float, normal: int
) -> Array:
    """Return the flux of depth and discharge (1 + d, B, ..., N + 1) through faces."""
    a, b = u_left[normal], u_right[normal]
    wave_a, wave_b = np.sqrt(gravity * h_left), np.sqrt(gravity * h_right)
    slow = np.minimum(np.minimum(a - wave_a, b - wave_b), 0.0)
    fast = np.maximum(np.maximum(a + wave_a, b + wave_b), 0.0)
    width = np.maximum(fast - slow, np.finfo(float).tiny)

    def mean(flux_a: Array, flux_b: Array, value_a: Array, value_b: Array) -> Array:
        return (fast * flux_a - slow * flux_b + fast * slow * (value_b - value_a)) / width

    q_a, q_b = h_left * a, h_right * b
    flux = np.empty((1 + len(u_left), *h_left.shape))
    flux[0] = mean(q_a, q_b, h_left, h_right)
    for axis in range(len(u_left)):
        # along the face the water carries the discharge of the side that it comes from
        flux[1 + axis] = flux[0] * np.where(flux[0] > 0, u_left[axis], u_right[axis])
    momentum_a, momentum_b = q_a * a + gravity / 2 * h_left**2, q_b * b + gravity / 2 * h_right**2
    flux[1 + normal] = mean(momentum_a, momentum_b, q_a, q_b)
    return flux
