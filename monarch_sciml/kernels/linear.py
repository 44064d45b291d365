"""Product of vectors with a Monarch matrix as two batched products, with a backward pass of its
own.

Letters: N vectors; k, l blocks of `right`, `left`; p, s inputs and outputs of one slice; t rank.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.dispatch import fits_kernel, with_graph

_FEWEST_VECTORS = 16
_FEWEST_NUMBERS = 1 << 18
"""Vectors, and numbers in both factors, from which on the kernel is faster, forward and backward.

Measured with 4 blocks, half of the dense parameters and one thread of an AMD EPYC (Zen 4), in units
of the time of the kernel, 16 to 2048 vectors: plain operations take 0.89 to 1.13 at widths up to
512, 0.99 to 1.21 at 768 (2^18.2 numbers), 1.03 to 1.30 at 1024, 1.08 to 1.73 at 2048. With 8
vectors and fewer, or without gradients (0.5 to 1.0), the kernel does not pay at every width.
"""


def monarch_product(x: Tensor, left: Tensor, right: Tensor, *, strided: bool) -> Tensor:
    """Multiply vectors x (N, k·p) by M = P L Pᵀ R, or by L Pᵀ R when not `strided`.

    Parameters
    ----------
    x
        The vectors as rows.
    left
        Blocks of L, shape (l, s, k·t).
    right
        Blocks of R, shape (k, t·l, p).
    strided
        Whether output j of block i is entry j·l + i of the result, and not i·s + j.

    Returns
    -------
    The products (N, s·l).

    Notes
    -----
    Large products in single or double precision on a CPU take a kernel with a backward pass of its
    own when they will be differentiated (`kernel_pays`), everything else plain operations. In the
    kernel the vectors between the two products are columns, so that the permutation Pᵀ is only a
    stride. The result, and the gradient that arrives, are each permuted by one copy; plain autograd
    copies the gradient once for each product that uses it, entry by entry.
    """
    if not (fits_kernel(x, left, right) and kernel_pays(x, left, right)):
        return reference_monarch_product(x, left, right, strided=strided)
    return _MonarchProduct.apply(strided, x, left, right)


def kernel_pays(x: Tensor, left: Tensor, right: Tensor) -> bool:
    """Return whether the kernel is at least as fast as plain operations: for gradients of 16
    vectors or more and factors of 2^18 numbers or more.
    """
    large = len(x) >= _FEWEST_VECTORS and left.numel() + right.numel() >= _FEWEST_NUMBERS
    return large and torch.is_grad_enabled() and any(t.requires_grad for t in (x, left, right))


def reference_monarch_product(x: Tensor, left: Tensor, right: Tensor, *, strided: bool) -> Tensor:
    """Compute `monarch_product` by differentiable operations of torch, which can be traced."""
    n_right, n_q, n_p = right.shape
    n_left, _, n_r = left.shape
    groups = x.unflatten(-1, (n_right, n_p))  # (N, k·p) -> (N, k, p)
    z = torch.bmm(groups.transpose(0, 1), right.mT)  # (k, N, t·l)
    z = z.unflatten(-1, (n_q // n_left, n_left)).permute(3, 1, 0, 2)  # -> (l, N, k, t)
    y = torch.bmm(z.reshape(n_left, -1, n_r), left.mT)  # (l, N, k·t) -> (l, N, s)
    return y.permute((1, 2, 0) if strided else (1, 0, 2)).flatten(1)  # (N, s·l) or (N, l·s)


class _MonarchProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, strided: bool, x: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.strided, ctx.plain = strided, partial(reference_monarch_product, strided=strided)
        z = torch.bmm(right, _columns(x, right))  # (k, t·l, N)
        z = z.view(left.shape[2], left.shape[0], -1).transpose(0, 1)  # (k·t, l, N) -> (l, k·t, N)
        ctx.save_for_backward(x, left, right, z)
        y = torch.bmm(z.mT, left.mT)  # (l, N, s)
        return y.permute((1, 2, 0) if strided else (1, 0, 2)).reshape(len(x), -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, left, right, z = ctx.saved_tensors
        if torch.is_grad_enabled():
            needs = ctx.needs_input_grad[1:]
            return None, *with_graph(ctx.plain, (x, left, right), gradient, needs)
        n_left, n_s, _ = left.shape
        if ctx.strided:  # (N, s·l) -> (l, s, N) by one copy
            columns = gradient.mT.contiguous().unflatten(0, (n_s, n_left)).transpose(0, 1)
        else:
            columns = gradient.mT.unflatten(0, (n_left, n_s))
        _, needs_x, needs_left, needs_right = ctx.needs_input_grad
        grad_x = grad_left = grad_right = None
        if needs_left:
            grad_left = torch.bmm(columns, z.mT)  # (l, s, k·t)
        if needs_x or needs_right:
            inner = torch.bmm(left.mT, columns).transpose(0, 1)  # (k·t, l, N)
            inner = inner.reshape(len(right), -1, len(x))  # (k, t·l, N)
            if needs_right:
                grad_right = torch.bmm(inner, _columns(x, right).mT)  # (k, t·l, p)
            if needs_x:  # (k, N, p) -> (N, k·p)
                grad_x = torch.bmm(inner.mT, right).transpose(0, 1).reshape(x.shape)
        return None, grad_x, grad_left, grad_right


def _columns(x: Tensor, right: Tensor) -> Tensor:
    """Return the groups of x (N, k·p) as columns, a view (k, p, N)."""
    return x.unflatten(-1, (len(right), right.shape[2])).permute(1, 2, 0)
