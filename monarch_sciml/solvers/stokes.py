"""Stokes' second problem, the layer of fluid above a wall that oscillates in its own plane.

Letters: B samples, T times, Y points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_number
from monarch_sciml.solvers.stepping import record_schedule, vector


def stokes_second(
    frequency: Tensor,
    y: Tensor,
    *,
    viscosity: float,
    t_end: float | None = None,
    n_record: int | None = None,
    record_times: Sequence[float] | None = None,
    amplitude: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Evaluate the solution of U_t = ν U_yy above the wall U(0, t) = U0 cos(ωt).

    U = U0 exp(−ky) cos(ky − ωt), k = √(ω / 2ν), is the periodic solution in the half space. It is
    evaluated at the points `y`.

    Parameters
    ----------
    frequency
        ω (B,), positive.
    y
        Distances (Y,) from the wall, not negative.
    viscosity
        ν > 0, dimensionless.
    t_end, n_record, record_times
        The arguments of `NavierStokes2d.solve`; time 0 gives the initial state.
    amplitude
        U0, largest velocity of the wall.

    Returns
    -------
    fields
        U (B, T, Y), float64, dimensionless.
    times
        Recorded times (T,), float64.

    Raises
    ------
    ValueError
        When a shape or value is out of range, or the times do not increase.

    References
    ----------
    Batchelor, An Introduction to Fluid Dynamics, Cambridge 1967, section 4.3.

    Examples
    --------
    >>> u, _ = stokes_second(torch.tensor([3.5]), torch.linspace(0, 1, 5), viscosity=0.1, t_end=1.2)
    >>> u.shape
    torch.Size([1, 1, 5])
    """
    frequency, y = vector("frequency", frequency), vector("y", y)
    if not (frequency > 0).all():
        rule = "`frequency` must be positive"
        raise ValueError(message(rule, float(frequency.min()), "Raise it."))
    if not (y >= 0).all():
        raise ValueError(message("`y` must not be negative", float(y.min()), "Shift it."))
    times = torch.tensor(record_schedule(t_end, n_record, record_times), dtype=torch.float64)
    wavenumber = (frequency / (2 * positive_number("viscosity", viscosity))).sqrt()
    depth = (wavenumber[:, None] * y)[:, None]  # (B, 1, Y)
    phase = (frequency[:, None] * times)[..., None]  # (B, T, 1)
    return amplitude * torch.exp(-depth) * torch.cos(depth - phase), times
