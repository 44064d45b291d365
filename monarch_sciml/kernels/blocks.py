"""A full two-factor Monarch transform as two batched products on strided views, without copies.

Letters: n = N_1 N_2 grid size; grid index x = x_1 N_2 + x_2; mode k = k_1 + N_1 k_2; S slices, J
columns of a slice.

An analysis contracts x_1 for every x_2, then x_2 for every k_1; a synthesis contracts k_2 for every
k_1, then k_1 for every x_2. The transformed axis comes first, so that each digit of grid and modes
is a view of the slice, and the first product writes where the second one reads. Slices are
transformed one by one, so that the intermediate result between the two products stays in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.block_reference import reference_monarch_blocks
from monarch_sciml.kernels.dispatch import triton_enabled
from monarch_sciml.kernels.gpu import blocks as triton_blocks
from monarch_sciml.kernels.gpu.launch import runs_triton

_ROWS = 256  # rows taken together along the last axis


def monarch_blocks(x: Tensor, first: Tensor, second: Tensor, *, synthesis: bool) -> Tensor:
    """Apply a Monarch transform along the last axis: y = M x.

    Parameters
    ----------
    x
        (..., n), complex or real.
    first, second
        Blocks in the order in which they act. Analysis: (N_2, N_1, N_1) [x_2, k_1, x_1] and (N_1,
        N_2, N_2) [k_1, k_2, x_2]. Synthesis: (N_1, N_2, N_2) [k_1, x_2, k_2] and (N_2, N_1, N_1)
        [x_2, x_1, k_1].
    synthesis
        Whether the transform maps modes to the grid.

    Returns
    -------
    (..., n), complex. A transposed input (its last two axes swapped) gives a transposed result and
    is transformed faster.

    Notes
    -----
    The cost is 8 n (N_1 + N_2) operations for each vector. The backward pass recomputes the
    intermediate result, so only x is stored. When gradients of higher order are needed, it
    differentiates `reference_monarch_blocks` instead.
    """
    dtype = torch.promote_types(x.dtype, first.dtype)
    x, first, second = x.to(dtype), first.to(dtype), second.to(dtype)
    if triton_enabled() and dtype == torch.complex64 and runs_triton(x):
        return triton_blocks.fused_monarch_blocks(x, first, second, synthesis=synthesis)
    swapped = x.ndim > 1 and not x.is_contiguous() and x.mT.is_contiguous()
    if swapped:  # (..., J, n) -> (S, n, J)
        slices = x.mT.reshape(-1, x.shape[-1], x.shape[-2])
        return _MonarchBlocks.apply(slices, first, second, synthesis).view(x.mT.shape).mT
    rows = x.reshape(-1, x.shape[-1])
    step = math.gcd(len(rows), _ROWS) if len(rows) % _ROWS else _ROWS
    step = step if step >= 16 else len(rows)
    slices = rows.view(-1, step, x.shape[-1]).mT  # (S, n, J), a view
    return _MonarchBlocks.apply(slices, first, second, synthesis).mT.reshape(x.shape)


class _Views:
    """The digits of one slice (n, J) as batches of matrices, for the two products of a pass."""

    def __init__(self, first: Tensor, second: Tensor, synthesis: bool) -> None:
        self.n_1, self.n_2 = first.shape[:2] if synthesis else (second.shape[0], first.shape[0])
        self.synthesis = synthesis

    def grid(self, x: Tensor) -> Tensor:
        """View the grid (x_1 x_2, J) as (x_2, x_1, J)."""
        return x.view(self.n_1, self.n_2, -1).transpose(0, 1)

    def modes(self, z: Tensor) -> Tensor:
        """View the modes (k_2 k_1, J) as (k_1, k_2, J)."""
        return z.view(self.n_2, self.n_1, -1).transpose(0, 1)

    def between(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """View the intermediate result (k_1 x_2, J) as the first product writes and the second
        reads it.
        """
        by_k = y.view(self.n_1, self.n_2, -1)  # (k_1, x_2, J)
        by_x = by_k.transpose(0, 1)  # (x_2, k_1, J)
        return (by_k, by_x) if self.synthesis else (by_x, by_k)

    def source(self, x: Tensor) -> Tensor:
        """View the slice as the argument of the first product."""
        return self.modes(x) if self.synthesis else self.grid(x)

    def result(self, y: Tensor) -> Tensor:
        """View the slice as the result of the second product."""
        return self.grid(y) if self.synthesis else self.modes(y)


class _MonarchBlocks(torch.autograd.Function):
    """Apply the transform along axis -2 of x (S, n, J), copying a transposed slice within the
    cache.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, second: Tensor, synthesis: bool) -> Tensor:
        ctx.save_for_backward(x, first, second)
        ctx.synthesis = synthesis
        views = _Views(first, second, synthesis)
        out = torch.empty_like(x)  # with the strides of x
        between, spare = x.new_empty(2, *x.shape[1:]).unbind()
        after_first, before_second = views.between(between)
        direct = x.stride(-1) == 1
        for source, result in zip(x, out):
            argument = source if direct else spare.copy_(source)
            torch.bmm(first, views.source(argument), out=after_first)
            target = result if direct else spare
            torch.bmm(second, before_second, out=views.result(target))
            if not direct:
                result.copy_(spare)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, first, second = ctx.saved_tensors
        needs_x, *needs_blocks = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():
            inputs = (x, first, second)
            wanted = [t for t, need in zip(inputs, ctx.needs_input_grad) if need]
            y = reference_monarch_blocks(*inputs, ctx.synthesis)
            found = iter(torch.autograd.grad(y, wanted, gradients[0], create_graph=True))
            return (*(next(found) if need else None for need in ctx.needs_input_grad[:3]), None)
        views = _Views(first, second, ctx.synthesis)
        grad_x = torch.empty_like(x) if needs_x else None
        grad_first, grad_second = torch.zeros_like(first), torch.zeros_like(second)
        first_h, second_h = first.mH.resolve_conj(), second.mH.resolve_conj()
        buffers = x.new_empty(4, *x.shape[1:]).unbind()
        between, grad_between, source, result = buffers
        after_first, before_second = views.between(between)
        grad_after_first, grad_before_second = views.between(grad_between)
        for s in range(len(x)):
            result.copy_(gradients[0][s])
            gradient = views.result(result)
            torch.bmm(second_h, gradient, out=grad_before_second)
            if any(needs_blocks):
                argument = views.source(source.copy_(x[s]))
                torch.bmm(first, argument, out=after_first)
                grad_second += torch.bmm(gradient, before_second.mH)
                grad_first += torch.bmm(grad_after_first, argument.mH)
            if grad_x is not None:
                torch.bmm(first_h, grad_after_first, out=views.source(result))
                grad_x[s].copy_(result)
        return (
            grad_x,
            grad_first if needs_blocks[0] else None,
            grad_second if needs_blocks[1] else None,
            None,
        )
