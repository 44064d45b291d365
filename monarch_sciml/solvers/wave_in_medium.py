"""Waves in a medium that varies in space, by spectral elements and Runge-Kutta steps.

Letters: B samples, T recorded times, N nodes and L local nodes along each of d axes, K = N^d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monarch_sciml._checks import finite, message, one_of, positive_int, positive_number
from monarch_sciml.solvers.legendre import Array
from monarch_sciml.solvers.spectral_elements import SpectralElements
from monarch_sciml.solvers.stepping import check_finite, progress_bar, record_schedule

Sides = Literal["periodic", "dirichlet", "absorbing"]
SIDES: tuple[Sides, ...] = ("periodic", "dirichlet", "absorbing")
DEGREE = 4
"""Degree of the elements; the number of nodes along an axis is a multiple of it."""
_STABLE = 2.6  # Runge-Kutta of order 4 is stable in the left half disc of this radius
_DEFAULT = 0.9  # share of the largest step that is taken by default
_KEPT = 0.02  # share of the energy that the error of the steps may take or add

Force = Callable[[float], Tensor]


class WaveInMedium:
    """Integrate u_tt = ∇·(c² ∇u) − γ u³ in the unit interval or square.

    The solver uses spectral elements of degree 4 in space, so that the medium may jump where
    elements meet, and the classical Runge-Kutta method of order 4 in time.

    Parameters
    ----------
    n_points
        Nodes along each axis: a multiple of 4, at least 8; sides that are not periodic add one.
    speed
        Function of the coordinates (n_1,), ..., (n_d,) along the axes that returns c > 0 on their
        tensor grid (n_1, ..., n_d), in lengths of the box per unit of time.
    n_dims
        1 or 2.
    sides
        "periodic"; "dirichlet" holds u = 0 on the sides; "absorbing" lets waves out that meet the
        sides at right angles, c ∂u/∂n = −u_t, and reflects some of those that meet them obliquely.
    cubic
        γ ≥ 0, the strength of a non-linear spring.

    Raises
    ------
    ValueError
        When an argument is out of range, or the speed is not positive and finite.

    Notes
    -----
    A smooth solution converges with order 4 and better in the width of the elements. Unless the
    sides absorb, the energy ∫ u_t²/2 + c² |∇u|²/2 + γ u⁴/4 is kept up to the error of the steps. A
    step costs 4 products with a sparse matrix of about 9 d entries for each node.

    References
    ----------
    Komatitsch and Tromp, Geophysical Journal International 139 (1999), 806-822; Clayton and
    Engquist, Bulletin of the Seismological Society of America 67 (1977), equation 11 (sides).

    Examples
    --------
    >>> solver = WaveInMedium(64, lambda x: 1 + 0.3 * torch.sin(2 * torch.pi * x), n_dims=1)
    >>> u0 = torch.cos(2 * torch.pi * solver.points)[None]
    >>> fields, times = solver.solve(u0, t_end=0.5)
    >>> fields.shape  # displacement and velocity
    torch.Size([1, 1, 2, 64])
    """

    def __init__(
        self,
        n_points: int,
        speed: Callable[..., Tensor],
        *,
        n_dims: int,
        sides: Sides = "periodic",
        cubic: float = 0.0,
    ) -> None:
        n_points = positive_int("n_points", n_points, minimum=2 * DEGREE)
        self.n_dims: int = one_of("n_dims", n_dims, (1, 2))
        self.sides: Sides = one_of("sides", sides, SIDES)
        self.cubic = positive_number("cubic", cubic, or_zero=True)
        if n_points % DEGREE:
            rule = f"`n_points` must be a multiple of {DEGREE}"
            remedy = f"Take {-(-n_points // DEGREE) * DEGREE}."
            raise ValueError(message(rule, n_points, remedy))
        self._axis = SpectralElements(
            n_points // DEGREE, degree=DEGREE, periodic=sides == "periodic"
        )
        self.points = torch.from_numpy(self._axis.points)
        local = self._axis.positive("the speed of waves", speed, n_dims=n_dims)
        self._mass, self._stiffness = self._assembled(local)
        self._operator = self._stiffness / self._mass[:, None]
        self._damping = self._sides(local) / self._mass if sides == "absorbing" else None
        self._walls = self._wall_nodes() if sides == "dirichlet" else None
        self.largest_dt = self._largest_dt(float(local.max()))

    def _largest_dt(self, fastest: float) -> float:
        """Bound the step by the largest eigenvalue of waves and damping together."""
        frequency = math.sqrt(self.n_dims * self._axis.largest_eigenvalue) * fastest
        damping = 0.0 if self._damping is None else float(self._damping.max()) / 2
        largest = damping + math.hypot(damping, frequency)
        return float(f"{_STABLE / largest:.5g}")  # the same on every processor

    def _assembled(self, local: Array) -> tuple[Array, Any]:
        """Assemble the diagonal mass matrix (K,) and the sparse stiffness matrix (K, K)."""
        from scipy.sparse import csr_array, diags_array, kron

        axis, d = self._axis, self.n_dims
        weighted = diags_array((local**2 * _outer([axis.local_weights] * d)).ravel())
        stiffness: Any = 0
        for a in range(d):
            factors = [axis.derivative if b == a else axis.sharing for b in range(d)]
            gradient = reduce(kron, factors)  # (L^d, K)
            stiffness += gradient.T @ weighted @ gradient
        return _outer([axis.weights] * d).ravel(), csr_array(stiffness)

    def _sides(self, local: Array) -> Array:
        """Return ∮ c φ over the sides for the function φ of each node, (K,)."""
        axis, d = self._axis, self.n_dims
        total = np.zeros((axis.n_points,) * d)
        for a in range(d):
            speeds, sums = np.moveaxis(local, a, 0), np.moveaxis(total, a, 0)
            for node in (0, -1):
                if d == 1:
                    sums[node] += speeds[node]
                else:
                    sums[node] += axis.sharing.T @ (speeds[node] * axis.local_weights)
        return total.ravel()

    def _wall_nodes(self) -> NDArray[np.bool_]:
        """Return which nodes (K,) lie on the sides."""
        inner = np.zeros(self._axis.n_points)
        inner[1:-1] = 1.0
        return _outer([inner] * self.n_dims).ravel() == 0

    def interpolation(self, points: Tensor) -> Tensor:
        """Return the matrix (M, N) from values at the nodes to values at points (M,) of [0, 1]."""
        return torch.from_numpy(self._axis.interpolation(points.double().numpy()))

    def solve(
        self,
        u0: Tensor,
        velocity: Tensor | None = None,
        *,
        dt: float | None = None,
        t_end: float | None = None,
        n_record: int | None = None,
        record_times: Sequence[float] | None = None,
        force: Force | None = None,
        progress: bool | Callable[[float], object] = False,
    ) -> tuple[Tensor, Tensor]:
        """Integrate from t = 0 and return displacement and velocity at the recorded times.

        Parameters
        ----------
        u0
            Initial displacement (B, N) or (B, N, N) at the nodes.
        velocity
            Initial velocity of the same shape. None is zero.
        dt
            Largest time step, at most `largest_dt`. None takes 0.9 times `largest_dt`.
        t_end, n_record, record_times
            The arguments of `NavierStokes2d.solve` with the same meaning.
        force
            Function of the time that returns a force at the nodes, (N,) or (N, N).
        progress
            Whether to show a bar, or a function that is called after each step with the fraction of
            the work done by it.

        Returns
        -------
        fields
            Displacement and velocity (B, T, 2, N) or (B, T, 2, N, N), float64.
        times
            Recorded times (T,), float64.

        Raises
        ------
        ValueError
            When `u0` has another shape or is not finite, the times do not increase, `dt` exceeds
            `largest_dt`, or the solution does not stay finite. When `cubic` is positive, the sides
            do not absorb, there is no force, and a sample loses or gains 2 % of its energy or more:
            `largest_dt` does not take the springs into account.
        """
        times = record_schedule(t_end, n_record, record_times)
        dt, state = self.check_dt(dt), self._start(u0, velocity)
        shape = (*u0.shape[1:], len(u0))
        start = torch.from_numpy(state.reshape(2, *shape)).movedim(-1, 0)[:, None].clone()
        gaps = np.diff([0.0, *times])
        counts = [math.ceil(gap / dt) for gap in gaps]
        frames, begin = [], 0.0
        quiet = np.errstate(over="ignore", invalid="ignore")  # `check_finite` says it
        with quiet, progress_bar(max(1, sum(counts)), progress, name="Waves") as advance:
            for gap, count, time in zip(gaps, counts, times, strict=True):
                for step in range(count):
                    state = self._advanced(state, begin + step * gap / count, gap / count, force)
                    advance()
                begin = time
                # (2, K, B) -> (B, 2, *grid)
                frames.append(torch.from_numpy(state.reshape(2, *shape)).movedim(-1, 0).clone())
                check_finite(frames[-1], time, dt)
        # T frames of (B, 2, *grid) -> (B, T, 2, *grid)
        fields = torch.stack(frames, dim=1)
        if self.cubic and self._damping is None and force is None:
            self._check_energy(start, fields, dt)
        return fields, torch.tensor(times, dtype=torch.float64)

    def _check_energy(self, start: Tensor, fields: Tensor, dt: float) -> None:
        """Raise ValueError when steps that are too long have changed the energy of a sample."""
        before = self.energy(start)  # (B, 1)
        change = (self.energy(fields) - before).abs()
        if bool((change > _KEPT * before).any()):
            rule = f"the energy of waves with springs must be kept within {100 * _KEPT:g} %"
            share = float((change / before.clamp_min(torch.finfo(before.dtype).tiny)).max())
            got = f"a change of {100 * share:.2g} % with dt = {dt:.3g}"
            raise ValueError(message(rule, got, "Choose a smaller `dt`."))

    def energy(self, fields: Tensor) -> Tensor:
        """Return the energy (B, T) of displacement and velocity (B, T, 2, *grid)."""
        # (B, T, 2, *grid) -> (2, K, B T)
        flat = fields.double().flatten(3).permute(2, 3, 0, 1).flatten(2).numpy()
        u, velocity = flat
        local = velocity**2 / 2 + self.cubic * u**4 / 4
        total = self._mass @ local + (u * (self._stiffness @ u)).sum(axis=0) / 2
        return torch.from_numpy(total).view(fields.shape[:2])

    def eigenfunctions(self, n_modes: int) -> tuple[Tensor, Tensor]:
        """Return the lowest frequencies ω and functions φ of the medium, −∇·(c² ∇φ) = ω² φ.

        Parameters
        ----------
        n_modes
            Number of functions to return, from the lowest frequency on.

        Returns
        -------
        frequencies
            ω (n_modes,), ascending, in radians per unit of time.
        functions
            φ (n_modes, N) or (n_modes, N, N) at the nodes, mean square 1, up to their sign.

        Raises
        ------
        ValueError
            When there are fewer nodes, or the sides absorb, where no such functions exist.
        """
        from scipy.sparse.linalg import eigsh

        inner = np.flatnonzero(~self._walls) if self._walls is not None else np.s_[:]
        root = self._mass[inner] ** -0.5
        n_modes, n_inner = positive_int("n_modes", n_modes), len(root)
        if n_modes >= n_inner or self._damping is not None:
            rule = f"`n_modes` must be below the {n_inner} nodes, and the sides must not absorb"
            got = f"{n_modes} with {self.sides} sides"
            raise ValueError(message(rule, got, "Take fewer modes, or other sides."))
        symmetric = root[:, None] * self._stiffness[inner][:, inner] * root[None, :]
        start = np.random.default_rng(0).standard_normal(n_inner)
        squared, vectors = eigsh(symmetric, k=n_modes, sigma=-1.0, v0=start)
        functions = np.zeros((n_modes, len(self._mass)))
        functions[:, inner] = (root[:, None] * vectors).T
        grid = (self._axis.n_points,) * self.n_dims
        frequencies = np.sqrt(np.maximum(squared, 0.0))
        return torch.from_numpy(frequencies), torch.from_numpy(functions.reshape(-1, *grid))

    def check_dt(self, dt: float | None) -> float:
        """Return the largest step to take, the default if it is None; ValueError if it is not
        stable.
        """
        if dt is None:
            return _DEFAULT * self.largest_dt
        dt = positive_number("dt", dt)
        if dt > self.largest_dt:
            rule = f"`dt` must be at most {self.largest_dt:.4g}, where steps are stable"
            raise ValueError(message(rule, dt, "Lower `dt`, or leave it out."))
        return dt

    def _start(self, u0: Tensor, velocity: Tensor | None) -> Array:
        """Check the initial fields and return them as one array (2, K, B)."""
        shape = (self._axis.n_points,) * self.n_dims
        fields = [u0, torch.zeros_like(u0) if velocity is None else velocity]
        for name, field in zip(("u0", "velocity"), fields, strict=True):
            if tuple(field.shape) != (len(u0), *shape):
                sizes = ", ".join(["n_samples", *map(str, shape)])
                rule = f"`{name}` must have shape ({sizes})"
                raise ValueError(message(rule, tuple(field.shape), "Evaluate it at the nodes."))
            finite(name, field, remedy="Check its source.")
        # (2, B, *grid) -> (2, K, B)
        state = torch.stack(fields).double().flatten(2).transpose(1, 2).contiguous().numpy()
        if self._walls is not None:
            state[:, self._walls] = 0.0
        return state

    def _rate(self, state: Array, time: float, force: Force | None) -> Array:
        """Return the time derivative (2, K, B) of displacement and velocity."""
        u, velocity = state
        rate = np.empty_like(state)
        rate[0] = velocity
        acceleration = np.negative(self._operator @ u, out=rate[1])
        if self.cubic:
            acceleration -= self.cubic * (u * u * u)
        if self._damping is not None:
            acceleration -= self._damping[:, None] * velocity
        if force is not None:
            acceleration += force(time).double().numpy().reshape(-1, 1)
        if self._walls is not None:
            acceleration[self._walls] = 0.0
        return rate

    def _advanced(self, state: Array, time: float, dt: float, force: Force | None) -> Array:
        """Take one step of the classical Runge-Kutta method."""
        first = self._rate(state, time, force)
        second = self._rate(state + dt / 2 * first, time + dt / 2, force)
        third = self._rate(state + dt / 2 * second, time + dt / 2, force)
        fourth = self._rate(state + dt * third, time + dt, force)
        second += third
        second *= 2
        first += second
        first += fourth
        first *= dt / 6
        return state + first


def _outer(vectors: Sequence[Array]) -> Array:
    """Return the outer product (n_1, ..., n_d) of vectors."""
    return reduce(np.multiply.outer, vectors)
