"""A corrected transform on another grid of the same domain.

Letters: d axes, n_i and m_i grid sizes (old, new), b patches and F blocks along an axis, w and v
points of a patch (old, new), r rank.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml.monarch.contiguous import Blocks
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.constants import Constants, outside_of_traces
from monarch_sciml.transforms.corrected import CorrectedTransform
from monarch_sciml.transforms.corrected_start import axes_of

_POINTS = 4  # that the local polynomial passes through


class ResampledCorrection(CorrectedTransform):
    """Carry a corrected transform to another grid: the T_0 of that grid plus ΔT with R
    interpolated.

    The patches keep their place in the domain. Within each patch, the rows of R are divided by the
    middle mode of their block (for a Fourier basis), interpolated by cubic polynomials and
    multiplied by that mode again. Modes that both grids have are matched by frequency; new ones
    have no correction. The parameters are those of the source, so gradients reach them.

    Parameters
    ----------
    source
        The transform on n_1 x ... x n_d points.
    start
        The fixed transform on the new grid.
    """

    def __init__(self, source: CorrectedTransform, start: Any) -> None:
        nn.Module.__init__(self)
        self.source = source
        self.rank = source.rank
        with outside_of_traces():
            self._carry(source, start)
        self._prepare()

    def _prepare(self) -> None:
        self._weights.like(self.left)
        self._planes.like(self.left)

    def _carry(self, source: CorrectedTransform, start: Any) -> None:
        """Set T_0 and the blocks on the new grid, and the weights that carry the factors there."""
        patches = Blocks.equal([t.n for t in axes_of(start)], source.patches.counts)
        old = source.mode_blocks
        offsets = [
            _first_mode(b.spec) - _first_mode(a.spec) for a, b in zip(source.axes, axes_of(start))
        ]
        modes = Blocks(
            tuple(
                _shifted(edges, offset, t.n_modes)
                for edges, offset, t in zip(old.edges, offsets, axes_of(start))
            )
        )
        self._set_start(start, patches, modes)
        weights = [
            _interpolation(a.spec, b.spec, source.patches, patches, old, axis)
            for axis, (a, b) in enumerate(zip(source.axes, self.axes))
        ]
        stored = [torch.view_as_real(w) if w.is_complex() else w for w in weights]
        self._weights = Constants([*stored, _matching_entries(old, modes, offsets)])

    @property
    def left(self) -> Tensor:  # type: ignore[override]
        """The factor L of the source."""
        return self.source.left

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return σ L (F, P, q, r) and R (P, F, r, s) on the new grid."""
        source_left, right = self.source.factors()
        scale = self._scale / self.source._scale
        padded = nn.functional.pad(source_left.mT, (0, 1)).mT  # (F, P, q + 1, r), the last zero
        *weights_by_axis, entries = self._weights.like(self.left)
        index = entries[:, None, :, None]
        shape = (*padded.shape[:2], index.shape[2], padded.shape[3])
        left = scale * padded.gather(2, index.expand(shape))
        patches, blocks = self.source.patches, self.mode_blocks
        dims = self.n_axes
        # (b_1 .. b_d, F_1 .. F_d, r, w_1 .. w_d)
        right = right.reshape(*patches.counts, *blocks.counts, self.rank, *patches.widths)
        for axis, weights in enumerate(weights_by_axis):
            w = weights if self._is_real else torch.view_as_complex(weights)  # (F, b, v, w)
            moved = right.movedim((dims + axis, axis, 2 * dims + 1 + axis), (0, 1, -1))
            moved = torch.einsum("fb...w,fbvw->fb...v", moved, w)
            right = moved.movedim((0, 1, -1), (dims + axis, axis, 2 * dims + 1 + axis))
        shape = (self.patches.n_blocks, blocks.n_blocks, self.rank, self.patches.block_size)
        return left, right.reshape(shape)

    def resampled(self, n: Any, *, n_modes: Sequence[int] | None = None) -> CorrectedTransform:
        """Return the source's transform on yet another grid."""
        return self.source.resampled(n, n_modes=n_modes)


def _first_mode(spec: AxisSpec) -> int:
    return int(spec.modes.min())


