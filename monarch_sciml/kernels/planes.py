"""The truncated spectral convolution of real data on a CPU: few large real products, own backward.

Letters: B batch, I and O channels in and out, R = B I or B O rows, d axes, n_i sizes of an axis on
the grid, K_i kept modes, M = K_1 ... K_d; c = 2 planes, real and imaginary.

Modes stand first and rows last throughout, so that every axis is one matrix product of a small
stack of real rows with a view of the data, and nothing is transposed. Only the first and the last
product of a pass touch full-size data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.gemm import inner_products


def analyse(x: Tensor, matrices: Sequence[Tensor], *, sums: bool = False) -> list[Tensor]:
    """Transform real x (R, n_1, ..., n_d) by complex matrices (K_i, n_i), last axis first.

    Returns
    -------
    The planes after each axis, (c, K_i ... K_d, R n_1 ... n_{i-1}) for i = d, ..., 1; with `sums`
    followed by the sum of x over its last axis, (R n_1 ... n_{d-1},).
    """
    last = matrices[-1]
    parts = [last.real, last.imag]
    if sums:
        parts.append(last.real.new_ones(1, last.shape[-1]))
    stack = torch.cat(parts)  # (2K [+ 1], n_d)
    # (2K [+ 1], R n_1 ... n_{d-1})
    product = inner_products(stack.to(x.dtype), x.reshape(-1, x.shape[-1])).to(stack.dtype)
    n_rows = 2 * last.shape[0]
    planes = product[:n_rows].view(2, last.shape[0], -1)
    stages = [planes]
    for matrix in reversed(matrices[:-1]):
        modes, n = matrix.shape
        stack = torch.cat([matrix.real, matrix.imag])  # (2K, n)
        both = inner_products(stack, planes.view(-1, n)).view(2, modes, 2, -1)  # (c, K, c, ..)
        planes = both.new_empty(2, modes, both.shape[-1])
        torch.sub(both[0, :, 0], both[1, :, 1], out=planes[0])
        torch.add(both[0, :, 1], both[1, :, 0], out=planes[1])
        stages.append(planes)
    return [*stages, product[n_rows]] if sums else stages


def synthesise(
    planes: Tensor, matrices: Sequence[Tensor], dtype: torch.dtype, rows: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Transform planes (c, K_1 ... K_d, R) by complex matrices (m_i, K_i), first axis first.

    Parameters
    ----------
    planes, matrices
        Real and imaginary parts of the modes; one matrix per axis.
    dtype
        Of the result and of the last product, the one at full size.
    rows
        Numbers (R m_1 ... m_{d-1},) to add along the last axis.

    Returns
    -------
    Real part of the result, (R m_1 ... m_{d-1}, m_d), and the left operand of every product, (2
    K_i, ...), which the gradients of the matrices need.
    """
    operands = []
    for matrix in matrices[:-1]:
        modes = matrix.shape[-1]
        real, imag = planes.view(2, modes, -1)  # (K, K_{i+1} ... K_d R m_1 ..)
        block = real.new_empty(2, modes, 2, real.shape[-1])  # (c, K, c, ..): one complex product
        block[0, :, 0], block[1, :, 1], block[0, :, 1] = real, real, imag
        torch.neg(imag, out=block[1, :, 0])
        block = block.view(2 * modes, -1)
        operands.append(block)
        planes = inner_products(block.t(), torch.cat([matrix.real, matrix.imag], dim=1))
    last = matrices[-1]
    planes = planes.view(2 * last.shape[-1], -1)  # (2K, R m_1 ... m_{d-1})
    operands.append(planes)
    parts = [last.real, -last.imag]
    if rows is not None:
        parts.append(last.real.new_ones(last.shape[0], 1))
        planes = torch.cat([planes, rows.unsqueeze(0)])
    stack = torch.cat(parts, dim=1)  # (m_d, 2K [+ 1])
    return inner_products(planes.to(dtype).t(), stack.to(dtype)), operands


def outer(operand: Tensor, planes: Tensor) -> Tensor:
    """Return (2K, n), the products of an operand (2K, ..) with the data (.., n) it has met."""
    n = planes.shape[-1]
    return inner_products(operand.to(planes.dtype), planes.reshape(-1, n).t()).to(operand.dtype)


