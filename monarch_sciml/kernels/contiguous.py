"""The real products of a contiguous Monarch matrix between fields and modes, a few rows at a time.

Letters: R rows (batch times channels), d axes, n_i grid sizes, P patches of s points, F blocks of q
modes, r rank; J = 2 r F and H = 2 r P, real and imaginary parts of the intermediate result between
the products.

A field x (R, n_1, ..., n_d) becomes patches (P, R, s), these become (P, J, R) by one batched
product, and these modes (F, 2 q, R) by another. J runs over (rank, part, block), so that for each
block the entries (P, rank, part) of all patches have one stride and nothing is permuted between the
products. The intermediate result is larger than the modes, so it is computed for a few rows at a
time, stays in the cache, and is recomputed in the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml.monarch.contiguous import Blocks

_CHUNK = 1 << 15  # numbers of a field taken at a time
_FEWEST_ROWS = 64  # taken together


@dataclass(frozen=True)
class BlockMatrix:
    """Hold a contiguous Monarch matrix as the real matrices of its two products.

    Attributes
    ----------
    rows
        Matrices (P, J, s) from the points of a patch to the intermediate result.
    columns
        Matrices (F, 2 q, H) from the intermediate result to the modes of a block, real parts first.
    patches, modes
        The P patches of the grid and the F blocks of the modes.
    """

    rows: Tensor
    columns: Tensor
    patches: Blocks
    modes: Blocks

    def to_modes(self, x: Tensor) -> Tensor:
        """Transform fields (R, n_1, ..., n_d) to modes (2, K, R), real part first."""
        z, space = self._empty_blocks(x.shape[0]), _Space(self.rows, self.patches)
        for some in self._chunks(x.shape[0]):
            between = self._between(self._patches(x[some], space), space)
            z[..., some] = torch.bmm(self.columns, self._by_block(between))
        return self.joined(z)

    def to_fields(self, modes: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the transposed transform of modes (2, K, R), fields (R, m_1, ..., m_d).

        `modes` holds the imaginary parts of the conjugated modes.
        """
        y = modes.new_empty(modes.shape[-1], *self.patches.sizes, dtype=dtype)
        blocks, space = self.cut(modes), _Space(self.rows, self.patches)
        for some in self._chunks(y.shape[0]):
            self._set_fields(self._from_blocks(blocks[..., some], space), y[some], space)
        return y

    def gradients(
        self, x: Tensor, modes: Tensor, y: Tensor | None = None, *, to_modes: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the gradients of `rows` and `columns` of the sum over <modes, to_modes(x)>.

        Parameters
        ----------
        x
            Fields (R, n_1, ..., n_d).
        modes
            (2, K, R).
        y
            Where to write the transposed transform of `modes`, fields (R, n_1, ..., n_d).
        to_modes
            Whether to return `to_modes(x)` as well.
        """
        blocks, space = self.cut(modes), _Space(self.rows, self.patches)
        z = self._empty_blocks(x.shape[0]) if to_modes else None
        grad_rows, grad_columns = torch.zeros_like(self.rows), torch.zeros_like(self.columns)
        for some in self._chunks(x.shape[0]):
            patches = self._patches(x[some], space)  # (P, R, s)
            between = self._by_block(self._between(patches, space))  # (F, H, R)
            if z is not None:
                z[..., some] = torch.bmm(self.columns, between)
            grad_columns.baddbmm_(blocks[..., some], between.mT)
            back = self._from_blocks(blocks[..., some], space)  # (P, J, R)
            grad_rows.baddbmm_(back, patches)
            if y is not None:
                self._set_fields(back, y[some], space)
        return grad_rows, grad_columns, None if z is None else self.joined(z)

    def plain_to_modes(self, x: Tensor) -> Tensor:
        """Compute `to_modes` by differentiable operations of torch."""
        patches = self.patches.split(x).transpose(0, 1)  # (P, R, s)
        return self.joined(self.columns @ self._by_block(self.rows @ patches.mT))

    def plain_to_field(self, modes: Tensor) -> Tensor:
        """Compute `to_fields` by differentiable operations of torch."""
        between = self.columns.mT @ self.cut(modes)  # (F, H, R)
        # (F, P r 2, R) -> (P, r 2 F, R)
        between = between.transpose(0, 1).reshape(*self.rows.shape[:2], -1)
        return self.patches.join((between.mT @ self.rows).transpose(0, 1))

    def cut(self, modes: Tensor) -> Tensor:
        """Cut modes (2, K, R) into padded blocks (F, 2 q, R)."""
        if not self.modes.is_regular:
            modes = torch.cat([modes, modes.new_zeros(2, 1, modes.shape[-1])], dim=1)
        index = self.modes.index.to(modes.device)[:, None]  # (F, 1, q), K for padding
        parts = torch.arange(2, device=modes.device)[:, None] * modes.shape[1]
        rows = (index + parts).flatten()  # (F 2 q,)
        blocks = modes.flatten(0, 1).index_select(0, rows)
        return blocks.view(self.modes.n_blocks, -1, modes.shape[-1])

    def joined(self, blocks: Tensor) -> Tensor:
        """Put blocks (F, 2 q, R) together to modes (2, K, R)."""
        size = self.modes.block_size
        place = self.modes.position.to(blocks.device)  # (K,), in (F, q)
        first = place // size * 2 * size + place % size
        rows = torch.cat([first, first + size])
        return blocks.flatten(0, 1).index_select(0, rows).view(2, -1, blocks.shape[-1])

    def _empty_blocks(self, n_rows: int) -> Tensor:
        return self.columns.new_empty(*self.columns.shape[:2], n_rows)

    def _chunks(self, n_rows: int) -> Iterator[slice]:
        """Cut the rows into slices of nearly equal size whose fields stay in the cache."""
        points = self.rows.shape[0] * self.rows.shape[2]
        count = max(1, min(n_rows // _FEWEST_ROWS, round(n_rows * points / _CHUNK)))
        for j in range(count):
            yield slice(j * n_rows // count, (j + 1) * n_rows // count)

    def _patches(self, x: Tensor, space: _Space) -> Tensor:
        """Cut fields (R, n_1, ..., n_d) into patches (P, R, s) in the precision of the matrix."""
        x = x.to(self.rows.dtype)
        if not self.patches.is_regular:
            return self.patches.split(x).transpose(0, 1)
        n_patches, _, size = self.rows.shape
        patches = space.take("patches", n_patches, x.shape[0], size)
        order = space.order(x.shape[0])
        width = self.patches.widths[-1]
        torch.index_select(x.view(-1, width), 0, order, out=patches.view(-1, width))
        return patches

    def _between(self, patches: Tensor, space: _Space) -> Tensor:
        """Return what lies between, (P, J, R), from patches (P, R, s)."""
        out = space.take("between", *self.rows.shape[:2], patches.shape[1])
        return torch.bmm(self.rows, patches.mT, out=out)

    def _set_fields(self, between: Tensor, y: Tensor, space: _Space) -> None:
        """Write the patches that (P, J, R) makes to fields y (R, m_1, ..., m_d)."""
        n_patches, _, size = self.rows.shape
        out = space.take("patches", n_patches, y.shape[0], size)
        patches = torch.bmm(between.mT, self.rows, out=out).to(y.dtype)  # (P, R, s)
        if not self.patches.is_regular:
            y.copy_(self.patches.join(patches.transpose(0, 1)))
            return
        order = space.order(y.shape[0], reverse=True)
        width = self.patches.widths[-1]
        torch.index_select(patches.view(-1, width), 0, order, out=y.view(-1, width))

    def _by_block(self, between: Tensor) -> Tensor:
        """View (P, J, R) as (F, H, R)."""
        n_blocks, n_rows = self.columns.shape[0], between.shape[-1]
        return between.view(-1, n_blocks, n_rows).transpose(0, 1)

    def _from_blocks(self, blocks: Tensor, space: _Space) -> Tensor:
        """Return the intermediate result (P, J, R) from modes (F, 2 q, R)."""
        between = space.take("back", *self.rows.shape[:2], blocks.shape[-1])
        torch.bmm(self.columns.mT, blocks, out=self._by_block(between))
        return between


class _Space:
    """What the slices of a pass use one after the other: memory, because new pages cost more than
    the products, and the order of points in patches.
    """

    def __init__(self, like: Tensor, patches: Blocks) -> None:
        self._like, self._blocks = like, patches
        self._flat: dict[str, Tensor] = {}
        self._orders: dict[tuple[int, bool], Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of any content, in the place of the last one of this name."""
        size = math.prod(shape)
        if name not in self._flat or self._flat[name].numel() < size:
            self._flat[name] = self._like.new_empty(size)
        return self._flat[name][:size].view(shape)

    def order(self, n_rows: int, *, reverse: bool = False) -> Tensor:
        """Return which stretch of R fields stands where in their equal patches, or the reverse.

        A stretch is what a patch has of the last axis, w_d points. Copying whole stretches is
        faster than a copy of permuted views, whose innermost loop has w_d steps only.
        """
        key = n_rows, reverse
        if key not in self._orders:
            blocks, device = self._blocks, self._like.device
            width = blocks.widths[-1]
            of_patch = blocks.block_size // width
            row = torch.arange(n_rows, dtype=torch.int32, device=device)[:, None]
            if reverse:
                place = blocks.position[::width].to(row) // width  # in (P, s / w_d)
                place = (place // of_patch * n_rows + row) * of_patch + place % of_patch
            else:
                first = blocks.index[:, None, ::width].to(row) // width  # (P, 1, s / w_d)
                place = first + row * (blocks.n_blocks * of_patch)
            self._orders[key] = place.flatten()
        return self._orders[key]


def block_matrices(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the real matrices `rows` and `columns` of a `BlockMatrix`.

    Parameters
    ----------
    left
        Factor (F, P, q, r), complex.
    right
        Factor (P, F, r, s), complex.
    """
    parts = torch.view_as_real(right)  # (P, F, r, s, 2)
    # (P, r, 2, F, s) -> (P, J, s)
    rows = parts.permute(0, 2, 4, 1, 3).reshape(parts.shape[0], -1, parts.shape[3])
    real, imag = left.real, left.imag
    both = torch.stack([torch.stack([real, -imag], -1), torch.stack([imag, real], -1)], dim=1)
    # (F, 2, P, q, r, 2) -> (F, 2, q, P, r, 2) -> (F, 2 q, H)
    columns = both.transpose(2, 3).flatten(3).flatten(1, 2)
    return rows, columns
