"""One-dimensional viscous Burgers' equation, periodic or with zero slope at both ends.

Letters: B samples, T recorded times, N points, K = N // 2 + 1 Fourier modes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.solvers.etdrk4 import count_steps, integrate
from monarch_sciml.solvers.legendre import differentiation, gauss_lobatto, interpolation
from monarch_sciml.solvers.stepping import progress_bar, record_schedule

Source = Callable[[Tensor, float], Tensor] | None

_UNRESOLVED = 1e-3  # share of the finest modes at which the relative error is about 5e-4


class _Burgers(ABC):
    """Integrate u_t + (u²/2)_x = ν u_xx + f in a basis that diagonalises the viscous term."""

    points: Tensor
    """Grid points (N,)."""

    def __init__(self, n_points: int, viscosity: float, source: Source, minimum: int) -> None:
        self.n_points = positive_int("n_points", n_points, minimum=minimum)
        self.viscosity = positive_number("viscosity", viscosity)
        self.source = source

    def solve(
        self,
        u0: Tensor,
        *,
        dt: float,
        t_end: float | None = None,
        n_record: int | None = None,
        record_times: Sequence[float] | None = None,
        progress: bool | Callable[[float], object] = False,
    ) -> tuple[Tensor, Tensor]:
        """Integrate from t = 0 and return the velocity at the recorded times.

        Parameters
        ----------
        u0
            Initial velocity (B, N) at `points`, dimensionless.
        dt
            Largest time step; each interval between records takes a whole number of equal steps.
        t_end, n_record
            The solution is recorded at the n_record (default 1) times t_end / n_record, ..., t_end.
        record_times
            Increasing times ≥ 0 to record at, instead of `t_end` and `n_record`. Time 0 records
            `u0` itself.
        progress
            Whether to show a bar that counts time steps, or a function that is called after each
            step with the fraction of the work done by it.

        Returns
        -------
        trajectories
            Velocity (B, T, N), float64.
        times
            Recorded times (T,), float64, dimensionless.

        Raises
        ------
        ValueError
            When `u0` has another shape or is not finite, the times do not increase, or the
            solution diverges or has shocks too steep for the points.
        """
        times, dt = record_schedule(t_end, n_record, record_times), positive_number("dt", dt)
        if u0.ndim != 2 or u0.shape[1] != self.n_points:
            rule = f"`u0` must have shape (n_samples, {self.n_points})"
            raise ValueError(message(rule, tuple(u0.shape), "Evaluate it at the solver's points."))
        u0 = finite("u0", u0.detach().to("cpu", torch.float64), remedy="Check its source.")
        with progress_bar(count_steps(times, dt), progress, name="Burgers") as tick:
            records = integrate(
                self._rates, self._slope, self._analyse(u0), times=times, dt=dt, tick=tick
            )
        for time, coefficients in zip(times, records, strict=True):
            if time > 0:
                self._check_resolved(coefficients, time)
        frames = [
            u0 if time == 0 else self._synthesise(c) for time, c in zip(times, records, strict=True)
        ]
        # T frames of (B, N) -> (B, T, N)
        return torch.stack(frames, dim=1), torch.tensor(times, dtype=torch.float64)

    def _check_resolved(self, coefficients: Tensor, time: float) -> None:
        """Raise ValueError when the finest modes are not small beside the largest."""
        size = coefficients.abs()
        tail = float((size[:, self._fine].amax(1) / size.amax(1).clamp(min=1e-300)).max())
        if tail > _UNRESOLVED:
            rule = f"the finest modes must be at most {_UNRESOLVED:g} of the largest"
            got = f"{tail:.2g} at t = {time:.4g} with {self.n_points} points"
            raise ValueError(message(rule, got, "Take more points, or a larger viscosity."))

    _rates: Tensor
    _fine: slice  # the finest modes that take part in the nonlinear term

    @abstractmethod
    def _analyse(self, u: Tensor) -> Tensor:
        """Return the coefficients of values (B, N)."""

    @abstractmethod
    def _synthesise(self, coefficients: Tensor) -> Tensor:
        """Return the values (B, N) of coefficients."""

    @abstractmethod
    def _slope(self, coefficients: Tensor, time: float) -> Tensor:
        """Return the coefficients of −(u²/2)_x + f."""


class BurgersPeriodic(_Burgers):
    """Integrate u_t + (u²/2)_x = ν u_xx + f on the torus [0, L).

    The solver uses Fourier collocation with the 2/3 rule in space, and in time the exponential
    Runge-Kutta method of order four (ETDRK4), which is exact for the viscous term.

    Parameters
    ----------
    n_points
        Points of the torus, at least 4, odd or even.
    viscosity
        ν > 0, dimensionless.
    domain_extent
        L.
    source
        f, a function of the points (N,) and the time that returns (N,) or (B, N); None for zero.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    Shocks have the width ν / (jump of u), which must contain several points. Modes with 3|k| ≥ N do
    not enter the nonlinear term and decay by viscosity. A step costs 8 real FFTs for each sample.

    Examples
    --------
    >>> solver = BurgersPeriodic(64, viscosity=0.1)
    >>> u0 = torch.sin(2 * torch.pi * solver.points)[None]
    >>> u, times = solver.solve(u0, dt=1e-2, t_end=1.0, n_record=2)
    >>> u.shape, times.tolist()
    (torch.Size([1, 2, 64]), [0.5, 1.0])
    """

    def __init__(
        self,
        n_points: int,
        *,
        viscosity: float,
        domain_extent: float = 1.0,
        source: Source = None,
    ) -> None:
        super().__init__(n_points, viscosity, source, minimum=4)
        extent = positive_number("domain_extent", domain_extent)
        self.points = extent * torch.arange(n_points, dtype=torch.float64) / n_points
        modes = torch.arange(n_points // 2 + 1, dtype=torch.float64)
        wavenumber = 2 * math.pi / extent * modes
        self._kept = (3 * modes < n_points).double()
        n_kept = int(self._kept.sum())
        self._fine = slice(3 * n_kept // 4, n_kept)
        self._rates = -self.viscosity * wavenumber**2
        self._flux = -0.5j * wavenumber * self._kept  # (u²)^ -> −(u²/2)_x^

    def _analyse(self, u: Tensor) -> Tensor:
        return torch.fft.rfft(u)

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        return torch.fft.irfft(coefficients, n=self.n_points)

    def _slope(self, coefficients: Tensor, time: float) -> Tensor:
        u = self._synthesise(coefficients * self._kept)
        slope = self._flux * torch.fft.rfft(u.square())
        return (
            slope if self.source is None else slope + self._analyse(self.source(self.points, time))
        )


class BurgersNeumann(_Burgers):
    """Integrate u_t + (u²/2)_x = ν u_xx + f on an interval with u_x = 0 at both ends.

    Legendre Galerkin method with numerical integration: u is the polynomial of degree N − 1 through
    its values at the N Gauss-Lobatto nodes, the walls enter as natural conditions of the weak form,
    and the eigenvectors of the symmetric stiffness matrix make the viscous term diagonal. The
    accuracy in x is spectral. In time the solver uses the exponential Runge-Kutta method of order
    four (ETDRK4).

    Parameters
    ----------
    n_points
        Number of nodes, at least 4. They are dense at the walls, and in the middle π/2 times as far
        apart as equally spaced ones.
    viscosity
        ν > 0, dimensionless.
    domain
        Ends of the interval.
    source
        f, a function of the nodes (N,) and the time that returns (N,) or (B, N); None for zero.

    Raises
    ------
    ValueError
        When an argument is out of range.

    Notes
    -----
    A step costs 8 products of an N x N matrix with a vector for each sample. If u changes at a
    wall, the order in time is between two and three; for ν = 0.1/π and the initial data of
    `generate_burgers_neumann` the relative error at t = 1 is below 5e-7 with dt = 2e-3, 5e-8 with
    1e-3.

    References
    ----------
    Canuto et al., Spectral Methods, Springer 2006, section 3.8 (Galerkin with numerical
    integration).

    Examples
    --------
    >>> solver = BurgersNeumann(64, viscosity=0.1)
    >>> u0 = torch.cos(torch.pi * solver.points)[None]
    >>> u, times = solver.solve(u0, dt=1e-2, t_end=1.0)
    >>> solver.interpolation(torch.linspace(-1, 1, 5)).shape, u.shape
    (torch.Size([5, 64]), torch.Size([1, 1, 64]))
    """

    def __init__(
        self,
        n_points: int,
        *,
        viscosity: float,
        domain: tuple[float, float] = (-1.0, 1.0),
        source: Source = None,
    ) -> None:
        super().__init__(n_points, viscosity, source, minimum=4)
        if not domain[0] < domain[1]:
            rule = "`domain` must be an interval (a, b), a < b"
            raise ValueError(message(rule, domain, "Swap its ends."))
        self._nodes, weights = gauss_lobatto(n_points, *domain)
        derivative, root = differentiation(self._nodes), np.sqrt(weights)
        # stiffness ∫ v_x u_x in the basis where the mass matrix diag(weights) is the identity
        stiffness = root[:, None] * derivative / root[None, :]
        values, vectors = np.linalg.eigh(stiffness.T @ stiffness)
        self.points = torch.from_numpy(self._nodes)
        self._fine = slice(n_points // 2, n_points)
        self._rates = torch.from_numpy(-self.viscosity * values.clip(min=0.0))
        # rows act on vectors from the right: (B, N) @ (N, N)
        self._to_modes = torch.from_numpy(root[:, None] * vectors)
        self._to_values = torch.from_numpy(np.ascontiguousarray((vectors / root[:, None]).T))
        self._flux = torch.from_numpy(-0.5 * derivative.T @ (root[:, None] * vectors))

    def interpolation(self, points: Tensor) -> Tensor:
        """Return the matrix (M, N) from values at the nodes to values at points of the interval."""
        return torch.from_numpy(interpolation(self._nodes, points.double().numpy()))

    def _analyse(self, u: Tensor) -> Tensor:
        return u @ self._to_modes

    def _synthesise(self, coefficients: Tensor) -> Tensor:
        return coefficients @ self._to_values

    def _slope(self, coefficients: Tensor, time: float) -> Tensor:
        slope = self._synthesise(coefficients).square() @ self._flux
        return (
            slope if self.source is None else slope + self._analyse(self.source(self.points, time))
        )
