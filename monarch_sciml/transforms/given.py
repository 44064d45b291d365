"""Fixed transforms that are given by their rows: a basis of the user's, the DFT of points that are
not equally spaced, and the proper orthogonal decomposition of training data.

Letters: n grid points in all, n_i along each axis, K modes, S fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import finite, inexact, message, positive_int
from monarch_sciml.transforms.base import Transform, oriented
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.constants import working_dtype


class GivenTransform(Transform):
    """Transform by rows that the user gives, M = rows (the transpose for a synthesis).

    Parameters
    ----------
    rows
        Rows (K, n) of finite real or complex numbers.
    inverse
        Whether to map modes to the grid instead, y = rows^T x.

    Raises
    ------
    ValueError
        When `rows` is not a matrix, holds integers, or a number in it is not finite.

    Notes
    -----
    The rows are a buffer, which is saved with the weights. Another grid needs rows of its own.
    """

    values: Tensor

    def __init__(self, rows: Tensor, *, inverse: bool = False) -> None:
        super().__init__()
        if rows.ndim != 2:
            rule = "`rows` must be a matrix (modes, points)"
            raise ValueError(message(rule, f"shape {tuple(rows.shape)}", "Pass one row a mode."))
        finite("rows", inexact("rows", rows), remedy="Leave out the modes that hold them.")
        n_modes, n = rows.shape
        self.spec = AxisSpec("given", inverse, n, n_modes, False, False, "forward")
        rows = rows.detach().clone()
        self.register_buffer("values", torch.view_as_real(rows) if rows.is_complex() else rows)

    def rows(self) -> Tensor:
        """Return the rows (K, n) in their dtype, complex ones in single precision at least."""
        if self.values.ndim != 3:
            return self.values
        return torch.view_as_complex(self.values.to(working_dtype(self.values.dtype)))

    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, n) for analysis and (n, K) for synthesis."""
        return oriented(self.rows(), self.spec)

    def resampled(self, n: int) -> Transform:
        """Return the transform itself; ValueError for another number of points."""
        if n != self.n:
            rule = f"a transform given by its rows needs its own {self.n} points"
            raise ValueError(message(rule, n, "Give the rows on the other points."))
        return self


def nonuniform_fourier_transform(
    points: Tensor, n_modes: int, *, inverse: bool = False
) -> GivenTransform:
    """Return the DFT of samples at given points, rows exp(-2 pi i k t_x) / n.

    Parameters
    ----------
    points
        Positions t (n,) in units of the domain; equally spaced points have the positions x / n.
    n_modes
        Number K of modes; the lowest frequencies k are kept, ascending from -(K // 2).
    inverse
        Whether to evaluate modes at the points instead, exp(2 pi i k t_x).
    """
    k = torch.arange(positive_int("n_modes", n_modes)) - n_modes // 2
    angle = 2 * math.pi * k.double()[:, None] * points.double()
    rows = torch.polar(torch.ones_like(angle), angle if inverse else -angle)
    return GivenTransform(rows if inverse else rows / len(points), inverse=inverse)


class PODTransform(GivenTransform):
    """The proper orthogonal decomposition of training fields over the whole grid.

    The rows are the leading right singular vectors of all fields, scaled to mean square 1; the
    analysis divides by n. They are zero until `fit` is called or weights are loaded.

    Parameters
    ----------
    grid_shape
        Grid n_1, ..., n_d; the transform acts on fields flattened to n points.
    n_modes
        Modes K.
    inverse
        Whether the transform maps modes to the grid.

    References
    ----------
    Cheng et al., "PODNO: Proper Orthogonal Decomposition Neural Operators", arXiv 2504.18513.
    """

    def __init__(self, grid_shape: Sequence[int], n_modes: int, *, inverse: bool = False) -> None:
        self.grid_shape = tuple(grid_shape)
        super().__init__(torch.zeros(n_modes, math.prod(self.grid_shape)), inverse=inverse)

    @property
    def is_fitted(self) -> bool:
        """Whether the transform has a basis."""
        return bool(self.values.any())

    def fit(self, basis: Tensor) -> None:
        """Take a basis (K, n) of `pod_basis`; ValueError when it has another size."""
        if basis.shape != self.values.shape:
            rule = f"the basis must have {self.n_modes} modes of {self.n} points"
            raise ValueError(message(rule, tuple(basis.shape), "Make it by `pod_basis`."))
        rows = basis if self.spec.synthesis else basis / self.n
        self.values.copy_(rows)

    def rows(self) -> Tensor:
        """Return the rows (K, n).

        Raises
        ------
        ValueError
            When the transform has no basis yet.
        """
        if not torch.compiler.is_compiling() and not self.is_fitted:
            rule = "a POD transform must be fitted to training data"
            remedy = "Call fit_bases(network, fields), or train by `monarch-sciml train`."
            raise ValueError(message(rule, "none", remedy))
        return self.values

    def resampled(self, n: int | Sequence[int]) -> Transform:
        """Return the transform itself; ValueError for another grid."""
        sizes = (n,) if isinstance(n, int) else tuple(n)
        if sizes not in (self.grid_shape, (self.n,)):
            rule = f"a POD transform needs the grid of its training data, {self.grid_shape}"
            raise ValueError(message(rule, sizes, "Fit one there."))
        return self


def pod_basis(fields: Tensor, n_modes: int) -> Tensor:
    """Return the leading POD modes (K, n) of fields (S, n_1, ..., n_d), with mean square 1.

    Raises
    ------
    ValueError
        When there are fewer independent fields than modes, or the fields are complex or not finite.
    """
    positive_int("n_modes", n_modes)
    if fields.is_complex() or not fields.numel():
        rule = "a POD basis needs real fields, one at least"
        got = f"{fields.dtype} {tuple(fields.shape)}"
        raise ValueError(message(rule, got, "Pass training fields, real and imaginary part apart."))
    finite("fields", fields, remedy="Look for damaged samples.")
    matrix = fields.flatten(1).double()  # (S, n)
    _, sigma, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = int((sigma > sigma[0] * max(matrix.shape) * torch.finfo(torch.float64).eps).sum())
    if rank < n_modes:
        rule = f"a POD basis of {n_modes} modes needs as many independent training fields"
        raise ValueError(message(rule, rank, "Lower `n_modes` or train on more samples."))
    modes = vh[:n_modes] * math.sqrt(matrix.shape[1])
    largest = modes.gather(1, modes.abs().argmax(1, keepdim=True))
    return modes * largest.sign()
