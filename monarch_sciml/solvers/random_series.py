"""Random fields as Gaussian series of sines, cosines or periodic waves, the same on every grid.

Letters: B samples, modes m1..md, points p1..pd along d axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int

SeriesKind = Literal["sine", "cosine"]


def random_sine_series(
    n_modes: Sequence[int], *, alpha: float, tau: float, rng: np.random.Generator
) -> Tensor:
    """Draw the coefficients of a random field that vanishes at the walls of the unit box.

    The field is Σ a_m sin(π m1 x1) ... sin(π md xd), m from 1 on, with independent
    a_m ~ N(0, s (π²|m|² + τ²)^(−α)); s makes its mean square over box and samples 1.

    Parameters
    ----------
    n_modes
        Number of modes along each axis.
    alpha
        Smoothness, above half the number of axes for a continuous limit.
    tau
        Inverse length scale.
    rng
        Source of the random numbers.

    Returns
    -------
    Coefficients (m1, ..., md), float64, dimensionless.

    Examples
    --------
    >>> a = random_sine_series((8, 8), alpha=2.5, tau=7.0, rng=np.random.default_rng(0))
    >>> evaluate_series(a, [torch.linspace(0, 1, 33)] * 2).shape
    torch.Size([33, 33])
    """
    shape = tuple(positive_int("n_modes", n) for n in n_modes)
    squared = squared_modes([range(1, n + 1) for n in shape])
    deviation = (math.pi**2 * squared + tau**2) ** (-alpha / 2)
    deviation /= (deviation.square().sum() / 2 ** len(shape)).sqrt()
    return deviation * torch.from_numpy(rng.standard_normal(shape))


def evaluate_series(
    coefficients: Tensor, points: Sequence[Tensor], *, kind: SeriesKind = "sine"
) -> Tensor:
    """Evaluate Σ a_m f(π m1 x1) ... f(π md xd), m from 1 on, f the sine or the cosine.

    Parameters
    ----------
    coefficients
        a (..., m1, ..., md).
    points
        Coordinates (p,) along each of the d axes.
    kind
        "sine" or "cosine".

    Returns
    -------
    Values (..., p1, ..., pd), float64. Sines are exactly zero where a coordinate is whole.

    Raises
    ------
    ValueError
        When there are more axes of points than of coefficients, or `kind` is unknown.
    """
    one_of("kind", kind, ("sine", "cosine"))
    if len(points) > coefficients.ndim:
        rule = f"`coefficients` must have an axis for each of the {len(points)} of `points`"
        raise ValueError(message(rule, tuple(coefficients.shape), "Drop points, or add axes."))
    values = coefficients.double()
    for x in points:
        # the first axis of modes left goes, its points come last:
        # (..., m, m', p) -> (..., m', p, m) @ (m, p') -> (..., m', p, p')
        axis = values.ndim - len(points)
        values = values.movedim(axis, -1) @ _waves(x, values.shape[axis], kind)
    return values


def random_periodic_series(
    n_modes: Sequence[int], *, alpha: float, tau: float, rng: np.random.Generator
) -> Tensor:
    """Draw the coefficients of a random field on the unit torus, with zero mean.

    The field is Re Σ a_k exp(2πi k·x) over |k_i| ≤ m_i without k = 0, the real and the imaginary
    part of a_k independent N(0, s (4π²|k|² + τ²)^(−α)); s makes its mean square 1.

    Parameters
    ----------
    n_modes
        Largest wavenumber m along each axis.
    alpha
        Smoothness, above half the number of axes for a continuous limit.
    tau
        Inverse length scale.
    rng
        Source of the random numbers.

    Returns
    -------
    Coefficients (2 m1 + 1, ..., 2 md + 1), complex128, from −m to m along each axis.
    """
    shape = [positive_int("n_modes", n) for n in n_modes]
    squared = squared_modes([range(-n, n + 1) for n in shape])
    deviation = (4 * math.pi**2 * squared + tau**2) ** (-alpha / 2)
    deviation[tuple(shape)] = 0.0
    deviation /= deviation.square().sum().sqrt()
    noise = torch.from_numpy(rng.standard_normal((*deviation.shape, 2)))
    return deviation * torch.view_as_complex(noise)


def evaluate_periodic_series(coefficients: Tensor, points: Sequence[Tensor]) -> Tensor:
    """Evaluate Re Σ a_k exp(2πi k·x) on a tensor grid.

    Parameters
    ----------
    coefficients
        a (..., 2 m1 + 1, ..., 2 md + 1), from −m to m along each of the last d axes.
    points
        Coordinates (p,) along each of these axes.

    Returns
    -------
    Values (..., p1, ..., pd), float64.
    """
    values = coefficients
    for x in points:
        axis = values.ndim - len(points)
        largest = values.shape[axis] // 2
        wavenumbers = torch.arange(-largest, largest + 1, dtype=torch.float64)
        waves = torch.exp(2j * math.pi * torch.outer(wavenumbers, x.double()))
        # (..., k, k', p) -> (..., k', p, k) @ (k, p') -> (..., k', p, p')
        values = values.movedim(axis, -1) @ waves
    return values.real.contiguous()


def _waves(x: Tensor, n_modes: int, kind: SeriesKind) -> Tensor:
    """Return the waves (m, p) at the points (p,)."""
    phase = torch.arange(1, n_modes + 1, dtype=torch.float64)[:, None] * x.double()
    if kind == "cosine":
        return torch.cos(math.pi * phase)
    return torch.where(phase == phase.round(), 0.0, torch.sin(math.pi * phase))


def squared_modes(modes: Sequence[range]) -> Tensor:
    """Return |k|² = k_1² + ... + k_d² for the modes k_i of each axis: (K_1, ..., K_d), float64."""
    squared = torch.zeros([len(ks) for ks in modes], dtype=torch.float64)
    for axis, ks in enumerate(modes):
        k = torch.tensor(ks, dtype=torch.float64)
        # (K,) -> (K, 1, ..., 1), broadcast over the axes before it
        squared += k.square().view(-1, *[1] * (len(modes) - axis - 1))
    return squared
