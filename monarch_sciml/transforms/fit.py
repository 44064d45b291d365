"""Fit a transform to pairs of inputs and outputs in closed form.

Letters: S samples, n entries of one input, m of one output, N grid points, K modes, r rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_number
from monarch_sciml.monarch.contiguous import project_contiguous
from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.corrected import CorrectedTransform
from monarch_sciml.transforms.corrected_start import axes_of, n_leading
from monarch_sciml.transforms.separable import SeparableTransform


def fit_matrix(
    x: Tensor, y: Tensor, start: Transform | SeparableTransform, ridge: float = 1e-3
) -> Tensor:
    r"""Return the matrix that best maps x to y while it stays near a fixed transform.

    .. math:: \min_T \sum_s \lVert y_s - T x_s \rVert^2 + λ \lVert T - T_0 \rVert_F^2, \qquad
              λ = \text{ridge} \cdot \frac1n \sum_s \lVert x_s \rVert^2

    Parameters
    ----------
    x
        Inputs of the transform (S, ...), with the axes of the transform.
    y
        Outputs (S, ...).
    start
        The fixed transform T_0.
    ridge
        Dimensionless weight in units of the mean eigenvalue of the covariance of the inputs. In
        directions that no sample contains, the matrix equals T_0.

    Returns
    -------
    (m, n), complex128 or float64. For a synthesis with `real_input` the output is Re(T x).

    Raises
    ------
    ValueError
        When sizes or numbers of samples differ, a value is not finite, all inputs are zero, or
        `ridge` is zero and there are fewer samples than unknowns per row.
    """
    ridge = positive_number("ridge", ridge, or_zero=True)
    matrix = start.matrix().detach()
    matrix = matrix.to(torch.complex128 if matrix.is_complex() else torch.float64)
    pairs = []
    for name, values, size in (("x", x, matrix.shape[1]), ("y", y, matrix.shape[0])):
        finite(name, values, remedy="Leave these samples out.")
        flat = values.flatten(1) if values.ndim > 1 else values[None]
        if values.ndim < 2 or flat.shape[1] != size or len(values) != len(x):
            rule = f"`{name}` must be ({len(x)} samples, {size} entries) for this transform"
            raise ValueError(message(rule, tuple(values.shape), "Check the sizes."))
        pairs.append(flat.to(torch.complex128 if flat.is_complex() else torch.float64))
    inputs, outputs = pairs
    if not bool(inputs.any()):
        rule = "`x` must hold fields that are not zero"
        raise ValueError(message(rule, f"{len(inputs)} of zeros", "Check the data."))
    spec = axes_of(start)[-1].spec
    n_modes = matrix.shape[1]
    as_real = spec.real_input and spec.synthesis  # y = Re(T x) is linear in the parts of x only
    if as_real:
        parts = inputs.to(torch.complex128)
        inputs = torch.cat([parts.real, -parts.imag], dim=1)
        matrix = torch.cat([matrix.real, matrix.imag], dim=1)
    dtype = torch.promote_types(torch.promote_types(inputs.dtype, outputs.dtype), matrix.dtype)
    inputs, outputs, matrix = inputs.to(dtype), outputs.to(dtype), matrix.to(dtype)
    unknowns = inputs.shape[1]
    if ridge == 0 and len(inputs) < unknowns:
        rule = f"`x` must hold {unknowns} samples or more where ridge is 0"
        got = f"{len(inputs)}, {unknowns - len(inputs)} too few"
        remedy = "Set `ridge` above 0, which keeps T_0 where no sample tells."
        raise ValueError(message(rule, got, remedy))
    covariance = inputs.mT @ inputs.conj()  # (n, n), sum of x x^H
    weight = ridge * float(covariance.diagonal().real.mean())
    fitted = ridge_matrix(covariance, outputs.mT @ inputs.conj(), matrix, weight)
    return torch.complex(fitted[:, :n_modes], fitted[:, n_modes:]) if as_real else fitted


def ridge_matrix(covariance: Tensor, cross: Tensor, start: Tensor, weight: float) -> Tensor:
    r"""Return the matrix T of `fit_matrix` from sums over the samples, or several of them.

    Parameters
    ----------
    covariance
        Sum of x x^H, (..., n, n).
    cross
        Sum of y x^H, (..., m, n).
    start
        T_0, (m, n).
    weight
        λ, in the unit of the covariance.

    Raises
    ------
    ValueError
        When λ is zero and the equations do not determine T.
    """
    if weight == 0:
        values = torch.linalg.eigvalsh(covariance)  # ascending
        least = values[..., -1:] * covariance.shape[-1] * torch.finfo(values.dtype).eps
        if missing := int((values <= least).sum()):
            rule = "the samples must determine every entry of the matrix where ridge is 0"
            remedy = "Set `ridge` above 0, which keeps T_0 where no sample tells."
            raise ValueError(message(rule, f"{missing} directions without any", remedy))
    weighted = covariance.clone()
    weighted.diagonal(dim1=-2, dim2=-1).add_(weight)
    # (T - T_0) (C + lambda) = sum of (y - T_0 x) x^H, C Hermitian
    return start + torch.linalg.solve(weighted.mH, (cross - start @ covariance).mH).mH


@torch.no_grad()
def fit_transform(
    x: Tensor,
    y: Tensor,
    start: Transform | SeparableTransform,
    rank: int = 2,
    ridge: float = 1e-3,
    **blocks: int | tuple[int, ...],
) -> CorrectedTransform:
    """Return the corrected transform nearest to the best linear map of x to y.

    `fit_matrix` is projected to slices of rank r. Every entry of x is weighted by its root mean
    square, so that the error of the outputs is minimised instead of that of the matrix. The result
    can be used as it is or as the start of training.

    Parameters
    ----------
    x, y, start, ridge
        The arguments of `fit_matrix` with the same meaning.
    rank
        Rank of the slices.
    **blocks
        `grid_blocks` and `mode_blocks` of the `CorrectedTransform`.

    Raises
    ------
    ValueError
        When `fit_matrix` raises it, or rank or blocks do not fit.

    Examples
    --------
    >>> import torch
    >>> from monarch_sciml.transforms import FourierTransform
    >>> x = torch.randn(100, 16, dtype=torch.complex64)
    >>> delayed = torch.fft.fft(x.roll(1, -1), norm="ortho")
    >>> transform = fit_transform(x, delayed, FourierTransform(16), rank=2, ridge=1e-6)
    >>> bool((transform(x) - delayed).norm() < 0.2 * delayed.norm())
    True
    """
    transform = CorrectedTransform(start, rank, **blocks)  # type: ignore[arg-type]
    change = fit_matrix(x, y, start, ridge) - start.matrix().detach()
    set_change(transform, change, x.flatten(1).abs().double().square().mean(0).sqrt())
    return transform


@torch.no_grad()
def set_change(transform: CorrectedTransform, change: Tensor, weights: Tensor) -> None:
    """Set the correction of a transform to the nearest one to a matrix.

    Parameters
    ----------
    transform
        The corrected transform, which is changed.
    change
        ΔT, (K, N) for analysis, (N, K) for synthesis.
    weights
        Root mean square of every entry of the input, (N) or (K): errors of the output count, not
        errors of the matrix.
    """
    rank = transform.rank
    weights = weights.clamp_min(1e-6 * weights.max())
    synthesis = transform.spec.synthesis
    rows = change.mT if synthesis else change  # (K, N)
    for axis, part in enumerate(transform.axes):  # to ascending modes
        rows = rows.unflatten(0, transform.mode_blocks.sizes)
        rows = rows.roll(-n_leading(part), axis).flatten(0, transform.n_mode_axes - 1)
        if synthesis:
            kept = weights.unflatten(0, transform.mode_blocks.sizes)
            weights = kept.roll(-n_leading(part), axis).flatten()
    patches, modes = transform.patches, transform.mode_blocks
    if synthesis:  # of the transposed matrix, whose columns are the modes
        right, left = project_contiguous(rows.mT, modes, patches, rank, weights)
        left, right = left.mT, right.mT
    else:
        left, right = project_contiguous(rows, patches, modes, rank, weights)
    transform.set_factors(left, right)
