"""What acts at every point of a field alike: products over the channels, GELU and gates.

Letters: B batch, C channels, H hidden channels, O channels out, N points of the grid.

The two functions of this module take a few samples or points at a time, so that what lies between
input and output stays in the cache, and recompute it in the backward pass. Plain autograd writes
every intermediate result to memory, keeps it, and reads it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from monarch_sciml.kernels.dispatch import with_graph

_CHUNK = 1 << 18
"""Numbers of the widest intermediate result that are taken at a time, for every thread."""
_LONGEST = 1 << 20
"""Numbers of it in one sample from which on the sample is cut."""

_FEWEST = 1 << 19
_FEWEST_HIDDEN = 1 << 22
"""Numbers of a field, and of the hidden channels of a `channel_mlp`, from which on the kernels pay.

One thread of an AMD EPYC (Zen 4), 32 channels, 8 samples, forward and backward, time of the modules
of neuralop over that of the kernel: the tail of a layer 0.98 to 1.05 at 32² (2^18 numbers), 1.35 at
64² (2^20), 1.36 at 128²; lifting and projection 0.87 to 0.89 at 64² (2^21 hidden numbers), 1.6 to
1.7 at 128². The gain is memory that is not taken from the system anew.
"""

Part = tuple[slice, slice, slice]


def tail_pays(x: Tensor) -> bool:
    """Return whether `block_tail` is faster than separate operations for a field (B, C, ...)."""
    return x.numel() >= _FEWEST


def mlp_pays(x: Tensor, hidden: int) -> bool:
    """Return whether `channel_mlp` is faster than separate operations for a field (B, C, ...)."""
    return x.numel() // x.shape[1] * hidden >= _FEWEST_HIDDEN


def channel_mlp(
    x: Tensor, first: Tensor, first_bias: Tensor | None, second: Tensor, second_bias: Tensor | None
) -> Tensor:
    """Compute y = W_2 GELU(W_1 x + b_1) + b_2 at every point.

    Parameters
    ----------
    x
        Field (B, C, N).
    first, first_bias
        W_1 (H, C) and b_1 (H,).
    second, second_bias
        W_2 (O, H) and b_2 (O,).

    Returns
    -------
    Field (B, O, N).

    Notes
    -----
    The backward pass stores x only.
    """
    return _ChannelMLP.apply(x.contiguous(), first, first_bias, second, second_bias)


def plain_channel_mlp(
    x: Tensor, first: Tensor, first_bias: Tensor | None, second: Tensor, second_bias: Tensor | None
) -> Tensor:
    """Compute `channel_mlp` by differentiable operations of torch."""
    return _product(gelu(_product(x, first, first_bias)), second, second_bias)


def block_tail(
    spectral: Tensor,
    x: Tensor,
    skip: Tensor,
    first: Tensor,
    first_bias: Tensor | None,
    second: Tensor,
    second_bias: Tensor | None,
    gate: Tensor,
    *,
    activate: bool,
) -> Tensor:
    """Compute what follows the spectral convolution in a layer of neuralop's FNO.

    h = act(s + W x), y = act(W_2 GELU(W_1 h + b_1) + b_2 + g x), where act is GELU, or nothing
    unless `activate`.

    Parameters
    ----------
    spectral
        Result s of the spectral convolution, (B, C, N).
    x
        Input of the layer, (B, C, N).
    skip
        W (C, C).
    first, first_bias, second, second_bias
        W_1 (H, C), b_1 (H,), W_2 (C, H), b_2 (C,).
    gate
        g, (C,).
    activate
        Whether the layer is not the last one.

    Returns
    -------
    Field (B, C, N).

    Notes
    -----
    The backward pass stores x and the arguments of both act.
    """
    matrices = (skip, first, first_bias, second, second_bias, gate)
    return _BlockTail.apply(activate, spectral.contiguous(), x.contiguous(), *matrices)[0]


def plain_block_tail(
    activate: bool, spectral: Tensor, x: Tensor, skip: Tensor, *others: Tensor
) -> Tensor:
    """Compute `block_tail` by differentiable operations of torch."""
    return _after_skip(activate, spectral + skip @ x, x, *others)


class _ChannelMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *matrices: Tensor) -> Tensor:
        first, first_bias, second, second_bias = matrices
        y = x.new_empty(x.shape[0], len(second), x.shape[2])
        space = _Space(x)
        for part in _parts(x, len(first), len(second)):
            hidden = space.take("hidden", part, len(first))
            _multiply(first, x[part], first_bias, hidden)
            torch.ops.aten.gelu.out(hidden, out=hidden)
            _multiply(second, hidden, second_bias, y[part])
        ctx.save_for_backward(x, *matrices)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, first, first_bias, second, second_bias = ctx.saved_tensors
        needs_x, *needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return with_graph(plain_channel_mlp, ctx.saved_tensors, gradients[0], [needs_x, *needs])
        gradient = gradients[0].contiguous()
        sums = _Sums((first, first_bias, second, second_bias), needs)
        grad_x = torch.empty_like(x) if needs_x else None
        space = _Space(x)
        for part in _parts(x, len(first), len(second)):
            some, g = x[part], gradient[part]
            before, hidden, back = (
                space.take(name, part, len(first)) for name in ("before", "hidden", "back")
            )
            _multiply(first, some, first_bias, before)
            _mlp_gradients(sums, some, before, hidden, back, g, second)
            if grad_x is not None:
                torch.bmm(_repeated(first.mT, g), back, out=grad_x[part])
        return (grad_x, *sums.values)


def _mlp_gradients(
    sums: _Sums, x: Tensor, before: Tensor, hidden: Tensor, back: Tensor, g: Tensor, second: Tensor
) -> None:
    """Add the gradients of the matrices of a part, and set `back` to that of W_1 x + b_1.

    `before` holds W_1 x + b_1, and `hidden` is overwritten.
    """
    if sums.values[2] is not None:
        torch.ops.aten.gelu.out(before, out=hidden)
        sums.add_product(2, g, hidden)
    sums.add(3, g)
    torch.bmm(_repeated(second.mT, g), g, out=back)
    torch.ops.aten.gelu_backward.grad_input(back, before, grad_input=back)
    sums.add_product(0, back, x)
    sums.add(1, back)


class _BlockTail(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activate: bool, spectral: Tensor, x: Tensor, *matrices: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return y, and the argument of the first act, which the backward pass needs."""
        skip, first, first_bias, second, second_bias, gate = matrices
        keeps = any(ctx.needs_input_grad)
        a = torch.empty_like(x) if keeps else None
        u = torch.empty_like(x) if keeps and activate else None
        y, space = torch.empty_like(x), _Space(x)
        for part in _parts(x, len(first)):
            some = x[part]
            hidden = space.take("hidden", part, len(first))
            h = space.take("h", part, x.shape[1])
            before = h if a is None else a[part]
            torch.baddbmm(spectral[part], _repeated(skip, some), some, out=before)
            if activate:
                torch.ops.aten.gelu.out(before, out=h)
            _multiply(first, h if activate else before, first_bias, hidden)
            torch.ops.aten.gelu.out(hidden, out=hidden)
            last = y[part] if u is None else u[part]
            torch.mul(gate[:, None], some, out=last)
            last.baddbmm_(_repeated(second, some), hidden)
            if second_bias is not None:
                last.add_(second_bias[:, None])
            if activate:
                torch.ops.aten.gelu.out(last, out=y[part])
        ctx.activate = activate
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *matrices, a, u)
        return y, a

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, more = gradients
        x, skip, first, first_bias, second, second_bias, gate, a, u = ctx.saved_tensors
        _, needs_spectral, needs_x, needs_skip, *needs = ctx.needs_input_grad
        if torch.is_grad_enabled() or gradient is None or more is not None:
            return _tail_with_graph(ctx, gradient, more)
        gradient = gradient.contiguous()
        sums = _Sums((first, first_bias, second, second_bias, gate, skip), [*needs, needs_skip])
        grad_a = torch.empty_like(x)
        grad_x = torch.empty_like(x) if needs_x else None
        space = _Space(x)
        for part in _parts(x, len(first)):
            some, g, argument, out = x[part], gradient[part], a[part], grad_a[part]
            h = space.take("h", part, x.shape[1])
            if ctx.activate:
                g = torch.ops.aten.gelu_backward.grad_input(
                    g, u[part], grad_input=space.take("g", part, x.shape[1])
                )
                torch.ops.aten.gelu.out(argument, out=h)
            if sums.values[4] is not None:
                product = torch.mul(g, some, out=space.take("product", part, x.shape[1]))
                sums.add(4, product)
            before, hidden, back = (
                space.take(name, part, len(first)) for name in ("before", "hidden", "back")
            )
            _multiply(first, h if ctx.activate else argument, first_bias, before)
            _mlp_gradients(sums, h if ctx.activate else argument, before, hidden, back, g, second)
            torch.bmm(_repeated(first.mT, g), back, out=out)
            if ctx.activate:
                torch.ops.aten.gelu_backward.grad_input(out, argument, grad_input=out)
            sums.add_product(5, out, some)
            if grad_x is not None:
                torch.mul(gate[:, None], g, out=grad_x[part])
                grad_x[part].baddbmm_(_repeated(skip.mT, out), out)
        *others, grad_skip = sums.values
        return None, grad_a if needs_spectral else None, grad_x, grad_skip, *others


