"""Errors of predicted fields by the definitions of their papers, one value per sample.

Letters: B samples, T time steps, F fields, then the grid: (B, T, F, *grid). Real or complex.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.metrics.boundary import boundary_profile as boundary_profile
from monarch_sciml.metrics.boundary import boundary_rmse as boundary_rmse
from monarch_sciml.metrics.checks import check_shapes
from monarch_sciml.metrics.spectrum import energy_spectrum as energy_spectrum
from monarch_sciml.metrics.spectrum import fourier_rmse as fourier_rmse


def relative_l2(prediction: Tensor, target: Tensor, *, check: bool = True) -> Tensor:
    """Compute ‖prediction − target‖₂ / ‖target‖₂ of each sample, all else flattened.

    This is the metric of the FNO paper, with one norm over all times, fields and grid points of a
    sample. The training loss of the paper is this error of each time step, summed over the steps.

    Parameters
    ----------
    prediction, target
        Fields (B, ...), same shape and unit.
    check
        Whether to check for zero targets. False saves a synchronisation with the device in a
        training loop.

    Returns
    -------
    Errors (B,), dimensionless; their mean is the paper's figure.

    Raises
    ------
    ValueError
        When the shapes differ or a sample's target is zero.

    Notes
    -----
    neuralop's `LpLoss(d=2)` is a different number, because it sums over batch AND fields.
    `LpLoss(d=n)`, with n the number of axes after the batch, is the sum of these errors over the
    batch.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021 (`LpLoss.rel` of the authors' code).

    Examples
    --------
    >>> target = torch.ones(2, 1, 1, 8, 8)
    >>> relative_l2(1.1 * target, target)
    tensor([0.1000, 0.1000])
    """
    check_shapes(prediction, target, minimum=2)
    return _ratio(prediction.flatten(1), target.flatten(1), check)


def relative_l2_over_time(prediction: Tensor, target: Tensor, *, check: bool = True) -> Tensor:
    """Compute the relative L2 error of each time step, fields and grid flattened.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    check
        Whether to check for zero targets, as in `relative_l2`.

    Returns
    -------
    Errors (B, T), dimensionless.

    Raises
    ------
    ValueError
        When the shapes differ or the target of a step is zero.
    """
    check_shapes(prediction, target, minimum=3)
    return _ratio(prediction.flatten(2), target.flatten(2), check)


def rmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the root-mean-square error over the grid, averaged over times and fields.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.

    Returns
    -------
    Errors (B,), in the unit of the fields.

    Raises
    ------
    ValueError
        When the shapes differ or there is no grid axis.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix B (RMSE): root before the mean over times.
    """
    check_shapes(prediction, target)
    return _mean_square(prediction - target).sqrt().mean(dim=(1, 2))


def nrmse(prediction: Tensor, target: Tensor, *, check: bool = True) -> Tensor:
    """Compute rmse / rms of the target for each time and field, averaged over both.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    check
        Whether to check for zero targets, as in `relative_l2`.

    Returns
    -------
    Errors (B,), dimensionless.

    Raises
    ------
    ValueError
        When the shapes differ or the target of a time and field is zero.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix B (nRMSE).
    """
    check_shapes(prediction, target)
    error = _ratio(prediction.flatten(3), target.flatten(3), check)
    return error.mean(dim=(1, 2))


def vrmse(prediction: Tensor, target: Tensor, *, eps: float = 1e-7) -> Tensor:
    """Compute sqrt(mean (prediction − target)² / (var(target) + eps)), averaged over times, fields.

    A prediction of the target's spatial mean scores about 1.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    eps
        Number added to the variance, so that a constant target gives a large number instead of
        infinity.

    Returns
    -------
    Errors (B,), dimensionless.

    Raises
    ------
    ValueError
        When the shapes differ or there is no grid axis.

    Notes
    -----
    The variance is the unbiased one (divisor n − 1), as in The Well's code.

    References
    ----------
    Ohana et al., The Well, NeurIPS 2024, appendix E.3 (VRMSE).
    """
    check_shapes(prediction, target)
    variance = target.flatten(3).var(dim=-1)
    return (_mean_square(prediction - target) / (variance + eps)).sqrt().mean(dim=(1, 2))


def max_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the largest |prediction − target| of each sample.

    Parameters
    ----------
    prediction, target
        Fields (B, ...), same shape and unit.

    Returns
    -------
    Errors (B,), in the unit of the fields.

    Raises
    ------
    ValueError
        When the shapes differ.

    Notes
    -----
    PDEBench takes the maximum over grid and samples, then the mean over times and fields.
    """
    check_shapes(prediction, target, minimum=2)
    return (prediction - target).abs().flatten(1).amax(dim=1)


def _ratio(prediction: Tensor, target: Tensor, check: bool) -> Tensor:
    """Return the norm of the difference divided by that of the target, along the last axis."""
    norm = torch.linalg.vector_norm(target, dim=-1)
    if check and bool((norm == 0).any()):
        where = tuple(int(i) for i in (norm == 0).nonzero()[0])
        got = f"zero at index {where} of axes (sample, time, field)[:{len(where)}]"
        remedy = "Leave such samples out, or use `rmse`."
        raise ValueError(message("a relative error needs a target that is not zero", got, remedy))
    return torch.linalg.vector_norm(prediction - target, dim=-1) / norm


def _mean_square(error: Tensor) -> Tensor:
    return error.abs().square().flatten(3).mean(dim=-1)
