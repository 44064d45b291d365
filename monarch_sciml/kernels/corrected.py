"""The spectral convolution of real data in a corrected basis: fixed transforms along the axes plus
a contiguous Monarch matrix over the whole grid.

Letters: B batch, I and O channels in and out, R = B I or B O rows, d axes, n_i and m_i grid sizes
in and out, K_i kept modes, K = K_1 ... K_d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.contiguous import BlockMatrix
from monarch_sciml.kernels.dispatch import with_graph, without_autocast
from monarch_sciml.kernels.planes import analyse, synthesise
from monarch_sciml.monarch.contiguous import Blocks


@dataclass(frozen=True)
class CorrectedShape:
    """Describe the two corrected transforms of the convolution, apart from their learned numbers.

    Attributes
    ----------
    planes
        Real and imaginary parts of the fixed transform of every axis, with ascending modes: first
        (2, K_i, n_i) for the analysis, then (2, K_i, m_i) for the transposed synthesis.
    analysis, synthesis
        The blocks of the grid and of the modes for either transform.
    """

    planes: Sequence[Tensor]
    analysis: tuple[Blocks, Blocks]
    synthesis: tuple[Blocks, Blocks]


class CorrectedConvolution(torch.autograd.Function):
    """Compute y = Re((S_0 + ΔS) W (A_0 + ΔA) x) + b for real x.

    The backward pass stores x and the modes A x, and recomputes the intermediate results of the
    corrections. When gradients of higher order are needed, it differentiates
    `plain_corrected_convolution`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        shape: CorrectedShape,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *matrices: Tensor,
    ) -> Tensor:
        """Take x (B, I, n_1 .. n_d), weight (K_1, ..., K_d, I, O) complex, bias (O,) and rows and
        columns of analysis and synthesis, see `BlockMatrix`.
        """
        dims, batch = len(shape.planes) // 2, x.shape[0]
        analysis, synthesis = _block_matrices(shape, matrices)
        mixing = weight.flatten(0, dims - 1)  # (K, I, O)
        field = x.flatten(0, 1)
        planes = analyse(field, shape.planes[:dims])[-1].view(2, len(mixing), -1)
        planes = planes + analysis.to_modes(field)
        modes = torch.complex(*planes.unbind()).view(len(mixing), batch, -1)  # (K, B, I)
        mixed = torch.bmm(modes, mixing).flatten(1)  # (K, B O)
        y = synthesis.to_fields(_conjugate_planes(mixed), x.dtype)
        synthesise(mixed, shape.planes[dims:], x.dtype, _bias_rows(bias, batch, shape), out=y)
        ctx.shape, ctx.plain = shape, partial(plain_corrected_convolution, shape)
        ctx.save_for_backward(x, weight, bias, *matrices, modes)
        return y.unflatten(0, (batch, -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        x, weight, bias, *matrices, modes = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = [x, weight, bias, *matrices]
            needs = ctx.needs_input_grad[1:]
            return (None, *with_graph(ctx.plain, inputs, gradients[0], needs))
        with without_autocast(x.device):
            return _gradients(ctx, gradients[0].contiguous(), x, weight, bias, matrices, modes)


def _gradients(
    ctx: Any,
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    matrices: Sequence[Tensor],
    modes: Tensor,
) -> tuple[Tensor | None, ...]:
    """Go back through synthesis, mixing and analysis."""
    shape: CorrectedShape = ctx.shape
    dims, batch = len(shape.planes) // 2, x.shape[0]
    _, needs_x, needs_weight, needs_bias, *needs = ctx.needs_input_grad
    analysis, synthesis = _block_matrices(shape, matrices)
    mixing = weight.flatten(0, dims - 1)
    grad_x = grad_weight = grad_bias = None
    grads: list[Tensor | None] = [None] * 4
    field = gradient.flatten(0, 1)
    # the conjugate of the gradient on the modes
    stages = analyse(field, shape.planes[dims:], sums=needs_bias)
    if needs_bias and bias is not None:
        grad_bias = stages.pop().view(batch, len(bias), -1).sum((0, 2))
    planes = stages[-1].view(2, len(mixing), -1)
    mixed = _conjugate_planes(torch.bmm(modes, mixing).flatten(1))
    grads[2], grads[3], correction = synthesis.gradients(field, mixed, to_modes=True)
    planes = planes if correction is None else planes + correction
    mixed = torch.complex(*planes.unbind()).view(len(mixing), batch, -1)  # (K, B, O)
    if needs_weight:
        grad_weight = torch.bmm(modes.mH, mixed.conj_physical()).view_as(weight)
    if needs_x or any(needs):
        mixed = torch.bmm(mixed, mixing.mT).flatten(1)  # (K, B I)
        field = x.flatten(0, 1)
        y = torch.empty_like(field) if needs_x else None
        grads[0], grads[1], _ = analysis.gradients(field, _conjugate_planes(mixed), y)
        if y is not None:
            grad_x = synthesise(mixed, shape.planes[:dims], x.dtype, out=y)[0].view_as(x)
    return (None, grad_x, grad_weight, grad_bias, *grads)


def _block_matrices(
    shape: CorrectedShape, matrices: Sequence[Tensor]
) -> tuple[BlockMatrix, BlockMatrix]:
    return (
        BlockMatrix(matrices[0], matrices[1], *shape.analysis),
        BlockMatrix(matrices[2], matrices[3], *shape.synthesis),
    )


def _conjugate_planes(modes: Tensor) -> Tensor:
    """Return real and negated imaginary part of modes (K, R), (2, K, R)."""
    return torch.stack([modes.real, -modes.imag])


def _bias_rows(bias: Tensor | None, batch: int, shape: CorrectedShape) -> Tensor | None:
    """Repeat a bias (O,) for every row of the last axis: (B O m_1 ... m_{d-1},)."""
    if bias is None:
        return None
    others = [matrix.shape[-1] for matrix in shape.planes[len(shape.planes) // 2 : -1]]
    return bias.view(1, -1, 1).expand(batch, -1, torch.Size(others).numel()).reshape(-1)


def plain_corrected_convolution(
    shape: CorrectedShape, x: Tensor, weight: Tensor, bias: Tensor | None, *matrices: Tensor
) -> Tensor:
    """Compute `CorrectedConvolution` by differentiable operations of torch."""
    dims, batch = len(shape.planes) // 2, x.shape[0]
    analysis, synthesis = _block_matrices(shape, matrices)
    mixing = weight.flatten(0, dims - 1)  # (K, I, O)
    kept = weight.shape[:dims]
    fixed = [torch.complex(*matrix) for matrix in shape.planes]
    field = x.flatten(0, 1).to(shape.planes[0].dtype)
    z = field.to(fixed[0].dtype)
    for axis, matrix in enumerate(fixed[:dims]):
        z = (matrix @ z.movedim(axis + 1, -2)).movedim(-2, axis + 1)
    correction = torch.complex(*analysis.plain_to_modes(field).unbind())  # (K, B I)
    modes = (z.flatten(1).mT + correction).view(len(mixing), batch, -1)
    mixed = torch.bmm(modes, mixing).flatten(1)  # (K, B O)
    z = mixed.mT.unflatten(1, kept)
    for axis, matrix in enumerate(fixed[dims:]):
        z = (matrix.mT @ z.movedim(axis + 1, -2)).movedim(-2, axis + 1)
    y = z.real + synthesis.plain_to_field(_conjugate_planes(mixed))
    y = y.unflatten(0, (batch, -1))
    return (y if bias is None else y + bias.view(-1, *(1,) * dims)).to(x.dtype)
