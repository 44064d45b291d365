"""Apply a matrix along one axis of a tensor, real or complex, one matrix or one per channel.

Letters: K rows, n columns, C copies (one matrix per channel).
"""

from __future__ import annotations

import torch
from torch import Tensor


def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply along the last axis: x (..., n) or, for a matrix (C, K, n), x (..., C, n).

    Returns (..., K). Real x times a complex matrix is one real product with the real and imaginary
    columns side by side, at half the cost of a complex one.
    """
    if matrix.ndim == 3 and matrix.shape[0] > 1:
        # (C, K, n) with (..., C, n, 1) -> (..., C, K)
        return apply_batched(matrix, x.unsqueeze(-1)).squeeze(-1)
    matrix = matrix[0] if matrix.ndim == 3 else matrix
    if matrix.is_complex() and not x.is_complex():
        pairs = torch.view_as_real(matrix.resolve_conj())  # (K, n, 2)
        columns = pairs.permute(1, 0, 2).flatten(1)  # (n, 2K): re, im, re, im, ...
        return torch.view_as_complex((x @ columns).unflatten(-1, (-1, 2)))
    return x @ matrix.mT.to(x.dtype)


def apply_batched(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply (..., K, n) with (..., n, m), promoting a real partner to complex."""
    dtype = torch.promote_types(matrix.dtype, x.dtype)
    return matrix.to(dtype) @ x.to(dtype)


def along(x: Tensor, axis: int, channel_axis: int | None) -> Tensor:
    """Move `axis` last and, when given, `channel_axis` just before it (negative axes)."""
    if channel_axis is None:
        return x.movedim(axis, -1)
    return x.movedim((channel_axis, axis), (-2, -1))


def back(x: Tensor, axis: int, channel_axis: int | None) -> Tensor:
    """Undo `along`."""
    if channel_axis is None:
        return x.movedim(-1, axis)
    return x.movedim((-2, -1), (channel_axis, axis))
