"""Exponential time stepping of stiff equations whose linear part is diagonal, fourth order.

Letters: B samples, K coefficients in the basis that diagonalises the linear part, P contour points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from monarch_sciml.solvers.stepping import check_finite

Slope = Callable[[Tensor, float], Tensor]
"""Nonlinear part (B, K) of the equation, of the coefficients (B, K) and the time."""

_CHECK_EVERY = 100  # steps between two checks for NaN
_CONTOUR = 32  # points of the circle over which the φ functions are averaged


def integrate(
    rates: Tensor,
    slope: Slope,
    state: Tensor,
    *,
    times: Sequence[float],
    dt: float,
    tick: Callable[[], object],
) -> list[Tensor]:
    """Integrate c' = λ c + N(c, t) from t = 0 by ETDRK4.

    Parameters
    ----------
    rates
        Rates λ (K,), real, float64, at most 0 for a stable linear part.
    slope
        Function N of the coefficients (B, K) and the time.
    state
        Coefficients (B, K) at t = 0.
    times
        Increasing times ≥ 0 to record at.
    dt
        Largest step; each interval between records takes a whole number of equal steps.
    tick
        Function that is called after each of the `count_steps(times, dt)` steps.

    Returns
    -------
    Coefficients (B, K), one for each time.

    Raises
    ------
    ValueError
        When the solution diverges.

    References
    ----------
    Cox and Matthews, J. Comput. Phys. 176 (2002), equations 26-29; Kassam and Trefethen, SIAM J.
    Sci. Comput. 26 (2005), section 3 (the contour).
    """
    records, now, weights, last = [], 0.0, (), None
    for count, time in zip(_counts(times, dt), times, strict=True):
        step, start = (time - now) / max(count, 1), now
        if count and (last is None or abs(step - last) > 1e-12 * step):
            weights, last = _weights(rates, step), step
        for done in range(count):
            state = _step(state, start + done * step, step, weights, slope)
            tick()
            if done % _CHECK_EVERY == 0 or done == count - 1:
                check_finite(state, start + (done + 1) * step, step)
        now = time
        records.append(state)
    return records


def count_steps(times: Sequence[float], dt: float) -> int:
    """Return the number of steps that `integrate` makes."""
    return sum(_counts(times, dt))


def _counts(times: Sequence[float], dt: float) -> list[int]:
    return [math.ceil((b - a) / dt - 1e-9) for a, b in zip([0.0, *times[:-1]], times, strict=True)]


def _step(state: Tensor, time: float, dt: float, weights: Sequence[Tensor], slope: Slope) -> Tensor:
    whole, half, stage, first, middle, last = weights
    decayed, middle_time = half * state, time + dt / 2
    n_0 = slope(state, time)
    a = torch.addcmul(decayed, stage, n_0)
    n_a = slope(a, middle_time)
    n_b = slope(torch.addcmul(decayed, stage, n_a), middle_time)
    n_c = slope(torch.addcmul(half * a, stage, 2 * n_b - n_0), time + dt)
    return whole * state + first * n_0 + middle * (n_a + n_b) + last * n_c


def _weights(rates: Tensor, dt: float) -> tuple[Tensor, ...]:
    """Return the weights (K,) of a step, with the φ functions as means over a circle to avoid
    cancellation.
    """
    angle = math.pi * (torch.arange(_CONTOUR, dtype=torch.float64) + 0.5) / _CONTOUR
    # λ dt (K, 1) + upper half of the unit circle (P,) -> (K, P); the lower half is its conjugate
    z = dt * rates[:, None] + torch.polar(torch.ones_like(angle), angle)
    e = torch.exp(z)
    stage = (torch.exp(z / 2) - 1) / z
    first = (-4 - z + e * (4 - 3 * z + z**2)) / z**3
    middle = 2 * (2 + z + e * (z - 2)) / z**3
    last = (-4 - 3 * z - z**2 + e * (4 - z)) / z**3
    means = (dt * f.mean(dim=1).real for f in (stage, first, middle, last))
    return torch.exp(dt * rates), torch.exp(dt * rates / 2), *means
