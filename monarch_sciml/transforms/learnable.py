"""Learnable transforms and their resampling to another grid.

Letters: n and m grid sizes (old, new), K and J their modes, k mode.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml.transforms.base import Transform, oriented
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.constants import Constants


class LearnableTransform(Transform):
    """A transform whose parameters are deviations from the transform it is named after.

    Every parameter starts at zero, so weight decay on the parameters is a decay of the transform
    towards its initial value, and the initial transform is exact in every dtype.
    """

    def deviation(self) -> Tensor:
        """Return matrix() - initial_matrix(): what has been learned."""
        return self.matrix() - self.initial_matrix()

    def resampled(self, n: int) -> Transform:
        """Return the same transform on n points: the initial transform of that grid plus the
        deviation.

        It shares its parameters with this transform, so gradients reach them. `ResampledTransform`
        says how the deviation is carried over.
        """
        return self if n == self.n else ResampledTransform(self, n)


class ResampledTransform(Transform):
    """Carry a learned transform to a grid of m points over the same domain.

    The matrix is the initial transform on the new grid plus the learned deviation, which is
    interpolated along the grid axis (trigonometrically; by cosines or sines for dct or dst) and
    rescaled as the initial transform is. Modes that both grids have are matched by frequency; new
    ones have no deviation. An untrained transform therefore transfers exactly. The parameters are
    those of the source, so gradients reach them.

    Parameters
    ----------
    source
        Transform on n points.
    n
        Points of the new grid.

    Notes
    -----
    The interpolation uses the modes of the smaller grid (without its Nyquist mode when even), so
    the part of the deviation above the Nyquist frequency of a coarser grid is lost. A "random"
    transform has no counterpart on another grid: all of it is interpolated.
    """

    def __init__(self, source: LearnableTransform, n: int) -> None:
        super().__init__()
        self.source = source
        self.spec = source.spec.on_grid(n)
        self.n_copies = source.n_copies
        self._fixed = Constants(self._make_constants)
        self._prepare()

    def _prepare(self) -> None:
        self._fixed.like(next(self.source.parameters()))

    def _make_constants(self) -> list[Tensor]:
        """Return [new, old initial matrix, interpolation (m, n) times scale, rows (J,), mask]."""
        new, old = self.spec, self.source.spec
        where = {int(mode): row for row, mode in enumerate(old.modes)}
        rows = torch.tensor([where.get(int(mode), -1) for mode in new.modes])
        initial = [oriented(spec.dense_rows(), spec) for spec in (new, old)]
        known = (rows >= 0).double()[:, None]  # (J, 1)
        return [*initial, _interpolation(old, new), rows.clamp(min=0), known]

    def matrix(self) -> Tensor:
        """Return the dense matrix on the new grid."""
        source = self.source
        learned = source.matrix()
        initial, old, resample, rows, known = self._fixed.like(next(source.parameters()))
        # a random transform has no counterpart there: its old and new initial matrix are zero
        rows_first = oriented(learned - old, source.spec)  # (C?, K, n)
        matched = rows_first.index_select(-2, rows) * known  # (C?, J, n)
        return initial + oriented(matched @ resample.to(matched.dtype).mT, self.spec)

    def resampled(self, n: int) -> Transform:
        """Return the source's transform on yet another grid."""
        return self.source.resampled(n)


def _interpolation(old: AxisSpec, new: AxisSpec) -> Tensor:
    """Return the matrix (m, n) that takes a row from the old grid to the new one, rescaled."""
    shared = min(old.n, new.n)
    family = old.family if old.family in ("dct", "dst") else "dft"
    n_modes = shared if family != "dft" or shared % 2 else max(shared - 1, 1)

    def rows(spec: AxisSpec, init: str) -> Tensor:
        return AxisSpec.create(
            init, spec.n, n_modes, real_input=False, centered=old.centered, norm="forward"
        ).dense_rows()

    matrix = rows(new, "i" + family).mT @ rows(old, family)
    scale = float(new.row_scale[0] / old.row_scale[0])
    return matrix * scale


def leading(n_copies: int) -> tuple[int, ...]:
    """Return the shape of the axis of copies, which is empty for one shared matrix."""
    return (n_copies,) if n_copies > 1 else ()
