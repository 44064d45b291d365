"""The truncated spectral convolution of real data by fused Triton kernels, on one or two axes.

Letters: B batch, I and O channels in and out, R = B I or B O rows, n_i sizes of an axis on the
grid, K_i kept modes, M = K_1 K_2; c = 2 planes.

Analysis of both axes, mixing and synthesis are one kernel each: the data are read once, the result
is written once, and only kept modes go through memory in between. Planes are as in `planes`; modes
are kept as planes (c, R, M). Nothing here has been timed on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monarch_sciml.kernels.dispatch import with_graph, without_autocast
from monarch_sciml.kernels.gpu.launch import (
    launch,
    loop_bound,
    operand_options,
    pair,
    power_of_two,
    runs_triton,
    splits,
    strides,
)

_MOST_MODES = 64  # along an axis of two: more would not stay in registers


def fits(x: Tensor, matrices: Sequence[Tensor]) -> bool:
    """Return whether the kernels support the data: their device, precision, number of axes and
    modes.

    Parameters
    ----------
    x
        Real data (B, I, n_1, ..., n_d).
    matrices
        Planes (c, K_i, n_i) of d analysis and d synthesis matrices.
    """
    if not runs_triton(x):
        return False
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    if x.dtype not in kinds or any(matrix.dtype != torch.float32 for matrix in matrices):
        return False
    modes = [matrix.shape[1] for matrix in matrices]
    small = len(matrices) == 2 or (len(matrices) == 4 and max(modes) <= _MOST_MODES)
    if not small or x.numel() == 0:
        return False
    return 2 * max(x.shape[:2]) * x.shape[0] * math.prod(modes[: len(modes) // 2]) < 2**31


def analyse(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Transform real x (B, C, n_1, ..., n_d), d = 1 or 2, to modes (c, B C, M)."""
    batch, channels, *grid = x.shape
    rows, modes = batch * channels, [matrix.shape[1] for matrix in matrices]
    out = x.new_empty(2, rows, math.prod(modes), dtype=torch.float32)
    if len(grid) == 1:
        data, (planes,) = x.reshape(1, rows, -1), matrices
        product(pair(data), planes.mT.unsqueeze(1).unbind(), out.unsqueeze(1).unbind(), x.dtype)
        return out
    first, last = matrices
    launch(
        "analyse",
        (rows,),
        *(x, first, last, out, *x.stride(), channels, rows),
        like=x,
        **_image_constants(x.dtype, grid, modes),
    )
    return out