def _shifted(edges: tuple[int, ...], offset: int, n_modes: int) -> tuple[int, ...]:
    """Return the edges of the same blocks among modes that start `offset` modes later."""
    inner = [min(max(edge - offset, 0), n_modes) for edge in edges[1:-1]]
    return (0, *inner, n_modes)


def _matching_entries(old: Blocks, new: Blocks, offsets: list[int]) -> Tensor:
    """Return for each entry (F, q) of the new blocks that of the same mode among the old, or q."""
    place = old.position.view(old.sizes) % old.block_size
    entries = torch.full((new.n_blocks, new.block_size), old.block_size)
    total = math.prod(new.sizes)
    for a, κ in itertools.product(range(new.n_blocks), range(new.block_size)):
        flat = int(new.index[a, κ])
        if flat < total:
            mode = [int(k) + o for k, o in zip(_unflattened(flat, new.sizes), offsets)]
            if all(0 <= k < size for k, size in zip(mode, old.sizes)):
                entries[a, κ] = place[tuple(mode)]
    return entries


def _unflattened(flat: int, sizes: tuple[int, ...]) -> list[int]:
    found = []
    for size in reversed(sizes):
        flat, k = divmod(flat, size)
        found.append(k)
    return found[::-1]


def _interpolation(
    old: AxisSpec, new: AxisSpec, patches: Blocks, new_patches: Blocks, modes: Blocks, axis: int
) -> Tensor:
    """Return weights (F, b, v, w) from the points of old patches to those of new ones."""
    edges, new_edges = patches.edges[axis], new_patches.edges[axis]
    n_patches, width, new_width = len(edges) - 1, patches.widths[axis], new_patches.widths[axis]
    local = torch.zeros(n_patches, new_width, width, dtype=torch.float64)
    for p in range(n_patches):
        points = torch.arange(new_edges[p], new_edges[p + 1])
        place = _old_place(points.double(), old, new) - edges[p]
        local[p, : len(points), : edges[p + 1] - edges[p]] = _lagrange(
            place, edges[p + 1] - edges[p]
        )
    n_blocks = modes.counts[axis]
    if old.family != "dft":
        return local.expand(n_blocks, -1, -1, -1).clone()
    sign = 1.0 if old.synthesis else -1.0
    block_edges = torch.tensor(modes.edges[axis])
    middle = (block_edges[1:] + block_edges[:-1]) // 2 + _first_mode(old)  # (F,) frequencies

    def carrier(spec: AxisSpec, edges: tuple[int, ...], width: int) -> Tensor:
        points = torch.tensor(edges[:-1])[:, None] + torch.arange(width)  # (b, w)
        offset = spec.n // 2 if spec.centered else 0
        angle = sign * 2 * math.pi * (points - offset).double() / spec.n
        angle = middle.double()[:, None, None] * angle
        return torch.polar(torch.ones_like(angle), angle)  # (F, b, w)

    before = carrier(old, edges, width).conj()[:, :, None, :]
    return carrier(new, new_edges, new_width)[..., None] * local * before


def _old_place(points: Tensor, old: AxisSpec, new: AxisSpec) -> Tensor:
    """Return where points of the new grid lie in units of the old one."""
    ratio = old.n / new.n
    if old.family in ("dct", "dst"):
        return (points + 0.5) * ratio - 0.5
    if old.centered:
        return (points - new.n // 2) * ratio + old.n // 2
    return points * ratio


def _lagrange(place: Tensor, n: int) -> Tensor:
    """Return weights (v, n) of the polynomial through the points of 0 ... n - 1 nearest to each."""
    count = min(n, _POINTS)
    first = (place.floor().long() - (count - 1) // 2).clamp(0, n - count)
    nodes = first[:, None] + torch.arange(count)  # (v, count)
    weights = torch.ones(len(place), count, dtype=torch.float64)
    for i, j in itertools.permutations(range(count), 2):
        weights[:, i] *= (place - nodes[:, j]) / (nodes[:, i] - nodes[:, j])
    return torch.zeros(len(place), n, dtype=torch.float64).scatter_(1, nodes, weights)
