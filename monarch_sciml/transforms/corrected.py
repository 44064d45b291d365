"""A fixed transform plus a learned correction over the whole grid.

Letters: d axes, n_i grid sizes, K_i modes, N = n_1 ... n_d, K = K_1 ... K_d; P patches of at most s
points, F blocks of at most q neighbouring modes, r rank of a slice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.monarch.contiguous import (
    Blocks,
    check_contiguous,
    dense_contiguous,
    multiply_contiguous,
)
from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.constants import Constants, outside_of_traces, working_dtype
from monarch_sciml.transforms.corrected_blocks import cut
from monarch_sciml.transforms.corrected_start import (
    ascending_rows,
    axes_of,
    checked_axes,
    grid_of,
    n_leading,
    with_modes,
)
from monarch_sciml.transforms.given import GivenTransform, PODTransform
from monarch_sciml.transforms.initial_slices import initial_rows
from monarch_sciml.transforms.learnable import LearnableTransform
from monarch_sciml.transforms.separable import SeparableTransform


class CorrectedTransform(LearnableTransform):
    r"""Add a learned contiguous Monarch matrix to a fixed transform, T = T_0 + ΔT.

    .. math:: \Delta T_{(a κ), (p ξ)} = σ \sum_{ρ=1}^{r} L_{a p κ ρ} R_{p a ρ ξ}

    Each patch p of the grid meets each block a of neighbouring modes through a slice of rank r. The
    axes of the grid are corrected jointly, so the correction need not be separable; the modes of a
    medium that varies in two directions are not. L is zero at the start, so the transform is
    exactly T_0.

    Parameters
    ----------
    start
        The fixed transform T_0 of one axis, or a `SeparableTransform` of several. It can be a
        `GivenTransform` too, such as the DFT of points that are not equally spaced, or a
        `PODTransform` of the whole grid, whose modes stand on one axis. One without a basis yet
        takes part once `models.fit_bases` has fitted it.
    rank
        Rank r of every slice.
    grid_blocks
        Number of patches along each axis of the grid, one for all axes or one per axis. By default
        8 from 32 points on, 16 from 256 points on, 32 from 1024 points on.
    mode_blocks
        Number of blocks along each axis of the modes. By default the modes of a block differ by at
        most about half an oscillation within a patch, so that a rank of 1 to 4 is enough.

    Attributes
    ----------
    left
        L, (F, P, q, r, 2), real and imaginary parts on the last axis (none for a real transform).
        Zero at the start.
    right
        Deviation (P, F, r, s, 2) of R from orthonormal combinations of the rows of T_0 themselves.
        Zero at the start.

    Raises
    ------
    ValueError
        When the blocks do not fit the sizes, the rank exceeds the smaller side of a slice, or some
        axes go from the grid to modes and others back.
    TypeError
        When `start` is no fixed transform.

    Notes
    -----
    The cost is r (F N + P K) multiplications for each field in addition to those of T_0; a dense
    matrix takes N K. Blocks that do not divide the sizes are padded. The scale σ is the root mean
    square of the entries of T_0, so that one learning rate serves every size. Every parameter
    starts at zero, so weight decay pulls ΔT to zero and R back to its initial rows.

    References
    ----------
    Candès, Demanet and Ying, "A fast butterfly algorithm for the computation of Fourier integral
    operators", Multiscale Model. Simul. 7 (2009); Li, Yang and Ying, "Multidimensional butterfly
    factorization", ACHA 44 (2018): one level of it. Dao et al., arXiv 2204.00595, section 3.

    Examples
    --------
    >>> import torch
    >>> from monarch_sciml.transforms import FourierTransform
    >>> transform = CorrectedTransform(SeparableTransform([FourierTransform(16)] * 2), rank=2)
    >>> x = torch.randn(3, 16, 16)
    >>> torch.allclose(transform(x), torch.fft.fft2(x, norm="ortho"), atol=1e-5)
    True
    """

    def __init__(
        self,
        start: Transform | SeparableTransform,
        rank: int = 2,
        grid_blocks: int | Sequence[int] | None = None,
        mode_blocks: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.rank = positive_int("rank", rank)
        modes = [axis.n_modes for axis in checked_axes(start)]
        patches, blocks = cut(grid_of(start), modes, grid_blocks, mode_blocks)
        largest = min(patches.block_size, blocks.block_size)
        if rank > largest:
            rule = f"`rank` must be at most {largest}, the smaller side of a slice"
            remedy = "Lower `rank`, or use fewer `grid_blocks` or `mode_blocks`."
            raise ValueError(message(rule, rank, remedy))
        with outside_of_traces():
            self._set_start(start, patches, blocks)
            shape = self._set_initial()  # (P, F, r, s), and 2 for complex numbers
        left = (blocks.n_blocks, patches.n_blocks, blocks.block_size, rank)
        self.left = nn.Parameter(torch.zeros(*left, *shape[4:]))
        self.right = nn.Parameter(torch.zeros(shape))
        self.register_load_state_dict_post_hook(_follow_loaded_rows)
        self._prepare()

    def _prepare(self) -> None:
        self._initial.like(self.left)
        self._planes.like(self.left)

    def _set_start(
        self, start: Transform | SeparableTransform, patches: Blocks, mode_blocks: Blocks
    ) -> None:
        """Set T_0, the blocks, and constants that follow from them."""
        self.start, self.patches, self.mode_blocks = start, patches, mode_blocks
        for part in (patches, mode_blocks):  # makes their cached indices, ahead of any trace
            _ = part.sizes, part.counts, part.widths, part.is_regular, part.index, part.position
        self._set_rows()

    def follow_start(self) -> None:
        """Compute what follows from the rows of T_0 again, after they changed."""
        with outside_of_traces():
            self._set_rows()
            self._set_initial()
        self._prepare()

    def _need_basis(self) -> None:
        """Follow a POD that was fitted after this was made; ValueError without a basis."""
        pods = [axis for axis in self.axes if isinstance(axis, PODTransform)]
        if pods and not self._scale:
            for pod in pods:
                pod.rows()
            self.follow_start()

    def _set_rows(self) -> None:
        """Set the constants that follow from the rows of T_0."""
        rows = [ascending_rows(axis) for axis in self.axes]
        self._scale = math.prod(float(matrix.abs().square().mean().sqrt()) for matrix in rows)
        self._planes = Constants(
            [torch.stack([m.real, m.imag]) if m.is_complex() else m[None] for m in rows]
        )
        self._fixed_rows = Constants(self._make_fixed_rows)

    def _set_initial(self) -> torch.Size:
        """Set the initial R from the rows of T_0; return its shape."""
        rows = [ascending_rows(axis) for axis in self.axes]
        initial = initial_rows(rows, self.patches, self.mode_blocks, self.rank)
        stored = torch.view_as_real(initial) if initial.is_complex() else initial
        self._initial = Constants([stored])
        return stored.shape

    def _make_fixed_rows(self) -> list[Tensor]:
        fixed = torch.ones(1, 1, dtype=torch.float64)
        for axis in self.axes:
            rows = ascending_rows(axis)
            fixed = torch.kron(fixed.to(rows.dtype), rows)
        return [fixed]

    @property
    def axes(self) -> list[Transform]:
        """The fixed transform of each axis."""
        return axes_of(self.start)

    @property
    def n_axes(self) -> int:
        """Number of axes d of the grid that are corrected jointly."""
        return len(self.patches.sizes)

    @property
    def n_mode_axes(self) -> int:
        """Number of axes of the modes: d, or 1 for the modes of a POD of the whole grid."""
        return len(self.mode_blocks.sizes)

    @property
    def spec(self) -> AxisSpec:  # type: ignore[override]
        """Description of the fixed transform along the last axis."""
        return self.axes[-1].spec

    @property
    def n(self) -> Any:
        """Number of grid points, one per axis if there are several axes."""
        return self.start.n if self.n_axes == self.n_mode_axes else self.patches.sizes

    @property
    def n_modes(self) -> Any:
        """Number of modes, one per axis if there are several axes."""
        return self.start.n_modes

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return σ L (F, P, q, r) and R (P, F, r, s); the modes of a block ascend."""
        self._need_basis()
        (initial,) = self._initial.like(self.left)
        dtype = working_dtype(self.left.dtype)
        left, right = self._scale * self.left.to(dtype), initial + self.right.to(dtype)
        if not self._is_real:
            left, right = torch.view_as_complex(left), torch.view_as_complex(right)
        return left, right

    @torch.no_grad()
    def set_factors(self, left: Tensor, right: Tensor) -> None:
        """Set ΔT to the contiguous Monarch matrix of two factors.

        Each row of R is scaled to mean square 1, as at the start, and L takes the rest.

        Parameters
        ----------
        left
            (F, P, q, r), ascending modes.
        right
            (P, F, r, s).
        """
        check_contiguous(left, right, self.patches, self.mode_blocks)
        (initial,) = self._initial.like(self.left)
        points = (self.patches.index < math.prod(self.patches.sizes)).sum(-1)  # (P,)
        size = right.abs().square().sum(-1).div(points[:, None, None]).sqrt()  # (P, F, r)
        size = torch.where(size > 0, size, 1).to(right.real.dtype)
        right = right / size[..., None]
        left = left * size.transpose(0, 1)[:, :, None] / self._scale
        if not self._is_real:
            dtype = torch.promote_types(left.dtype, torch.complex64)
            left, right = (torch.view_as_real(factor.to(dtype)) for factor in (left, right))
        self.left.copy_(left)
        self.right.copy_(right.to(initial) - initial)

    @property
    def _is_real(self) -> bool:
        return self.left.ndim == 4

    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, N) for analysis, (N, K) for synthesis, of tests and small
        grids.
        """
        return self.initial_matrix() + self.deviation()

    def initial_matrix(self) -> Tensor:
        """Return the matrix of T_0."""
        return self.start.matrix()

    def deviation(self) -> Tensor:
        """Return the matrix of ΔT, in the order of the modes of T_0."""
        rows = self.learned_rows()
        axes = range(-self.n_mode_axes - 1, -1)
        rows = self.in_order(rows.unflatten(0, self.mode_blocks.sizes), axes)
        rows = rows.flatten(0, self.n_mode_axes - 1)
        return rows.mT if self.spec.synthesis else rows

    def planes(self) -> list[Tensor]:
        """Return real and imaginary part of the rows of T_0 along each axis, (2, K_i, n_i), modes
        ascending, in the dtype and on the device of the parameters; ValueError without a basis.
        """
        self._need_basis()
        return self._planes.like(self.left)

    def rows(self) -> Tensor:
        """Return the rows (K, N) of T, of the transposed T for synthesis, with modes ascending."""
        return self._fixed_rows.like(self.left)[0] + self.learned_rows()

    def learned_rows(self) -> Tensor:
        """Return the rows (K, N) of ΔT with modes ascending."""
        return dense_contiguous(*self.factors(), self.patches, self.mode_blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transform: x (..., n_1 .. n_d) -> (..., K_1 .. K_d), reversed for synthesis."""
        self._check_sizes(x, analysis=not self.spec.synthesis)
        axes = range(-self.n_mode_axes, 0)
        if self.spec.synthesis:
            y = self._on_grid(self.start(x))
            y = y + self.transposed_correction(self.ascending(x, axes))
        else:
            y = self.start(self._flat(x)) + self.in_order(self.correction(x), axes)
        return y.real if self._real_output(forward=True) and y.is_complex() else y

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the conjugate transpose, so that <forward(x), y> = <x, adjoint(y)>."""
        self._check_sizes(y, analysis=self.spec.synthesis)
        axes = range(-self.n_mode_axes, 0)
        if self.spec.synthesis:
            learned = self.in_order(self.correction(y.conj()), axes)
            x = self.start.adjoint(self._flat(y)) + learned.conj()
        else:
            learned = self.transposed_correction(self.ascending(y.conj(), axes))
            x = self._on_grid(self.start.adjoint(y)) + learned.conj()
        return x.real if self._real_output(forward=False) and x.is_complex() else x

    def inverse(self, y: Tensor) -> Tensor:
        """Apply the Moore-Penrose inverse at a cost of O(N^3), for tests and small grids."""
        self._check_sizes(y, analysis=self.spec.synthesis)
        sides = self.patches.sizes, self.mode_blocks.sizes
        before, after = sides if self.spec.synthesis else sides[::-1]
        return self._pseudo_inverse(y.flatten(-len(before))).unflatten(-1, after)

    def _flat(self, x: Tensor) -> Tensor:
        """Flatten the grid for a start that knows no axes."""
        return x if self.n_axes == self.n_mode_axes else x.flatten(-self.n_axes)

    def _on_grid(self, x: Tensor) -> Tensor:
        """Undo `_flat`."""
        return x if self.n_axes == self.n_mode_axes else x.unflatten(-1, self.patches.sizes)

    def resampled(self, n: Any, *, n_modes: Sequence[int] | None = None) -> CorrectedTransform:
        """Return the transform on another grid of the same domain, with the same parameters.

        `ResampledCorrection` says how the correction is carried over.

        Parameters
        ----------
        n
            Number of points of the new grid along each axis, or one int for a single axis.
        n_modes
            Largest number of modes to keep along each axis. Without it a transform with all modes
            of its grid keeps all modes of the other grid.
        """
        from monarch_sciml.transforms.corrected_resampled import ResampledCorrection

        sizes = (n,) if isinstance(n, int) else tuple(n)
        if len(sizes) != self.n_axes:
            rule = f"`n` must have {self.n_axes} sizes, one per axis"
            raise ValueError(message(rule, sizes, "Give the grid shape."))
        if isinstance(self.start, PODTransform):
            self.start.resampled(sizes)  # refuses every grid but its own
            return self
        axes = [axis.resampled(m) for axis, m in zip(self.axes, sizes)]
        if n_modes is not None:
            axes = [with_modes(new, min(new.n_modes, most)) for new, most in zip(axes, n_modes)]
        modes = tuple(axis.n_modes for axis in axes)
        if (sizes, modes) == (self.patches.sizes, self.mode_blocks.sizes):
            return self
        joint = isinstance(self.start, SeparableTransform)
        start = SeparableTransform(axes) if joint else axes[0]
        return ResampledCorrection(self, start.to(self.left))

    def correction(self, x: Tensor) -> Tensor:
        """Apply ΔT (its transpose, for synthesis) from the grid to ascending modes."""
        return multiply_contiguous(x, *self.factors(), self.patches, self.mode_blocks)

    def transposed_correction(self, y: Tensor) -> Tensor:
        """Apply the transpose of `correction` from ascending modes to the grid."""
        left, right = self.factors()
        return multiply_contiguous(y, right.mT, left.mT, self.mode_blocks, self.patches)

    def ascending(self, y: Tensor, axes: range) -> Tensor:
        """Bring modes from the order of T_0 into ascending order."""
        for axis, transform in zip(axes, self.axes):
            shift = n_leading(transform)
            y = y.roll(-shift, axis) if shift else y
        return y

    def in_order(self, y: Tensor, axes: range) -> Tensor:
        """Bring modes from ascending order into the order of T_0."""
        for axis, transform in zip(axes, self.axes):
            shift = n_leading(transform)
            y = y.roll(shift, axis) if shift else y
        return y

    def _check_sizes(self, x: Tensor, *, analysis: bool) -> None:
        sizes = self.patches.sizes if analysis else self.mode_blocks.sizes
        if tuple(x.shape[max(x.ndim - len(sizes), 0) :]) != sizes:
            rule = f"the last {len(sizes)} axes must have {sizes} entries"
            raise ValueError(message(rule, tuple(x.shape), "Build the transform for that size."))

    def extra_repr(self) -> str:
        """Show the structure of the correction."""
        return (
            f"rank={self.rank}, grid_blocks={self.patches.counts}, "
            f"mode_blocks={self.mode_blocks.counts}"
        )


def _follow_loaded_rows(transform: CorrectedTransform, _: object) -> None:
    """Take the rows of T_0 from a state that was loaded: those of a GivenTransform are in it."""
    if any(isinstance(axis, GivenTransform) for axis in transform.axes):
        transform.follow_start()
