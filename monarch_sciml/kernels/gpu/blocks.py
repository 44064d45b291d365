"""A full two-factor Monarch transform as one Triton kernel, between two diagonal factors.

Letters: n = N_1 N_2 grid size, J vectors of a slice; a and b are the digits of the input point
a N_b + b, N_a and N_b their sizes.

Both factors act in one launch. Their intermediate result never leaves the L2 cache: programs are
persistent and reuse their share of a scratch buffer. Nothing here has been timed on a GPU.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.kernels.block_reference import reference_monarch_blocks
from monarch_sciml.kernels.dispatch import needs_plain_operations
from monarch_sciml.kernels.gpu.launch import launch, operand_options, pair, runs_triton

_VECTORS = 16  # of a tile
_PROGRAMS = 4  # per multiprocessor


def fused_monarch_blocks(
    x: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    synthesis: bool,
    before: Tensor | None = None,
    after: Tensor | None = None,
) -> Tensor:
    """Apply a Monarch transform along the last axis between two diagonal ones, by Triton.

    y = after * M (before * x), where M is that of `monarch_blocks`.

    Parameters
    ----------
    x
        Vectors (..., n), complex64 or float32, with any strides. Expanded axes are read once per
        use and not copied.
    first, second
        Blocks in the order in which they act, as for `monarch_blocks`; complex64 or float32.
    synthesis
        Whether the transform maps modes to the grid.
    before, after
        Coil maps, phase ramps, scales or masks, real or complex, that broadcast against x; its
        leading axes broadcast against theirs too, so that one image becomes the images of all
        coils as it is read.

    Returns
    -------
    (..., n), complex unless everything is real. A transposed input gives a transposed result.

    Raises
    ------
    TypeError
        When a tensor is neither complex64 nor float32.
    ValueError
        When x lies on a device that Triton does not serve.

    Notes
    -----
    The cost is 8 n (N_1 + N_2) operations for each vector; x is read and y written once. The
    gradient of x comes from the same kernel with adjoint blocks and with the factors exchanged and
    conjugated. The gradients of blocks and factors come from the reference, as do all gradients
    when those of higher order are needed. The blocks of a centred transform contain its shifts.
    """
    tensors = [x, first, second, *(t for t in (before, after) if t is not None)]
    for tensor in tensors:
        if tensor.dtype not in (torch.float32, torch.complex64):
            rule = "the fused Monarch transform takes single precision"
            remedy = "Convert with .float() or .cfloat(), or use `monarch_blocks`."
            raise TypeError(message(rule, tensor.dtype, remedy))
    if not runs_triton(x):
        rule = "the fused Monarch transform needs data on a CUDA device, or TRITON_INTERPRET=1"
        raise ValueError(message(rule, x.device, "Use `monarch_blocks`."))
    if needs_plain_operations(*tensors):
        return reference_fused_monarch_blocks(x, first, second, before, after, synthesis)
    return _FusedBlocks.apply(x, first, second, before, after, synthesis)


def reference_fused_monarch_blocks(
    x: Tensor,
    first: Tensor,
    second: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    synthesis: bool,
) -> Tensor:
    """Compute `fused_monarch_blocks` by differentiable operations of torch: the slow reference."""
    x = x if before is None else before * x
    dtype = torch.promote_types(x.dtype, first.dtype)
    slices = x.to(dtype).reshape(1, -1, x.shape[-1]).mT  # (..., n) -> (1, n, J)
    y = reference_monarch_blocks(slices, first.to(dtype), second.to(dtype), synthesis)
    y = y.mT.reshape(x.shape)
    return y if after is None else after * y


class _FusedBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        first: Tensor,
        second: Tensor,
        before: Tensor | None,
        after: Tensor | None,
        synthesis: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, first, second, before, after)
        ctx.synthesis = synthesis
        return transformed(x, first, second, before, after, adjoint=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        needs = ctx.needs_input_grad[:5]
        found: list[Tensor | None] = [None] * 5
        others = needs if torch.is_grad_enabled() else (False, *needs[1:])
        if any(others):
            _differentiate(ctx, inputs, gradients[0], others, found)
        if needs[0] and not others[0]:
            x, first, second, before, after = inputs
            gradient = transformed(gradients[0], first, second, after, before, adjoint=True)
            gradient = gradient if x.is_complex() or not gradient.is_complex() else gradient.real
            found[0] = gradient.sum_to_size(x.shape)
        return (*found, None)


def _differentiate(
    ctx: Any, inputs: Any, gradient: Tensor, wanted: Any, found: list[Tensor | None]
) -> None:
    """Compute the gradients that are needed by means of the reference."""
    graph = torch.is_grad_enabled()
    if not graph:
        pairs = zip(inputs, wanted)
        inputs = [None if t is None else t.detach().requires_grad_(need) for t, need in pairs]
    x, first, second, before, after = inputs
    places = [i for i, need in enumerate(wanted) if need]
    with torch.enable_grad():
        y = reference_fused_monarch_blocks(x, first, second, before, after, ctx.synthesis)
    leaves = [inputs[i] for i in places]
    for i, value in zip(places, torch.autograd.grad(y, leaves, gradient, create_graph=graph)):
        found[i] = value


def transformed(
    x: Tensor,
    first: Tensor,
    second: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    *,
    adjoint: bool,
) -> Tensor:
    """Run the kernel: after M (before x), or conj(after) M^H (conj(before) x) for the adjoint.

    Parameters
    ----------
    x, before, after
        Tensors (..., n) that broadcast against one another.
    first, second
        Blocks (N_b, N_a, N_a) and (N_a, N_b, N_b) of M itself.
    """
    factors = [t for t in (before, after) if t is not None]
    shape = torch.broadcast_shapes(x.shape, *(t.shape for t in factors))
    is_complex = any(t.is_complex() for t in (x, first, second, *factors))
    data, before, after = (_with_three_axes(t, shape) for t in (x, before, after))
    y = torch.empty_like(data, dtype=torch.complex64 if is_complex else torch.float32)
    if y.numel() > 0:
        dtype = torch.promote_types(first.dtype, second.dtype)
        blocks = [first.to(dtype).resolve_conj(), second.to(dtype).resolve_conj()]
        if adjoint:  # the last factor acts first, each one transposed
            blocks = [blocks[1].mT, blocks[0].mT]
        _run(data, y, blocks, before, after, conj=adjoint)
    return y.view(shape)


def _run(
    x: Tensor, y: Tensor, blocks: list[Tensor], before: Tensor | None, after: Tensor | None, *,
    conj: bool,
) -> None:  # fmt: skip
    """Launch the kernel on data (S_0, S_1, J, n) and blocks (N_b, a', a), (N_a, b', b)."""
    n_b, n_a = blocks[0].shape[:2]
    s_0, s_1, vectors = x.shape[:3]
    tiles = s_0 * s_1 * -(-vectors // _VECTORS)
    programs = min(tiles, _most_programs(x))
    scratch = x.new_empty(programs, 2 * n_a * n_b * _VECTORS, dtype=torch.float32)
    data, front, behind, result = (pair(x if t is None else t) for t in (x, before, after, y))
    first, second = (pair(block) for block in blocks)
    steps = [step for real, _ in (data, front, behind, result) for step in real.stride()]
    launch(
        "monarch",
        (programs,),
        *data, *first, *second, *front, *behind, scratch, *result,
        *steps, *first[0].stride(), *second[0].stride(), tiles, s_1, vectors,
        like=x, NA=n_a, NB=n_b, ROUNDS=_rounds(tiles, programs),
        X_COMPLEX=x.is_complex(), F_COMPLEX=blocks[0].is_complex(), F_CONJ=conj,
        OUT_COMPLEX=y.is_complex(), BEFORE=_kind(before, conj), AFTER=_kind(after, conj),
        BJ=_VECTORS, **operand_options(torch.float32),
    )  # fmt: skip


def _kind(factor: Tensor | None, conj: bool) -> int:
    """Return the code of a factor in the kernel: none, real, complex or conjugated."""
    if factor is None:
        return 0
    return 1 if not factor.is_complex() else 3 if conj else 2


def _with_three_axes(tensor: Any, shape: torch.Size) -> Any:
    """Expand to `shape` (..., n) and view as (S_0, S_1, J, n); further axes merge into the first,
    by a copy if need be.
    """
    if tensor is None:
        return None
    tensor = tensor.expand(shape)
    leading = tensor.ndim - 1
    if leading <= 3:
        return tensor[(None,) * (3 - leading)]
    return tensor.flatten(0, leading - 3)


def _most_programs(x: Tensor) -> int:
    if not x.is_cuda:
        return 2  # under the interpreter: few, but the loop over tiles runs
    return _PROGRAMS * torch.cuda.get_device_properties(x.device).multi_processor_count


def _rounds(tiles: int, programs: int) -> int:
    """Return the tiles of a program, rounded up to a power of two: fewer kernels to compile."""
    return 1 << math.ceil(math.log2(-(-tiles // programs)))
