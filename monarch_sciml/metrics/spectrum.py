"""Fields and their errors by wavenumber.

Letters: B samples, T time steps, F fields, then the grid: (B, T, F, *grid). Real or complex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.metrics.checks import check_shapes

BANDS = (4, 12)
"""First wavenumbers of PDEBench's middle and high band; the low band starts at 0."""


def fourier_rmse(prediction: Tensor, target: Tensor, *, bands: tuple[int, int] = BANDS) -> Tensor:
    """Compute the error per wavenumber shell, averaged within a low, a middle and a high band.

    Each shell holds the modes with floor(|k|) = κ, κ below half the shortest axis (in one dimension
    up to half the axis). Its error is sqrt(Σ |FFT(prediction − target)|²) / n over n grid points.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    bands
        First shells of the middle and of the high band.

    Returns
    -------
    Errors (B, 3) of the bands, averaged over times and fields, in the unit of the fields. A band
    without shells (the high one on 16 points) is NaN.

    Raises
    ------
    ValueError
        When the shapes differ or there is no grid axis.

    Notes
    -----
    The wavenumbers of two and more axes are, like those of PDEBench's code, those of the non-
    negative quadrant without Nyquist. That code also takes the mean over the samples of a batch
    inside the root; with batches of one sample its figure is the mean of these errors.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix B (fRMSE low, mid, high).
    """
    check_shapes(prediction, target)
    error = prediction - target
    grid_shape = error.shape[3:]
    spectrum = torch.fft.fftn(error, dim=tuple(range(3, error.ndim))).abs().square()
    kept = _kept(grid_shape)
    for axis, size in enumerate(kept):
        spectrum = spectrum.narrow(3 + axis, 0, size)
    waves = [torch.arange(size, dtype=torch.float64, device=error.device) for size in kept]
    radius = _radius(waves).floor().long().flatten()
    shells = _sum_shells(spectrum.flatten(3), radius, int(radius.max()) + 1)
    shells = shells[..., : _n_shells(grid_shape)].sqrt() / math.prod(grid_shape)
    parts = torch.tensor_split(shells, list(bands), dim=-1)
    return torch.stack([part.mean(dim=-1).mean(dim=(1, 2)) for part in parts], dim=-1)


def band_sizes(grid_shape: Sequence[int], *, bands: tuple[int, int] = BANDS) -> tuple[int, ...]:
    """Return how many shells the three bands of `fourier_rmse` have on a grid.

    Examples
    --------
    >>> band_sizes((64, 64)), band_sizes((16, 16))
    ((4, 8, 20), (4, 4, 0))
    """
    n_shells = _n_shells(grid_shape)
    edges = [0, *(min(edge, n_shells) for edge in bands), n_shells]
    return tuple(after - before for before, after in pairwise(edges))


def energy_spectrum(field: Tensor, *, domain_extent: Sequence[float] | None = None) -> Tensor:
    """Compute E(κ) = ½ Σ |û(k)|² over the modes with round(|k|) = κ, û = FFT(u) / n.

    Parameters
    ----------
    field
        Fields (B, T, F, *grid). For a velocity the spectrum is its energy, for a vorticity its
        enstrophy.
    domain_extent
        Length of each grid axis, any unit: wavenumbers then count the waves along the LONGEST axis,
        so that shells are spheres on a domain that is no cube. By default waves along each axis.

    Returns
    -------
    Spectrum (B, T, F, n_shells), squared unit of the field, κ = 0, 1, ... up to the corner of the
    grid. It sums to half the mean of |u|² (Parseval).

    Raises
    ------
    ValueError
        When there is no grid axis, or `domain_extent` does not hold a positive length for each.

    Notes
    -----
    The jump of a non-periodic field at the ends of the grid causes a tail ~ κ⁻² that is no error of
    a network.
    """
    check_shapes(field, field)
    grid_shape = field.shape[3:]
    lengths = [1.0] * len(grid_shape) if domain_extent is None else list(domain_extent)
    if len(lengths) != len(grid_shape) or not all(length > 0 for length in lengths):
        rule = f"`domain_extent` must hold {len(grid_shape)} positive lengths, one per grid axis"
        raise ValueError(message(rule, tuple(lengths), "Pass that of the data's spec."))
    spectrum = torch.fft.fftn(field, dim=tuple(range(3, field.ndim)), norm="forward")
    waves = [
        torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=field.device)
        * (max(lengths) / length)
        for n, length in zip(grid_shape, lengths)
    ]
    shell = _radius(waves).round().long().flatten()
    power = 0.5 * spectrum.abs().square().flatten(3)
    return _sum_shells(power, shell, int(shell.max()) + 1)


def _kept(grid_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the wavenumbers along each axis that PDEBench counts; an axis of one point has k =
    0.
    """
    n_axes = sum(size > 1 for size in grid_shape)
    return tuple(size // 2 + (n_axes == 1) if size > 1 else 1 for size in grid_shape)


def _n_shells(grid_shape: Sequence[int]) -> int:
    """Return the number of whole shells, set by the shortest axis of more than one point."""
    pairs = zip(_kept(grid_shape), grid_shape)
    return min((kept for kept, size in pairs if size > 1), default=1)


def _radius(waves: list[Tensor]) -> Tensor:
    """|k| on the product grid of the axes' wavenumbers."""
    mesh = torch.meshgrid(*waves, indexing="ij")
    return torch.stack([wave.square() for wave in mesh]).sum(dim=0).sqrt()


def _sum_shells(power: Tensor, shell: Tensor, n_shells: int) -> Tensor:
    """Sum (B, T, F, modes) over the modes of each shell -> (B, T, F, n_shells)."""
    sums = power.new_zeros((*power.shape[:-1], n_shells))
    return sums.index_add_(-1, shell, power)
