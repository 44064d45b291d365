"""The interface that all transforms share.

Letters: n grid size, K = n_modes, C = n_copies (one matrix per channel).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.transforms.basis import AxisSpec


class Transform(nn.Module, ABC):
    """A linear map along the last axis, y = M x, with adjoint, inverse and dense matrix.

    An analysis transform (dft, dct, dst, hadamard) maps n grid points to K modes and has
    M (K, n); a synthesis transform (idft, idct, idst) maps K modes to n grid points and has M (n,
    K).

    With `real_input` the grid side is real and only the K <= n // 2 + 1 modes of non-negative
    frequency are kept: analysis returns M x, synthesis returns Re(M y), and `adjoint` is the
    adjoint with respect to the real inner product Re <a, b>.
    """

    spec: AxisSpec
    n_copies: int = 1

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> Self:
        """Move or cast the module, and its constants with it."""
        super()._apply(fn, recurse)
        self._prepare()
        return self

    def _prepare(self) -> None:
        """Compute, ahead of any trace, the constants that `matrix` needs and training does not
        change.
        """

    @property
    def n(self) -> int:
        """Number of grid points."""
        return self.spec.n

    @property
    def n_modes(self) -> int:
        """Number of modes kept."""
        return self.spec.n_modes

    @property
    def norm(self) -> str:
        """Scaling, with the meaning of torch.fft: "ortho", "forward" or "backward"."""
        return self.spec.norm

    @property
    def centered(self) -> bool:
        """Whether the zero of the grid and of the frequencies is at index n // 2 (fftshift)."""
        return self.spec.centered

    @property
    def real_input(self) -> bool:
        """Whether the grid side is real and half of the spectrum is kept."""
        return self.spec.real_input

    @property
    def modes(self) -> Tensor:
        """Kept modes (K,): signed frequency (dft) or mode number (dct, dst) of each row."""
        return self.spec.modes

    @abstractmethod
    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, n) for analysis and (n, K) for synthesis, or (C, ., .)."""

    @abstractmethod
    def resampled(self, n: int) -> Transform:
        """Return the same transform on a grid of n points over the same domain."""

    def initial_matrix(self) -> Tensor:
        """Return the matrix of the transform this one started from, in its dtype and device."""
        return oriented(self.spec.dense_rows(), self.spec).to(self.matrix())

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transform: x (..., n) -> (..., K), or (..., K) -> (..., n) for synthesis.

        With `n_copies` C > 1, x is (..., C, n) and channel c meets matrix c.
        """
        self._check(x, grid_side=not self.spec.synthesis)
        y = apply_matrix(self.matrix(), x)
        return y.real if self._real_output(forward=True) and y.is_complex() else y

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the conjugate transpose, so that <forward(x), y> = <x, adjoint(y)>."""
        self._check(y, grid_side=self.spec.synthesis)
        x = apply_matrix(self.matrix().mH, y)
        return x.real if self._real_output(forward=False) and x.is_complex() else x

    def inverse(self, y: Tensor) -> Tensor:
        """Apply the inverse; when modes are left out, the Moore-Penrose inverse (zeros elsewhere).

        The cost is one dense factorisation of the matrix, O(n^3).
        """
        self._check(y, grid_side=self.spec.synthesis)
        return self._pseudo_inverse(y)

    def _pseudo_inverse(self, y: Tensor) -> Tensor:
        """Apply the Moore-Penrose inverse of the matrix along the last axis."""
        matrix = self.matrix()
        if not self.real_input:
            return apply_matrix(torch.linalg.pinv(matrix), y)
        # real-linear: the real matrix between real parts and [real; imaginary] parts of the modes
        axis = -1 if self.spec.synthesis else -2
        imaginary = -matrix.imag if self.spec.synthesis else matrix.imag
        inverse = torch.linalg.pinv(torch.cat([matrix.real, imaginary], dim=axis))
        if self.spec.synthesis:
            real, imag = apply_matrix(inverse, y).chunk(2, dim=-1)
            return torch.complex(real, imag)
        return apply_matrix(inverse, torch.cat([y.real, y.imag], dim=-1))

    def _real_output(self, *, forward: bool) -> bool:
        return self.real_input and (self.spec.synthesis == forward)

    def _check(self, x: Tensor, *, grid_side: bool) -> None:
        size = self.n if grid_side else self.n_modes
        if grid_side and self.real_input and x.is_complex():
            rule = "a transform with real_input=True needs real numbers on the grid"
            raise TypeError(message(rule, x.dtype, "Pass x.real, or set `real_input=False`."))
        if x.shape[-1] != size:
            rule = f"the last axis must have {size} entries"
            remedy = f"Build the transform for that size, or use resampled({x.shape[-1]})."
            raise ValueError(message(rule, x.shape[-1], remedy))
        if self.n_copies > 1 and (x.ndim < 2 or x.shape[-2] != self.n_copies):
            rule = (
                f"a transform with n_copies={self.n_copies} needs x (..., {self.n_copies}, {size})"
            )
            raise ValueError(message(rule, tuple(x.shape), "Put the channels on axis -2."))

    def extra_repr(self) -> str:
        """Show what distinguishes one transform from another."""
        spec = self.spec
        return (
            f"{spec.init!r}, n={spec.n}, n_modes={spec.n_modes}, real_input={spec.real_input}, "
            f"centered={spec.centered}, norm={spec.norm!r}, n_copies={self.n_copies}"
        )


def oriented(rows: Tensor, spec: AxisSpec) -> Tensor:
    """Turn rows (..., K, n) into the matrix of the transform: transposed when it is a synthesis."""
    return rows.mT if spec.synthesis else rows


def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply along the last axis: x (..., n) or, for a matrix (C, K, n), x (..., C, n).

    The result is (..., K). The product of real x and a complex matrix is one real product with the
    real and imaginary columns side by side, which costs half as much as a complex one.
    """
    if matrix.ndim == 3 and matrix.shape[0] > 1:
        # (C, K, n) with (..., C, n, 1) -> (..., C, K)
        return apply_batched(matrix, x.unsqueeze(-1)).squeeze(-1)
    matrix = matrix[0] if matrix.ndim == 3 else matrix
    if matrix.is_complex() and not x.is_complex():
        pairs = torch.view_as_real(matrix.resolve_conj())  # (K, n, 2)
        columns = pairs.permute(1, 0, 2).flatten(1)  # (n, 2K): re, im, re, im, ...
        dtype = torch.promote_types(x.dtype, columns.dtype)
        product = x.to(dtype) @ columns.to(dtype)
        return torch.view_as_complex(product.unflatten(-1, (-1, 2)))
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(matrix.dtype)
    return x @ matrix.mT.to(x.dtype)


def apply_batched(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply (..., K, n) with (..., n, m), promoting a real partner to complex."""
    dtype = torch.promote_types(matrix.dtype, x.dtype)
    return matrix.to(dtype) @ x.to(dtype)


def along(x: Tensor, axis: int, channel_axis: int | None) -> Tensor:
    """Move `axis` last and, when given, `channel_axis` just before it (negative axes)."""
    if channel_axis is None:
        return x.movedim(axis, -1)
    return x.movedim((channel_axis, axis), (-2, -1))


def restore_axis(x: Tensor, axis: int, channel_axis: int | None) -> Tensor:
    """Move the axes back to where they were before `along`."""
    if channel_axis is None:
        return x.movedim(-1, axis)
    return x.movedim((-2, -1), (channel_axis, axis))
