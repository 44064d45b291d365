"""The wave equation in a box with zero displacement at its walls, by its exact series of sines.

Letters: B samples, T recorded times, d axes with m modes and p points each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_number
from monarch_sciml.solvers.random_series import evaluate_series, squared_modes
from monarch_sciml.solvers.stepping import record_schedule


def solve_wave(
    coefficients: Tensor,
    points: Sequence[Tensor],
    *,
    speed: float,
    t_end: float | None = None,
    n_record: int | None = None,
    record_times: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Evaluate the solution of u_tt = c² Δu in the unit box, u = 0 on the walls, u_t = 0 at t = 0.

    Each mode sin(π m1 x1) ... sin(π md xd) oscillates as cos(ω t), ω = π c |m|. The solution is
    exact, because the initial displacement is a finite series of sines.

    Parameters
    ----------
    coefficients
        Coefficients of the initial displacement (B, m1, ..., md), modes from 1 on, dimensionless.
    points
        Coordinates (p,) in [0, 1] along each of the d axes.
    speed
        c > 0, lengths of the box per unit of time.
    t_end, n_record, record_times
        The arguments of `NavierStokes2d.solve`.

    Returns
    -------
    fields
        Displacement and velocity (B, T, 2, p1, ..., pd), float64.
    times
        Recorded times (T,), float64.

    Raises
    ------
    ValueError
        When the axes of `coefficients` and `points` do not fit, the speed is not positive, or the
        times do not increase.

    Notes
    -----
    The energy ∫ (u_t² + c² |∇u|²) dx is constant. The cost is one matrix product along each axis
    for each frame.

    Examples
    --------
    >>> a = torch.zeros(1, 4, 4, dtype=torch.float64)
    >>> a[0, 0, 0] = 1.0  # sin(πx) sin(πy) cos(√2 π t)
    >>> u, _ = solve_wave(a, [torch.linspace(0, 1, 17)] * 2, speed=1.0, t_end=1.0)
    >>> u.shape
    torch.Size([1, 1, 2, 17, 17])
    """
    times = record_schedule(t_end, n_record, record_times)
    speed, n_dims = positive_number("speed", speed), coefficients.ndim - 1
    if n_dims != len(points) or not n_dims:
        rule = f"`coefficients` must have a sample axis and one for each of {len(points)} `points`"
        raise ValueError(message(rule, tuple(coefficients.shape), "Pass (B, m1, ..., md)."))
    squared = squared_modes([range(1, n + 1) for n in coefficients.shape[1:]])
    frequency = math.pi * speed * squared.sqrt()
    frames = []
    for time in times:
        displacement = torch.cos(frequency * time)
        velocity = -frequency * torch.sin(frequency * time)
        # (2, 1, *m) x (B, *m) -> (2, B, *p)
        amplitudes = torch.stack([displacement, velocity])[:, None] * coefficients.double()
        frames.append(evaluate_series(amplitudes, points))
    # T frames of (2, B, *p) -> (B, T, 2, *p)
    fields = torch.stack(frames).movedim(2, 0)
    return fields, torch.tensor(times, dtype=torch.float64)
