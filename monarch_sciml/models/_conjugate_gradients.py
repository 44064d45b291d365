"""Solve (N + w) x = b for a positive semi-definite N, with the gradient of the exact solution.

Shapes: (..., H, W) complex images; every image has step sizes of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Map = Callable[[Tensor], Tensor]


def conjugate_gradients(
    operator: Map, b: Tensor, *, start: Tensor, n_iterations: int, tolerance: float
) -> Tensor:
    """Return x with operator(x) = b, from `start` on, for a Hermitian positive definite operator.

    An image stops when its residual is at most `tolerance` times the norm of its b.
    """
    limits = torch.finfo(b.real.dtype)
    # squares below this lose their digits: such a residual counts as zero
    goal = (tolerance**2 * _dot(b, b)).clamp_min(limits.tiny / limits.eps)  # (..., 1, 1), real
    x = start
    residual = b - operator(x)
    direction, energy = residual, _dot(residual, residual)
    for _ in range(n_iterations):
        active = energy > goal
        if not bool(active.any()):
            break
        mapped = operator(direction)
        # an image that has converged (or is zero) takes steps of length zero
        step = torch.where(active, energy / _dot(direction, mapped), 0.0)
        x = x + step * direction
        residual = residual - step * mapped
        previous, energy = energy, _dot(residual, residual)
        direction = residual + torch.where(active, energy / previous, 0.0) * direction
    return x


def solve(
    normal: Map, b: Tensor, weight: Tensor, *, start: Tensor, n_iterations: int, tolerance: float
) -> Tensor:
    """Return x = (N + w)^{-1} b with gradients to b, w and everything learned in N.

    They follow from the equation itself, dx = (N + w)^{-1} (db - dN x - dw x): the backward pass
    solves the same system once more, and no iteration is stored. They are as exact as the solution,
    and can be taken once (no double backward).

    Parameters
    ----------
    normal
        N, Hermitian and positive semi-definite, on (..., H, W).
    b
        Right-hand side (..., H, W), complex.
    weight
        w, real, positive, ().
    start
        First guess (..., H, W).
    n_iterations, tolerance
        As for `conjugate_gradients`.
    """

    def operator(x: Tensor) -> Tensor:
        return normal(x) + weight * x

    def inverse(right: Tensor, guess: Tensor) -> Tensor:
        with torch.no_grad():
            return conjugate_gradients(
                operator, right, start=guess, n_iterations=n_iterations, tolerance=tolerance
            )

    x = inverse(b.detach(), start.detach())
    if not torch.is_grad_enabled():
        return x
    # zero up to the tolerance; what it depends on is what x depends on
    return x + _Inverse.apply(b - operator(x), inverse)


class _Inverse(torch.autograd.Function):
    """Zero in the forward pass; the derivative is that of (N + w)^{-1} r."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, inverse: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.inverse = inverse
        return torch.zeros_like(residual)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        return ctx.inverse(gradients[0], torch.zeros_like(gradients[0])), None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the real part of the inner product over (H, W), keeping both axes at size 1."""
    return (a.real * b.real + a.imag * b.imag).sum(dim=(-2, -1), keepdim=True)
