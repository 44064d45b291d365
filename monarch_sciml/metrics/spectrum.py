"""Fields and their errors by wavenumber.

Shapes: B samples, T time steps, F fields, then the grid: (B, T, F, *grid). Real or complex.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from monarch_sciml.metrics._shapes import check_shapes

BANDS = (4, 12)
"""First wavenumbers of PDEBench's middle and high band; the low band starts at 0."""


def fourier_rmse(prediction: Tensor, target: Tensor, *, bands: tuple[int, int] = BANDS) -> Tensor:
    """Compute the error per wavenumber shell, averaged within a low, a middle and a high band.

    Each shell holds the modes with floor(|k|) = κ, κ below half the shortest axis. Its error is
    sqrt(Σ |FFT(prediction − target)|²) / n over n grid points.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    bands
        First shells of the middle and of the high band.

    Returns
    -------
    Tensor
        Errors (B, 3) of the bands, averaged over times and fields, in the unit of the fields. A
        band without shells (the high one on 16 points) is NaN.

    Raises
    ------
    ValueError
        When the shapes differ or there is no grid axis.

    Notes
    -----
    As in PDEBench's code, the wavenumbers of two and more axes are those of the non-negative
    quadrant without Nyquist. That code also takes the mean over the samples of a batch inside the
    root; with batches of one sample its figure is the mean of ours.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix B (fRMSE low, mid, high).
    """
    check_shapes(prediction, target)
    error, n_dims = prediction - target, prediction.ndim - 3
    grid_shape = error.shape[3:]
    spectrum = torch.fft.fftn(error, dim=tuple(range(3, error.ndim))).abs().square()
    if n_dims == 1:
        kept = (grid_shape[0] // 2 + 1,)
    else:
        kept = tuple(size // 2 for size in grid_shape)
    for axis, size in enumerate(kept):
        spectrum = spectrum.narrow(3 + axis, 0, size)
    waves = [torch.arange(size, dtype=torch.float64, device=error.device) for size in kept]
    radius = _radius(waves).floor().long().flatten()
    shells = _sum_shells(spectrum.flatten(3), radius, int(radius.max()) + 1)
    shells = shells[..., : min(kept)].sqrt() / math.prod(grid_shape)
    parts = torch.tensor_split(shells, list(bands), dim=-1)
    return torch.stack([part.mean(dim=-1).mean(dim=(1, 2)) for part in parts], dim=-1)


def energy_spectrum(field: Tensor) -> Tensor:
    """Compute E(κ) = ½ Σ |û(k)|² over the modes with round(|k|) = κ, û = FFT(u) / n.

    Parameters
    ----------
    field
        Fields (B, T, F, *grid); of a velocity this is its energy, of a vorticity its enstrophy.

    Returns
    -------
    Tensor
        Spectrum (B, T, F, n_shells), squared unit of the field, κ = 0, 1, ... up to the corner of
        the grid. It sums to half the mean of |u|² (Parseval).

    Raises
    ------
    ValueError
        When there is no grid axis.
    """
    check_shapes(field, field)
    grid_shape = field.shape[3:]
    spectrum = torch.fft.fftn(field, dim=tuple(range(3, field.ndim)), norm="forward")
    waves = [
        torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=field.device) for n in grid_shape
    ]
    shell = _radius(waves).round().long().flatten()
    power = 0.5 * spectrum.abs().square().flatten(3)
    return _sum_shells(power, shell, int(shell.max()) + 1)


def _radius(waves: list[Tensor]) -> Tensor:
    """|k| on the product grid of the axes' wavenumbers."""
    mesh = torch.meshgrid(*waves, indexing="ij")
    return torch.stack([wave.square() for wave in mesh]).sum(dim=0).sqrt()


def _sum_shells(power: Tensor, shell: Tensor, n_shells: int) -> Tensor:
    """Sum (B, T, F, modes) over the modes of each shell -> (B, T, F, n_shells)."""
    sums = power.new_zeros((*power.shape[:-1], n_shells))
    return sums.index_add_(-1, shell, power)