class PlanesConvolution(torch.autograd.Function):
    """y = Re(S W A x) + b for real x and complex matrices shared by all channels.

    The backward pass of an analysis is a synthesis by the conjugate transposes and the reverse, so
    it runs on the same two functions. Asked for a graph, it differentiates `plain` instead.
    """

    @staticmethod
    def forward(
        ctx: Any, plain: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *matrices: Tensor
    ) -> Tensor:
        """Take x (B, I, n_1 .. n_d), weight (K_1, ..., K_d, I, O) complex, bias (O,), d analysis
        (K_i, n_i) and d synthesis (m_i, K_i) matrices; `plain` is the slow path.
        """
        dims = len(matrices) // 2
        mixing = weight.flatten(0, dims - 1)  # (M, I, O)
        batch = x.shape[0]
        sizes = [matrix.shape[0] for matrix in matrices[dims:]]
        stages = analyse(x.flatten(0, 1), matrices[:dims])
        planes = stages.pop()  # (c, M, B I)
        modes = torch.complex(planes[0], planes[1]).view(mixing.shape[0], batch, -1)
        mixed = torch.view_as_real(torch.bmm(modes, mixing)).flatten(1, 2)  # (M, B O, c)
        rows = None if bias is None else _rows(bias, batch, sizes)
        y, operands = synthesise(mixed.movedim(-1, 0).contiguous(), matrices[dims:], x.dtype, rows)
        ctx.plain, ctx.dims, ctx.n_stages = plain, dims, len(stages)
        ctx.save_for_backward(x, weight, bias, *matrices, modes, *stages, *operands)
        return y.view(batch, -1, *sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        (gradient,) = gradients
        dims = ctx.dims
        x, weight, bias, *rest = ctx.saved_tensors
        matrices, rest = rest[: 2 * dims], rest[2 * dims :]
        if torch.is_grad_enabled():
            return (None, *_again(ctx, [x, weight, bias, *matrices], gradient))
        modes, stages, operands = rest[0], rest[1 : 1 + ctx.n_stages], rest[1 + ctx.n_stages :]
        analysis, synthesis = matrices[:dims], matrices[dims:]
        _, _, needs_weight, needs_bias, *needs_matrices = ctx.needs_input_grad
        batch = x.shape[0]
        # back through the synthesis: an analysis by the conjugate transposes
        gradient = gradient.contiguous()
        adjoint = [matrix.mH for matrix in synthesis]
        back = analyse(gradient.flatten(0, 1), adjoint, sums=needs_bias)
        grad_bias = None
        if needs_bias:
            grad_bias = back.pop().view(batch, bias.shape[0], -1).sum((0, 2))
        planes = back.pop()  # (c, M, B O)
        seen = [*(stage for stage in reversed(back)), gradient]  # what met each operand
        grad_matrices: list[Tensor | None] = [None] * (2 * dims)
        for axis, matrix in enumerate(synthesis):
            if needs_matrices[dims + axis]:
                data = _last(seen[axis], matrix.shape[0])
                real, imag = outer(operands[axis], data).chunk(2)  # (K, m) each
                sign = -1 if axis == dims - 1 else 1
                grad_matrices[dims + axis] = torch.complex(real, sign * imag).mT
        mixed = torch.complex(planes[0], planes[1]).view(modes.shape[0], batch, -1)
        grad_weight = torch.bmm(modes.mH, mixed).view_as(weight) if needs_weight else None
        if not (ctx.needs_input_grad[1] or any(needs_matrices[:dims])):
            return (None, None, grad_weight, grad_bias, *grad_matrices)
        # back through the analysis: a synthesis
        planes = torch.view_as_real(torch.bmm(mixed, weight.flatten(0, dims - 1).mH)).flatten(
            1, 2
        )  # (M, B I, c)
        planes = planes.movedim(-1, 0).contiguous()
        grad_x, operands = synthesise(planes, [matrix.mH for matrix in analysis], x.dtype)
        seen = [*reversed(stages), x]
        for axis, matrix in enumerate(analysis):
            if needs_matrices[axis]:
                data = _last(seen[axis], matrix.shape[1])
                real, imag = outer(operands[axis], data).chunk(2)  # (K, n) each
                sign = 1 if axis == dims - 1 else -1
                grad_matrices[axis] = torch.complex(real, sign * imag)
        return (None, grad_x.view_as(x), grad_weight, grad_bias, *grad_matrices)


def _rows(bias: Tensor, batch: int, sizes: Sequence[int]) -> Tensor:
    """Repeat a bias (O,) for every row but the last axis: (B O m_1 ... m_{d-1},)."""
    inner = 1
    for size in sizes[:-1]:
        inner *= size
    return bias.view(1, -1, 1).expand(batch, -1, inner).reshape(-1)


def _last(data: Tensor, n: int) -> Tensor:
    return data.reshape(-1, n)


def _again(ctx: Any, inputs: list[Tensor | None], gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Differentiate the plain path with a graph."""
    x, weight, bias, *matrices = inputs
    needs = ctx.needs_input_grad[1:]
    wanted = [value for value, need in zip(inputs, needs) if need and value is not None]
    y = ctx.plain(x, weight, bias, *matrices)
    found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
    return tuple(next(found) if need else None for need in needs)
