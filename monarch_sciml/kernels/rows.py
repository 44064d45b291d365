"""Dense rows of a two-factor Monarch transform as real planes, with a backward pass of its own.

Letters: n = N_1 N_2 grid size, K kept modes, U distinct first digits among them, J rows wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.dispatch import needs_plain_operations

RowIndex = tuple[Tensor | None, Tensor | None]
"""For either factor, its entry (J,) of each row wanted; None for all of them in order."""


def monarch_planes(first: Tensor, second: Tensor, index: RowIndex = (None, None)) -> Tensor:
    """Multiply out F[j, (x_1, x_2)] = first[j, x_2] second[j, x_2, x_1], which sums over no index.

    Parameters
    ----------
    first
        Left factor (K, N_2, 2), real and imaginary parts last.
    second
        Right factor (U, N_2, N_1, 2).
    index
        For each factor the entry that every row takes.

    Returns
    -------
    Planes (2, J, n), real part first, columns in natural order.

    Notes
    -----
    Forward and backward pass together take a dozen operations on small tensors, where plain
    autograd takes thirty. On small grids this is the extra cost of a learned transform over a fixed
    one.
    """
    if needs_plain_operations(first, second):
        return reference_monarch_planes(first, second, index)
    return _MonarchPlanes.apply(first, second, index)


def reference_monarch_planes(
    first: Tensor, second: Tensor, index: RowIndex = (None, None)
) -> Tensor:
    """Compute `monarch_planes` by differentiable real operations of torch. This is the slow
    reference, and the path that is traced and exported.
    """
    a, c = _picked(first, index[0]).unsqueeze(-2).unbind(-1)  # (J, N_2, 1) each
    b, d = _picked(second, index[1]).unbind(-1)  # (J, N_2, N_1) each
    return torch.stack([a * b - c * d, a * d + c * b]).mT.flatten(2)  # (2, J, N_1 N_2)


class _MonarchPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, index: RowIndex) -> Tensor:
        a = _picked(torch.view_as_complex(first), index[0])  # (J, N_2)
        b = _picked(torch.view_as_complex(second), index[1])  # (J, N_2, N_1)
        product = torch.view_as_real(a.unsqueeze(-1) * b)
        ctx.index = index
        ctx.save_for_backward(first, second, a, b)
        # (J, N_2, N_1, 2) -> (2, J, N_1 N_2)
        return product.permute(3, 0, 2, 1).reshape(2, product.shape[0], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        first, second, a, b = ctx.saved_tensors
        if torch.is_grad_enabled():
            wanted = [t for t, need in zip((first, second), ctx.needs_input_grad) if need]
            rows = reference_monarch_planes(first, second, ctx.index)
            found = iter(torch.autograd.grad(rows, wanted, gradient, create_graph=True))
            return (*(next(found) if need else None for need in ctx.needs_input_grad[:2]), None)
        # (2, J, N_1 N_2) -> (J, N_2, N_1)
        rows = torch.complex(gradient[0], gradient[1]).unflatten(-1, (b.shape[2], -1)).mT
        grad_a = (rows * b.conj()).sum(-1)
        grad_b = rows * a.conj().unsqueeze(-1)
        return (
            torch.view_as_real(_put_back(grad_a, ctx.index[0], first.shape[0])),
            torch.view_as_real(_put_back(grad_b, ctx.index[1], second.shape[0])),
            None,
        )


def _picked(entries: Tensor, index: Tensor | None) -> Tensor:
    return entries if index is None else entries.index_select(0, index)


def _put_back(gradient: Tensor, index: Tensor | None, size: int) -> Tensor:
    """Add up the gradients of picked entries."""
    gradient = gradient.contiguous()
    if index is None:
        return gradient
    return gradient.new_zeros(size, *gradient.shape[1:]).index_add_(0, index, gradient)
