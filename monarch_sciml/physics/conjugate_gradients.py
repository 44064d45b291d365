"""Solve (N + w) x = b for a positive semi-definite N, with the gradient of the exact solution.

Letters: (..., H, W) complex images, or (..., M, H, W) of M map sets; every sample has step sizes of
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Map = Callable[[Tensor], Tensor]


def conjugate_gradients(
    operator: Map,
    b: Tensor,
    *,
    n_iterations: int,
    tolerance: float,
    start: Tensor | None = None,
    dims: tuple[int, ...] = (-2, -1),
) -> Tensor:
    """Return x with operator(x) = b for a Hermitian positive definite operator.

    Parameters
    ----------
    operator
        Function that maps (..., H, W) to the same shape.
    b
        Right-hand side (..., H, W), complex.
    n_iterations
        Largest number of iterations, each of one call of the operator.
    tolerance
        A sample stops when its residual is at most `tolerance` times the norm of its b.
    start
        First guess (..., H, W), zero by default.
    dims
        Axes of one sample, all of which share a step size.

    Returns
    -------
    (..., H, W).

    Notes
    -----
    The squares of numbers are summed, so in single precision a residual below 3e-16 counts as zero
    and b must stay below 1e19. Scale b if it can exceed that.

    Under torch.compile, torch.export and torch.jit.trace all `n_iterations` are made.

    References
    ----------
    Hestenes, Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49
    (1952).

    Examples
    --------
    >>> b = torch.tensor([[2.0, 6.0]], dtype=torch.complex64)
    >>> conjugate_gradients(lambda x: 2 * x, b, n_iterations=5, tolerance=1e-6).real
    tensor([[1., 3.]])
    """
    limits = torch.finfo(b.real.dtype)
    # squares below this lose their digits: such a residual counts as zero
    goal = (tolerance**2 * _dot(b, b, dims)).clamp_min(limits.tiny / limits.eps)
    x = torch.zeros_like(b) if start is None else start
    residual = b if start is None else b - operator(start)
    direction, energy = residual, _dot(residual, residual, dims)
    for _ in range(n_iterations):
        active = energy > goal
        if not (_traced() or bool(active.any())):
            break
        mapped = operator(direction)
        # a sample that has converged (or is zero) takes steps of length zero
        step = torch.where(active, energy / _dot(direction, mapped, dims), 0.0)
        x = x + step * direction
        residual = residual - step * mapped
        previous, energy = energy, _dot(residual, residual, dims)
        direction = residual + torch.where(active, energy / previous, 0.0) * direction
    return x


def solve_regularized(
    normal: Map,
    b: Tensor,
    weight: Tensor,
    *,
    start: Tensor,
    n_iterations: int,
    tolerance: float,
    dims: tuple[int, ...] = (-2, -1),
) -> Tensor:
    """Return x = (N + w)^{-1} b with gradients to b, w and everything learned in N.

    The gradients follow from the equation itself, dx = (N + w)^{-1} (db - dN x - dw x): the
    backward pass solves the same system once more, and no iteration is stored. They are as exact as
    the solution. Second derivatives are not available.

    Parameters
    ----------
    normal
        The operator N on (..., H, W), Hermitian and positive semi-definite.
    b
        Right-hand side (..., H, W), complex.
    weight
        The weight w, a real and positive scalar tensor.
    start
        First guess (..., H, W); no gradient flows to it.
    n_iterations, tolerance, dims
        The arguments of `conjugate_gradients`.

    Returns
    -------
    (..., H, W).
    """

    def operator(x: Tensor) -> Tensor:
        return normal(x) + weight * x

    def inverse(right: Tensor, guess: Tensor | None) -> Tensor:
        with torch.no_grad():
            return conjugate_gradients(
                operator,
                right,
                start=guess,
                n_iterations=n_iterations,
                tolerance=tolerance,
                dims=dims,
            )

    if _traced():  # a trace holds every iteration, and autograd goes back through them
        return conjugate_gradients(
            operator, b, start=start, n_iterations=n_iterations, tolerance=tolerance, dims=dims
        )
    x = inverse(b.detach(), start.detach())
    if not torch.is_grad_enabled():
        return x
    # zero up to the tolerance, but it depends on all that x depends on
    return x + _Inverse.apply(b - operator(x), inverse)


class _Inverse(torch.autograd.Function):
    """Return zero in the forward pass, with the derivative of (N + w)^{-1} r."""

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor, inverse: Callable[[Tensor, Tensor | None], Tensor]
    ) -> Tensor:
        ctx.inverse = inverse
        return torch.zeros_like(residual)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return ctx.inverse(gradients[0], None), None


def _traced() -> bool:
    """Return whether a tracer hides the values of tensors, so that every iteration is made."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _dot(a: Tensor, b: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the real part of the inner product over `dims`, keeping them at size 1."""
    return (a.real * b.real + a.imag * b.imag).sum(dim=dims, keepdim=True)
