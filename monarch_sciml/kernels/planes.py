"""The truncated spectral convolution of real data as a few large real products.

Letters: B batch, I and O channels in and out, R = B I or B O rows, d axes, n_i sizes of an axis on
the grid, K_i kept modes, M = K_1 ... K_d; c = 2 planes.

A complex matrix is given by its planes (c, K, n), real part first: the rows of an analysis, the
columns of a synthesis. Modes stand first and rows last, so that an axis is one product of a small
stack of rows with a view of the data. Only the first and the last product of a pass touch full-size
data.

The backward pass of an analysis is a synthesis with the same planes and the reverse, up to
conjugation on the kept modes. `synthesise` therefore carries the conjugate of its modes, which
saves every change of sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.dispatch import with_graph, without_autocast
from monarch_sciml.kernels.gemm import inner_products


def analyse(x: Tensor, matrices: Sequence[Tensor], *, sums: bool = False) -> list[Tensor]:
    """Transform real x (R, n_1, ..., n_d) by planes of rows (c, K_i, n_i), last axis first.

    Returns
    -------
    The planes after each axis, (c, K_i ... K_d, R n_1 ... n_{i-1}) for i = d, ..., 1. With `sums`,
    the sum of x over its last axis, (R n_1 ... n_{d-1},), follows them.
    """
    *others, last = matrices
    modes, n = last.shape[1:]
    stack = last.reshape(2 * modes, n)
    if sums:
        stack = torch.cat([stack, stack.new_ones(1, n)])
    # (2K [+ 1], R n_1 ... n_{d-1})
    product = inner_products(stack.to(x.dtype), x.reshape(-1, n)).to(last.dtype)
    planes = product[: 2 * modes].view(2, modes, -1)
    stages = [planes]
    for matrix in reversed(others):
        modes, n = matrix.shape[1:]
        both = inner_products(matrix.reshape(2 * modes, n), planes.view(-1, n))
        both = both.view(2, modes, 2, -1)  # (c of the matrix, K, c of the data, ..)
        planes = both.new_empty(2, modes, both.shape[-1])
        torch.sub(both[0, :, 0], both[1, :, 1], out=planes[0])
        torch.add(both[0, :, 1], both[1, :, 0], out=planes[1])
        stages.append(planes)
    return [*stages, product[-1]] if sums else stages


def synthesise(
    modes: Tensor,
    matrices: Sequence[Tensor],
    dtype: torch.dtype,
    rows: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Transform complex modes (M, R) by planes of columns (c, K_i, m_i), first axis first.

    Parameters
    ----------
    modes, matrices
        The modes, and one matrix per axis.
    dtype
        Precision of the result, and of the last product, the only one at full size.
    rows
        Numbers (R m_1 ... m_{d-1},) to add along the last axis.
    out
        Fields (R, m_1, ..., m_d) of this precision to which the result is added in place.

    Returns
    -------
    Real part of the result, (R m_1 ... m_{d-1}, m_d), and the left operand (2 K_i, ..) of every
    product, which the gradients of the matrices need.
    """
    pairs = torch.view_as_real(modes)
    real, minus_imag = pairs[..., 0], -pairs[..., 1]
    operands = []
    planes = None
    for matrix in matrices[:-1]:
        n_modes, n = matrix.shape[1:]
        # (K_i ... K_d, R m_1 ..) -> (K_{i+1} ... K_d R m_1 .., K_i)
        real, minus_imag = real.reshape(n_modes, -1).t(), minus_imag.reshape(n_modes, -1).t()
        block = real.new_empty(2, real.shape[0], 2, n_modes)  # one complex product as a real one
        block[0, :, 0], block[0, :, 1], block[1, :, 0] = real, minus_imag, minus_imag
        torch.neg(real, out=block[1, :, 1])
        block = block.view(-1, 2 * n_modes)
        operands.append(block.t())
        planes = inner_products(block, matrix.reshape(2 * n_modes, n).t())
        real, minus_imag = planes.view(2, -1, n)
    last = matrices[-1]
    n_modes, n = last.shape[1:]
    planes = torch.cat([real, minus_imag]) if planes is None else planes
    planes = planes.view(2 * n_modes, -1)  # (2K, R m_1 ... m_{d-1})
    operands.append(planes)
    stack = last.reshape(2 * n_modes, n)
    if rows is not None:
        stack = torch.cat([stack, stack.new_ones(1, n)])
        planes = torch.cat([planes, rows.unsqueeze(0)])
    left, right = planes.to(dtype).t(), stack.to(dtype)
    if out is not None:
        return out.view(-1, n).addmm_(left, right), operands
    return inner_products(left, right.t()), operands