def synthesise(
    modes: Tensor, matrices: Sequence[Tensor], shape: Sequence[int], dtype: torch.dtype,
    bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Transform modes (c, B C, M) to real data of shape (B, C, n_1, ..., n_d), plus bias (C,)."""
    batch, channels, *grid = shape
    rows, kept = batch * channels, [matrix.shape[1] for matrix in matrices]
    out = modes.new_empty(shape, dtype=dtype)
    if len(grid) == 1:
        (planes,) = matrices
        result = out.view(1, rows, -1)
        left, right = modes.unsqueeze(1).unbind(), planes.unsqueeze(1).unbind()
        product(left, right, (result, result), dtype, real=True, bias=bias)
        return out
    first, last = matrices
    launch(
        "synthesise",
        lambda meta: (rows, -(-grid[0] // meta["BH"])),
        *(modes, first, last, modes if bias is None else bias, out, channels, rows),
        like=out,
        BIAS=bias is not None,
        **_image_constants(dtype, grid, kept),
    )
    return out


def matrix_gradients(
    x: Tensor, modes: Tensor, matrices: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor | None]:
    """Differentiate Re sum(x G_1^T modes G_2) with respect to the planes G_i, where needed.

    Parameters
    ----------
    x
        (B, C, n_1, ..., n_d).
    modes
        (c, B C, M).
    matrices, needs
        The planes (c, K_i, n_i), and for each matrix whether its gradient is needed.
    """
    channels, *grid = x.shape[1:]
    rows, kept = modes.shape[1], [matrix.shape[1] for matrix in matrices]
    parts = splits(rows)
    if len(grid) == 1:
        if not needs[0]:
            return [None]
        by_split = modes.unflatten(1, (parts, -1)).mT  # (c, P, K, R / P)
        data = x.reshape(parts, rows // parts, -1)
        out = modes.new_empty(2, parts, *matrices[0].shape[1:])
        product(by_split.unbind(), pair(data), out.unbind(), x.dtype, conj=True)
        return [out.sum(1)]
    first, last = matrices
    found: list[Tensor | None] = []
    for name, axis, other in (("first_gradient", 0, last), ("last_gradient", 1, first)):
        if not needs[axis]:
            found.append(None)
            continue
        block, size = ("BH", "BW")[axis], grid[axis]
        partial = modes.new_empty(parts, *matrices[axis].shape)
        launch(
            name,
            lambda meta, block=block, size=size: (-(-size // meta[block]), parts),
            *(x, modes, other, partial, *x.stride(), channels, rows),
            like=x,
            ROWS=rows // parts,
            **_image_constants(x.dtype, grid, kept),
        )
        found.append(partial.sum(0))
    return found


def product(
    x: Sequence[Tensor], f: Sequence[Tensor], y: Sequence[Tensor], dtype: torch.dtype,
    *, real: bool = False, conj: bool = False, bias: Tensor | None = None,
) -> None:  # fmt: skip
    """Multiply batches of complex or real matrices, given as real and imaginary part.

    Parameters
    ----------
    x, f, y
        Pairs of real and imaginary parts with any strides: (G, J, K), (G, K, N) and the result to
        be filled, (G, J, N). Real numbers are given as a pair of one tensor with itself.
    dtype
        Type to which the operands are rounded.
    real, conj
        Whether to keep the real part only, and whether to conjugate the result.
    bias
        Numbers (C,), of which entry j mod C is added to row j.
    """
    (groups, rows, depth), columns = x[0].shape, f[0].shape[-1]
    launch(
        "product",
        lambda meta: (
            -(-groups // meta["BG"]), -(-rows // meta["BJ"]), -(-columns // meta["BO"]),
        ),
        *x, *f, y[0] if bias is None else bias, *y,
        *strides(x[0], (0, 1, 2)), *strides(f[0], (0, 1, 2)), *strides(y[0], (0, 1, 2)),
        1 if bias is None else len(bias), groups, rows, columns, depth,
        like=y[0], K=loop_bound(depth), X_COMPLEX=x[0] is not x[1], F_COMPLEX=f[0] is not f[1],
        OUT_COMPLEX=not real, OUT_CONJ=conj, BIAS=bias is not None, **operand_options(dtype),
    )  # fmt: skip


def mix(modes: Tensor, weight: Tensor, *, transposed: bool = False) -> Tensor:
    """Multiply modes (c, B I, M) by weight (M, I, O) mode by mode -> (c, B O, M)."""
    weight = weight.mT if transposed else weight
    n_modes, inputs, outputs = weight.shape
    out = modes.new_empty(2, modes.shape[1] // inputs * outputs, n_modes)
    product(
        _by_mode(modes, inputs).unbind(),
        pair(weight),
        _by_mode(out, outputs).unbind(),
        torch.float32,
    )
    return out


def weight_gradient(modes: Tensor, back: Tensor, weight: Tensor) -> Tensor:
    """Return conj(modes^T back), (M, I, O), from (c, B I, M) and (c, B O, M)."""
    out = torch.empty_like(weight, memory_format=torch.contiguous_format)
    left = _by_mode(modes, weight.shape[1]).mT
    right = _by_mode(back, weight.shape[2])
    product(left.unbind(), right.unbind(), pair(out), torch.float32, conj=True)
    return out


def _by_mode(modes: Tensor, channels: int) -> Tensor:
    """View modes (c, B C, M) as (c, M, B, C)."""
    return modes.unflatten(1, (-1, channels)).permute(0, 3, 1, 2)


def _image_constants(
    dtype: torch.dtype, grid: Sequence[int], kept: Sequence[int]
) -> dict[str, Any]:
    (height, width), (k1, k2) = grid, kept
    blocks = {"BK1": power_of_two(k1), "BK2": power_of_two(k2)}
    return {"H": height, "W": width, "K1": k1, "K2": k2, **blocks, **operand_options(dtype)}


class FusedConvolution(torch.autograd.Function):
    """Compute y = Re(S W A x) + b for real x, with matrices shared by all channels.

    Input and kept modes are stored for the backward pass, which consists of the same kernels and
    two more for the matrices. When gradients of higher order are needed, it differentiates `plain`
    instead.
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
        """Take the arguments of `PlanesConvolution`; x may have any strides."""
        dims = len(matrices) // 2
        matrices = tuple(matrix.contiguous() for matrix in matrices)
        mixing = weight.flatten(0, dims - 1)  # (M, I, O)
        modes = analyse(x, matrices[:dims])
        mixed = mix(modes, mixing)
        shape = (len(x), mixing.shape[2], *(matrix.shape[-1] for matrix in matrices[dims:]))
        ctx.plain, ctx.dims = plain, dims
        ctx.save_for_backward(x, weight, bias, *matrices, modes, mixed)
        return synthesise(mixed, matrices[dims:], shape, x.dtype, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        (gradient,) = gradients
        x, weight, bias, *matrices, modes, mixed = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = [x, weight, bias, *matrices]
            needs = ctx.needs_input_grad[1:]
            return (None, *with_graph(ctx.plain, inputs, gradient, needs))
        dims = ctx.dims
        _, needs_x, needs_weight, needs_bias, *needs = ctx.needs_input_grad
        analysis, synthesis = matrices[:dims], matrices[dims:]
        mixing = weight.flatten(0, dims - 1)  # (M, I, O)
        grad_x = grad_weight = grad_bias = None
        grads: list[Tensor | None] = [None] * dims
        with without_autocast(x.device):
            back = analyse(gradient, synthesis)  # the conjugate of the gradient on the modes
            if needs_bias:
                grad_bias = gradient.sum((0, *range(2, gradient.ndim)), dtype=torch.float32)
            if needs_weight:
                grad_weight = weight_gradient(modes, back, mixing).view_as(weight)
            if needs_x or any(needs[:dims]):
                moved = mix(back, mixing, transposed=True)
                grad_x = synthesise(moved, analysis, x.shape, x.dtype) if needs_x else None
                grads = matrix_gradients(x, moved, analysis, needs[:dims])
            grads += matrix_gradients(gradient, mixed, synthesis, needs[dims:])
        return (None, grad_x, grad_weight, grad_bias, *grads)
