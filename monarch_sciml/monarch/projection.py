"""The nearest Monarch matrix to a dense matrix.

Letters: k, l number of blocks of `right`, `left`; p = n_in/k, s = n_out/l sizes of one slice;
t rank of a slice; q = (t, l) and r = (k, t) the inner sizes of the factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.monarch.block_sizes import block_counts
from monarch_sciml.monarch.contiguous import (
    LAYOUTS,
    FactorLayout,
    check_matrix,
    cut,
    project_contiguous,
)


def project(
    dense: Tensor,
    n_blocks: int | tuple[int, int] | tuple[Sequence[int], Sequence[int]],
    rank: int = 1,
    *,
    layout: FactorLayout = "strided",
    sizes: tuple[Sequence[int], Sequence[int]] | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return the Monarch factors nearest to a dense matrix in the Frobenius norm.

    The distance splits into one independent problem per slice,

    .. math:: \lVert A - M \rVert_F^2 = \sum_{j,k} \lVert A_{:,j,k,:} - M_{:,j,k,:} \rVert_F^2,

    where row s·l + j and column k·p + p' of A make A[s, j, k, p'], and every slice of M is any
    s x p matrix of the given rank. The truncated SVD of each slice is therefore globally optimal.

    Parameters
    ----------
    dense
        The matrix or matrices, shape (..., n_out, n_in), real or complex.
    n_blocks
        The pair (k, l): k blocks in `right` (k divides n_in), l blocks in `left` (l divides
        n_out); one int b stands for (b, b).
    rank
        Number of singular triples kept per slice, at most min(n_out/l, n_in/k). With that many, M
        equals `dense`.
    layout
        "strided" for P L Pᵀ R, or "contiguous" for slices of neighbouring rows and columns. For
        "contiguous", k and l need not divide the sizes, and may be tuples with one number of blocks
        for each axis of `sizes`.
    sizes
        The grids ((n_1, ..., n_d), (K_1, ..., K_e)) of the columns and of the rows of a contiguous
        matrix. By default each has one axis.
    weights
        Positive weights of the columns of a contiguous matrix; `project_contiguous` says how they
        act.

    Returns
    -------
    (left, right), shapes (..., l, n_out/l, k·rank) and (..., k, l·rank, n_in/k), for `multiply`
    and `to_dense`. Each carries the square root of the singular values. A contiguous matrix has
    factors (..., l, k, q, rank) and (..., k, l, rank, p), with q rows and p columns of the largest
    slice.

    Raises
    ------
    ValueError
        When `dense` has fewer than two axes or holds NaN, infinity or integers, a block count does
        not divide its size, or `rank` is above the largest possible.

    Notes
    -----
    The squared error is the sum of the discarded squared singular values of all slices. The cost is
    k·l SVDs of s x p matrices, O(n^2.5) for k = l = sqrt(n). The factors are not unique: only their
    product is, and that only while the last singular value kept exceeds the first one dropped. The
    result is differentiable where the singular values of each slice are distinct.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, Theorem 1 and Algorithm 1; rectangular
    slices and rank above 1 as in Qiu et al., 2024, arXiv 2406.06248.

    Examples
    --------
    >>> from monarch_sciml.monarch import to_dense
    >>> left, right = project(torch.randn(15, 12), n_blocks=(4, 3))
    >>> left.shape, right.shape, to_dense(left, right).shape
    (torch.Size([3, 5, 4]), torch.Size([4, 3, 3]), torch.Size([15, 12]))
    """
    check_matrix(dense)
    if one_of("layout", layout, LAYOUTS) == "contiguous":
        columns, rows = cut(dense.shape, n_blocks, sizes)
        return project_contiguous(dense, columns, rows, rank, weights)
    if sizes is not None or weights is not None:
        rule = "`sizes` and `weights` need layout='contiguous'"
        raise ValueError(message(rule, repr(layout), "Leave them out, or change `layout`."))
    n_right, n_left = block_counts(n_blocks)  # type: ignore[arg-type]
    n_s, n_p = _slice_shape(dense, n_right, n_left)
    rank = positive_int("rank", rank)
    if rank > min(n_s, n_p):
        rule = f"`rank` must be at most {min(n_s, n_p)} for slices of {n_s} x {n_p}"
        raise ValueError(message(rule, rank, "Lower `rank` or `n_blocks`."))
    slices = dense.unflatten(-1, (n_right, n_p)).unflatten(-3, (n_s, n_left))  # (..., s, l, k, p)
    slices = slices.movedim(-4, -2)  # (..., l, k, s, p)
    u, sigma, vh = torch.linalg.svd(slices, full_matrices=False)
    root = sigma[..., :rank].sqrt()  # (..., l, k, t)
    columns = u[..., :rank] * root[..., None, :]  # (..., l, k, s, t)
    rows = vh[..., :rank, :] * root[..., None]  # (..., l, k, t, p)
    left = columns.movedim(-3, -2).flatten(-2)  # (..., l, s, k, t) -> (..., l, s, k*t)
    right = rows.movedim(-4, -2).flatten(-3, -2)  # (..., k, t, l, p) -> (..., k, t*l, p)
    return left, right


def _slice_shape(dense: Tensor, n_right: int, n_left: int) -> tuple[int, int]:
    """Return (s, p), the shape of one slice; ValueError when the blocks do not fit."""
    n_out, n_in = dense.shape[-2:]
    if n_in % n_right:
        rule = f"`n_blocks` of `right` must divide the {n_in} columns"
        raise ValueError(message(rule, n_right, "Pick a divisor or pad the columns."))
    if n_out % n_left:
        rule = f"`n_blocks` of `left` must divide the {n_out} rows"
        raise ValueError(message(rule, n_left, "Pick a divisor or pad the rows."))
    return n_out // n_left, n_in // n_right