def matrix_gradient(operand: Tensor, data: Tensor, matrix: Tensor) -> Tensor:
    """Return the gradient (c, K, n) of a matrix from its operand (2K, ..) and its other operand."""
    n = matrix.shape[-1]
    product = inner_products(operand.to(data.dtype), data.reshape(-1, n).t())
    return product.to(matrix.dtype).view_as(matrix)


class PlanesConvolution(torch.autograd.Function):
    """Compute y = Re(S W A x) + b for real x, with matrices shared by all channels.

    The backward pass stores x, the kept modes and the intermediate results between the axes, so x
    is the only tensor of full size. When gradients of higher order are needed, it differentiates
    `plain` instead.
    """

    @staticmethod
    def forward(
        ctx: Any,
        plain: Callable[..., Tensor],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *matrices: Tensor,
    ) -> Tensor:
        """Take x (B, I, n_1 .. n_d), weight (K_1, ..., K_d, I, O) complex, bias (O,), planes of d
        analysis (c, K_i, n_i) and d synthesis (c, K_i, m_i) matrices; `plain` is the slow path.
        """
        dims, batch = len(matrices) // 2, x.shape[0]
        sizes = [matrix.shape[-1] for matrix in matrices[dims:]]
        mixing = weight.flatten(0, dims - 1)  # (M, I, O)
        stages = analyse(x.flatten(0, 1), matrices[:dims])
        modes = torch.complex(*stages.pop().unbind()).view(mixing.shape[0], batch, -1)  # (M, B, I)
        mixed = torch.bmm(modes, mixing).flatten(1)  # (M, B O)
        rows = None
        if bias is not None:  # (B O m_1 ... m_{d-1},)
            n_rows = mixed.shape[1] * torch.Size(sizes[:-1]).numel()
            rows = bias.view(1, -1, 1).expand(batch, -1, n_rows // (batch * len(bias))).reshape(-1)
        y, operands = synthesise(mixed, matrices[dims:], x.dtype, rows)
        ctx.plain, ctx.dims, ctx.n_stages = plain, dims, len(stages)
        ctx.save_for_backward(x, weight, bias, *matrices, modes, *stages, *operands)
        return y.view(batch, -1, *sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        (gradient,) = gradients
        dims, n_stages = ctx.dims, ctx.n_stages
        x, weight, bias, *rest = ctx.saved_tensors
        matrices, rest = rest[: 2 * dims], rest[2 * dims :]
        if torch.is_grad_enabled():
            inputs = [x, weight, bias, *matrices]
            needs = ctx.needs_input_grad[1:]
            return (None, *with_graph(ctx.plain, inputs, gradient, needs))
        modes, stages, operands = rest[0], rest[1 : 1 + n_stages], rest[1 + n_stages :]
        with without_autocast(x.device):
            return _gradients(ctx, gradient, x, weight, bias, matrices, modes, stages, operands)


def _gradients(
    ctx: Any,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    matrices: Sequence[Tensor],
    modes: Tensor,
    stages: Sequence[Tensor],
    operands: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """Go back through synthesis, mixing and analysis."""
    dims, batch = ctx.dims, x.shape[0]
    analysis, synthesis = matrices[:dims], matrices[dims:]
    _, needs_x, needs_weight, needs_bias, *needs = ctx.needs_input_grad
    grads: list[Tensor | None] = [None] * (2 * dims)
    grad_x = grad_weight = grad_bias = None
    gradient = gradient.contiguous()
    # the conjugate of the gradient on the modes
    back = analyse(gradient.flatten(0, 1), synthesis, sums=needs_bias)
    if needs_bias and bias is not None:
        grad_bias = back.pop().view(batch, len(bias), -1).sum((0, 2))
    mixed = torch.complex(*back.pop().unbind()).view(modes.shape[0], batch, -1)  # (M, B, O)
    for axis, data in enumerate([*reversed(back), gradient]):
        if needs[dims + axis]:
            grads[dims + axis] = matrix_gradient(operands[axis], data, synthesis[axis])
    if needs_weight:
        grad_weight = torch.bmm(modes.mH, mixed.conj_physical()).view_as(weight)
    if needs_x or any(needs[:dims]):
        mixed = torch.bmm(mixed, weight.flatten(0, dims - 1).mT).flatten(1)  # (M, B I)
        grad_x, operands = synthesise(mixed, analysis, x.dtype)
        grad_x = grad_x.view_as(x)
        for axis, data in enumerate([*reversed(stages), x]):
            if needs[axis]:
                grads[axis] = matrix_gradient(operands[axis], data, analysis[axis])
    return (None, grad_x, grad_weight, grad_bias, *grads)
