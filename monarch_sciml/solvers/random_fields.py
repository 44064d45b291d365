"""Random initial fields and coefficients for the reference solvers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int


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
        Of the result; torch's defaults when None.

    Returns
    -------
    Tensor
        Fields (n_samples, *grid_shape), dimensionless. With the default values their standard
        deviation over the grid and the samples is 0.263 in two dimensions.

    Notes
    -----
    The FNO authors' script draws the noise with torch.randn(dtype=cfloat), which since torch 1.7
    has variance 1/2 in each part; the published files predate that, and so do these amplitudes.

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
