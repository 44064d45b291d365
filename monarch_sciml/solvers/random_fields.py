"""Random initial fields and coefficients for the reference solvers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int
from monarch_sciml.solvers.random_series import squared_modes


def gaussian_random_field(
    n_samples: int,
    grid_shape: Sequence[int],
    *,
    alpha: float = 2.5,
    tau: float = 7.0,
    sigma: float | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw periodic Gaussian random fields with covariance ∝ σ² (−Δ + τ² I)^(−α), zero mean.

    The Fourier coefficients are n √2 σ (4π²|k|² + τ²)^(−α/2) (ξ + iη), ξ and η independent
    N(0, 1), n the number of grid points; the field is the real part of the inverse FFT.

    Parameters
    ----------
    n_samples
        Number of fields.
    grid_shape
        Points along each axis of the unit torus, any number of axes, odd or even.
    alpha
        Smoothness, above half the number of axes for a continuous limit.
    tau
        Inverse length scale.
    sigma
        Amplitude; None takes τ^(α − d/2) for d axes (7^1.5 for the FNO paper's values).
    generator
        Source of the random numbers; it must live on `device`.
    dtype, device
        Precision and device of the result; torch's defaults when None.

    Returns
    -------
    Fields (n_samples, *grid_shape), dimensionless. With the default values their standard deviation
    over the grid and the samples is 0.263 in two dimensions.

    Notes
    -----
    The FNO authors' script draws the noise with torch.randn(dtype=cfloat), which since torch 1.7
    has variance 1/2 in each part. The amplitudes here are those of the published files, which are
    older and have variance 1.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section A.3.3.

    Examples
    --------
    >>> w0 = gaussian_random_field(4, (32, 32), generator=torch.Generator().manual_seed(0))
    >>> w0.shape
    torch.Size([4, 32, 32])
    """
    n_samples = positive_int("n_samples", n_samples)
    shape = tuple(positive_int("grid_shape", size) for size in grid_shape)
    dtype = dtype or torch.get_default_dtype()
    scale = float(tau) ** (alpha - len(shape) / 2) if sigma is None else sigma
    squared = torch.zeros(shape, dtype=torch.float64)
    for axis, size in enumerate(shape):
        wavenumber = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
        # (size,) -> (1, .., size, .., 1), broadcast over the other axes
        squared += wavenumber.square().view([-1 if a == axis else 1 for a in range(len(shape))])
    amplitude = squared.numel() * math.sqrt(2) * scale
    amplitude *= (4 * math.pi**2 * squared + tau**2) ** (-alpha / 2)
    amplitude[(0,) * len(shape)] = 0.0
    noise = torch.randn(n_samples, *shape, 2, generator=generator, dtype=dtype, device=device)
    coefficients = torch.view_as_complex(noise) * amplitude.to(noise)
    return torch.fft.ifftn(coefficients, dim=tuple(range(1, len(shape) + 1))).real.contiguous()


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
    Fields (n_samples, *grid_shape), float64, dimensionless.

    Raises
    ------
    ValueError
        When a count is too small.

    Notes
    -----
    The mode k = 0 is left out, as in the FNO authors' script, although the covariance in their
    paper includes it. A sample costs d products of matrices n x K.

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
    """Return the standard deviations (K, ..., K) of the coefficients, which is zero for the
    mean.
    """
    squared = squared_modes([range(n_modes)] * n_axes)
    deviations = (math.pi**2 * squared + tau**2) ** (-alpha / 2)
    deviations[(0,) * n_axes] = 0.0
    return deviations


def _cosines(size: int, n_modes: int) -> Tensor:
    """Return orthonormal cosines (n, K) at the nodes of [0, 1]."""
    x = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    values = torch.cos(math.pi * x[:, None] * torch.arange(n_modes, dtype=torch.float64))
    values[:, 1:] *= math.sqrt(2)
    return values
