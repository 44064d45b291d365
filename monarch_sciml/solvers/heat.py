"""The heat equation on [0, 1] with a prescribed flux at the right end, the Neumann problem of BOON.

Letters: B samples, T times, X points, M modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.solvers.stepping import record_schedule, vector


def heat_neumann(
    frequency: Tensor,
    x: Tensor,
    *,
    t_end: float | None = None,
    n_record: int | None = None,
    record_times: Sequence[float] | None = None,
    diffusivity: float = 0.01,
    flux: float = 5.0,
    n_modes: int = 2048,
) -> tuple[Tensor, Tensor]:
    """Evaluate the solution of u_t = κ u_xx, u_x(0, t) = 0, u_x(1, t) = U sin(πt).

    u(x, 0) = cos(ω π x). With the lifting w = U sin(πt) x² / 2, v = u − w has no flux at either
    end; each of its cosine modes obeys an ordinary differential equation with a closed solution:
    u = w + Σ v_n(t) cos(nπx).

    Parameters
    ----------
    frequency
        ω (B,), any real numbers.
    x
        Points (X,) in [0, 1].
    t_end, n_record, record_times
        The arguments of `NavierStokes2d.solve`; time 0 gives the initial state itself.
    diffusivity
        κ > 0.
    flux
        Amplitude U of the flux at x = 1.
    n_modes
        Number M of cosines that are summed.

    Returns
    -------
    fields
        u (B, T, X), float64, dimensionless.
    times
        Recorded times (T,), float64.

    Raises
    ------
    ValueError
        When a shape or value is out of range, or the times do not increase.

    Notes
    -----
    The neglected modes of the forced part add up to at most 2U / (3 π³ κ M³): 1e-9 for the default
    values. Those of the initial state decay as exp(−κ n² π² t) / n²: they are below 1e-10 for κ t ≥
    1e-6 with the default M. The initial state does not satisfy the condition at x = 1, as in BOON:
    its slope there is −ωπ sin(ωπ). The cost is T M X products for each sample.

    References
    ----------
    Saad et al., Guiding continuous operator learning through physics-based boundary constraints
    (BOON), ICLR 2023, for the problem. The series and its closed form are not from that paper.

    Examples
    --------
    >>> u, times = heat_neumann(torch.tensor([2.5]), torch.linspace(0, 1, 65), t_end=2, n_record=25)
    >>> u.shape, times[-1].item()
    (torch.Size([1, 25, 65]), 2.0)
    """
    frequency, x = vector("frequency", frequency), vector("x", x)
    if not ((x >= 0) & (x <= 1)).all():
        got = f"{float(x.min()):g} to {float(x.max()):g}"
        raise ValueError(message("`x` must lie in [0, 1]", got, "Rescale it."))
    n_modes = positive_int("n_modes", n_modes, minimum=2)
    times = torch.tensor(record_schedule(t_end, n_record, record_times), dtype=torch.float64)
    numbers = math.pi * torch.arange(n_modes).double()
    rates = positive_number("diffusivity", diffusivity) * numbers**2
    waves = torch.cos(numbers[:, None] * x)  # (M, X)
    lifting = flux * torch.sin(math.pi * times)[:, None] * x.square() / 2  # (T, X)
    forced = _forced_modes(times, rates, diffusivity, flux)
    decay = torch.exp(-rates * times[:, None])  # (T, M)
    fields = []
    for omega in frequency:  # one by one, so that a sample has the same bits in every batch
        modes = forced + decay * _initial_modes(omega, n_modes)
        field = lifting + modes @ waves
        field[times == 0] = torch.cos(omega * math.pi * x)
        fields.append(field)
    return torch.stack(fields), times


def _initial_modes(omega: Tensor, n_modes: int) -> Tensor:
    """Return the cosine coefficients (M,) of cos(ωπx), for whole frequencies ω too."""
    n = torch.arange(n_modes, dtype=torch.float64)
    modes = torch.sinc(omega - n) + torch.sinc(omega + n)
    modes[0] /= 2
    return modes


def _forced_modes(times: Tensor, rates: Tensor, diffusivity: float, flux: float) -> Tensor:
    """Solve v_n' = −λ_n v_n − U π cos(πt) c_n (+ κ U sin(πt) for n = 0) from 0: (T, M)."""
    n = torch.arange(1, len(rates), dtype=torch.float64)
    lifted = 2 * (1 - 2 * (n % 2)) / (n * math.pi) ** 2  # c_n, of x² / 2
    t, rate = times[:, None], rates[1:]
    sine, cosine = torch.sin(math.pi * t), torch.cos(math.pi * t)
    swing = rate * (cosine - torch.exp(-rate * t)) + math.pi * sine
    higher = -flux * math.pi * lifted * swing / (rate**2 + math.pi**2)
    mean = diffusivity * flux * (1 - cosine) / math.pi - flux * sine / 6
    return torch.cat([mean, higher], dim=1)
