"""Gaussian random fields with zero normal derivative at the walls: cosine series.

Shapes: B samples, d axes with n points and K modes each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int
from monarch_sciml.solvers._modes import squared_modes


def cosine_random_field(
    n_samples: int,
    grid_shape: Sequence[int],
    *,
    alpha: float = 2.0,
    tau: float = 3.0,
    sigma: float | None = None,
    n_modes: int = 128,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw Gaussian fields with covariance ∝ σ² (−Δ + τ² I)^(−α), Neumann walls, zero mean.

    ψ(x) = σ Σ_k (π²|k|² + τ²)^(−α/2) ξ_k Π_i c_ki cos(π k_i x_i), ξ_k independent N(0, 1), the
    sum over 0 ≤ k_i < K without k = 0; c_0 = 1 and c_k = √2 make the cosines orthonormal.

    Parameters
    ----------
    n_samples
        Number of fields.
    grid_shape
        Nodes along each axis of the unit box, both walls among them, at least 2.
    alpha
        Smoothness, above half the number of axes for a continuous limit.
    tau
        Inverse length scale.
    sigma
        Amplitude; None takes τ^(α − 1), the FNO authors' choice.
    n_modes
        K, modes along each axis. The same draw on another grid is the same function.
    generator
        Source of the random numbers, on the CPU.

    Returns
    -------
    Tensor
        Fields (n_samples, *grid_shape), float64, dimensionless.

    Raises
    ------
    ValueError
        When a count is too small.

    Notes
    -----
    The mode k = 0 is left out, as in the FNO authors' script; the covariance as their paper writes
    it would keep it. Cost of a sample: d products of matrices n x K.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section A.3.2, and their data_generation/darcy.

    Examples
    --------
    >>> psi = cosine_random_field(2, (33, 33), generator=torch.Generator().manual_seed(0))
    >>> psi.shape
    torch.Size([2, 33, 33])
    """
    n_samples = positive_int("n_samples", n_samples)
    shape = tuple(positive_int("grid_shape", size, minimum=2) for size in grid_shape)
    n_modes = positive_int("n_modes", n_modes, minimum=2)
    amplitude = _deviations(n_modes, len(shape), alpha, tau)
    amplitude *= float(tau) ** (alpha - 1) if sigma is None else sigma
    fields = []
    for _ in range(n_samples):
        field = torch.randn(amplitude.shape, dtype=torch.float64, generator=generator) * amplitude
        for size in shape:
            # the first axis of modes goes, its points come last: (K, ..) -> (.., K) -> (.., n)
            field = field.movedim(0, -1) @ _cosines(size, n_modes).T
        fields.append(field)
    return torch.stack(fields)


def _deviations(n_modes: int, n_axes: int, alpha: float, tau: float) -> Tensor:
    """Standard deviations (K, ..., K) of the coefficients, the mean's zero."""
    squared = squared_modes([range(n_modes)] * n_axes)
    deviations = (math.pi**2 * squared + tau**2) ** (-alpha / 2)
    deviations[(0,) * n_axes] = 0.0
    return deviations


def _cosines(size: int, n_modes: int) -> Tensor:
    """Orthonormal cosines (n, K) at the nodes of [0, 1]."""
    x = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    values = torch.cos(math.pi * x[:, None] * torch.arange(n_modes, dtype=torch.float64))
    values[:, 1:] *= math.sqrt(2)
    return values