def _tail_with_graph(
    ctx: Any, gradient: Tensor | None, more: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Go back by differentiable operations, also where the argument of the first act has a
    gradient, as it has in a second derivative.
    """
    x, skip, first, first_bias, second, second_bias, gate, a, _ = ctx.saved_tensors
    _, *needs = ctx.needs_input_grad
    found: list[Tensor | None] = [None] * 7
    if gradient is not None:
        inputs = (a, x, first, first_bias, second, second_bias, gate)
        found = list(with_graph(partial(_after_skip, ctx.activate), inputs, gradient, [True] * 7))
    grad_a, grad_x, *others = found
    if more is not None:
        grad_a = more if grad_a is None else grad_a + more
    if grad_a is None:
        return (None,) * 9
    back = skip.mT @ grad_a
    grad_x = back if grad_x is None else grad_x + back
    grad_skip = (grad_a @ x.mT).sum(0)
    grads = (grad_a, grad_x, grad_skip, *others)
    return None, *(value if need else None for value, need in zip(grads, needs))


def _after_skip(activate: bool, a: Tensor, x: Tensor, *matrices: Tensor) -> Tensor:
    """Compute y of `block_tail` from the argument of the first act."""
    *mlp, gate = matrices
    y = plain_channel_mlp(gelu(a) if activate else a, *mlp) + gate[:, None] * x
    return gelu(y) if activate else y


class _Sums:
    """Gradients of matrices (O, C) and of vectors (C,) that add up over the parts of a field."""

    def __init__(self, like: Sequence[Tensor | None], needs: Sequence[bool]) -> None:
        self.values = [
            torch.zeros_like(tensor) if need and tensor is not None else None
            for tensor, need in zip(like, needs)
        ]

    def add_product(self, which: int, left: Tensor, right: Tensor) -> None:
        """Add the sum over samples and points of left (B, O, N) times right (B, C, N)."""
        value = self.values[which]
        if value is None:
            return
        if len(left) == 1:
            value.addmm_(left[0], right[0].mT)
        else:
            value.add_(torch.bmm(left, right.mT).sum(0))

    def add(self, which: int, field: Tensor) -> None:
        """Add the sum over samples and points of a field (B, C, N)."""
        value = self.values[which]
        if value is not None:
            value.add_(field.sum((0, 2)))


class _Space:
    """Memory that the parts of a pass use one after the other."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, part: Part, channels: int) -> Tensor:
        """Return a field (B, channels, N) of any content for a part."""
        samples, _, points = part
        shape = (samples.stop - samples.start, channels, points.stop - points.start)
        size = math.prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat[name] = self._like.new_empty(size)
        return self._flat[name][:size].view(shape)


def _parts(x: Tensor, *channels: int) -> Iterator[Part]:
    """Cut a field (B, C, N) into parts: some samples, or some points of one sample."""
    n_samples, width, n_points = x.shape
    size = max(width, *channels) * n_points  # numbers of a sample
    together = max(1, n_samples * size // (_CHUNK * torch.get_num_threads()))
    n_parts = min(n_samples, together)
    n_cuts = min(n_points, max(1, size // (_LONGEST * torch.get_num_threads())))
    for j in range(n_parts):
        samples = slice(j * n_samples // n_parts, (j + 1) * n_samples // n_parts)
        for k in range(n_cuts):
            yield samples, slice(None), slice(k * n_points // n_cuts, (k + 1) * n_points // n_cuts)


def _repeated(matrix: Tensor, like: Tensor) -> Tensor:
    """View a matrix (O, C) as one for every sample of a field."""
    return matrix.expand(len(like), *matrix.shape)


def _multiply(matrix: Tensor, x: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Set `out` (B, O, N) to the product of a matrix (O, C) and x (B, C, N), plus a bias (O,)."""
    if bias is None:
        torch.bmm(_repeated(matrix, x), x, out=out)
    else:
        torch.baddbmm(bias[:, None], _repeated(matrix, x), x, out=out)


def _product(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    y = matrix @ x
    return y if bias is None else y + bias[:, None]
