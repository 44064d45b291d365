"""Monarch matrices whose blocks are contiguous: low-rank slices between patches and blocks.

Letters: d axes of the grid, n_i their sizes, P patches of at most s points each; e axes of the
modes, K_i their sizes, F blocks of at most q modes each; r rank of a slice.

Rows and columns of the matrix stand in their natural order, and each patch of the grid meets each
block of modes through a slice of rank r. With rank near the number of oscillations in a slice this
holds every Fourier integral operator: warped coordinates, non-uniform points, variable speeds. It
is one level of the butterfly factorisation, and in several dimensions the blocks are boxes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from monarch_sciml._checks import finite, inexact, message, positive_int

FactorLayout = Literal["strided", "contiguous"]
LAYOUTS = get_args(FactorLayout)


@dataclass(frozen=True)
class Blocks:
    """Describe how a grid is cut into boxes of neighbouring points, along every axis alike.

    Blocks of different sizes are padded with zeros to the size of the largest.

    Attributes
    ----------
    edges
        For every axis the first point of each block, followed by the size n_i.
    """

    edges: tuple[tuple[int, ...], ...]

    @classmethod
    def create(cls, name: str, sizes: Sequence[int], counts: int | Sequence[int]) -> Blocks:
        """Cut each axis into blocks of nearly equal size; one number of blocks serves all axes.

        Along an axis of n points with b blocks, block j starts at point j n // b.

        Raises
        ------
        ValueError
            When the number of counts is not d, or an axis has fewer points than blocks.
        """
        sizes = tuple(sizes)
        several = isinstance(counts, Sequence) and not isinstance(counts, str)
        values: Any = counts if several else [counts] * len(sizes)
        given = [positive_int(name, count) for count in values]
        if len(given) != len(sizes):
            rule = f"`{name}` must be one number of blocks, or {len(sizes)} of them"
            raise ValueError(message(rule, counts, "Give one number of blocks per axis."))
        if any(count > n for count, n in zip(given, sizes)):
            rule = f"`{name}` must be at most {sizes}, the entries along each axis"
            raise ValueError(message(rule, tuple(given), f"Lower `{name}`."))
        return cls.equal(sizes, given)

    @classmethod
    def equal(cls, sizes: Sequence[int], counts: Sequence[int]) -> Blocks:
        """Cut each axis into blocks of nearly equal size; with more blocks than points some are
        empty.
        """
        return cls(tuple(tuple(j * n // b for j in range(b + 1)) for n, b in zip(sizes, counts)))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(edges[-1] for edges in self.edges)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Points of the largest block along each axis."""
        return tuple(max(b - a for a, b in itertools.pairwise(edges)) for edges in self.edges)

    @property
    def n_blocks(self) -> int:
        """Number of all blocks."""
        return math.prod(self.counts)

    @property
    def block_size(self) -> int:
        """Points of the largest block."""
        return math.prod(self.widths)

    @cached_property
    def is_regular(self) -> bool:
        """Whether all blocks have the same size."""
        return all(n == b * w for n, b, w in zip(self.sizes, self.counts, self.widths))

    @cached_property
    def index(self) -> Tensor:
        """Flat index (n_blocks, block_size) of every entry; the number of points for padding."""
        total = math.prod(self.sizes)
        flat, valid = torch.zeros((), dtype=torch.long), torch.ones((), dtype=torch.bool)
        for axis, (n, width) in enumerate(zip(self.sizes, self.widths)):
            edges = torch.tensor(self.edges[axis])
            points = edges[:-1, None] + torch.arange(width)  # (b, w)
            inside = points < edges[1:, None]
            # blocks so far x blocks here, points so far x points here
            flat = flat[..., :, None, :, None] if axis else flat.view(1, 1, 1, 1)
            valid = valid[..., :, None, :, None] if axis else valid.view(1, 1, 1, 1)
            flat = (flat * n + points[None, :, None, :]).flatten(2).flatten(0, 1)
            valid = (valid & inside[None, :, None, :]).flatten(2).flatten(0, 1)
        return torch.where(valid, flat, total)

    @cached_property
    def position(self) -> Tensor:
        """Where each point (prod n_i,) stands among the padded entries of all blocks."""
        index = self.index.flatten()
        order = torch.empty(math.prod(self.sizes), dtype=torch.long)
        real = (index < len(order)).nonzero().squeeze(-1)
        order[index[real]] = real
        return order

    def split(self, x: Tensor) -> Tensor:
        """Cut x (..., n_1, ..., n_d) into blocks (..., n_blocks, block_size)."""
        dims = len(self.sizes)
        lead = x.shape[: x.ndim - dims]
        if self.is_regular:
            pairs = [size for pair in zip(self.counts, self.widths) for size in pair]
            order = [len(lead) + 2 * axis + half for half in (0, 1) for axis in range(dims)]
            # (..., b_1, w_1, ..., b_d, w_d) -> (..., b_1 .. b_d, w_1 .. w_d)
            x = x.reshape(*lead, *pairs).permute(*range(len(lead)), *order)
            return x.reshape(*lead, self.n_blocks, self.block_size)
        flat = torch.nn.functional.pad(x.reshape(*lead, -1), (0, 1))  # the last entry is zero
        return flat[..., self.index.to(x.device)]

    def join(self, blocks: Tensor) -> Tensor:
        """Put blocks (..., n_blocks, block_size) together: (..., n_1, ..., n_d)."""
        dims = len(self.sizes)
        lead = blocks.shape[:-2]
        if self.is_regular:
            k = len(lead)
            order = [k + half * dims + axis for axis in range(dims) for half in (0, 1)]
            x = blocks.reshape(*lead, *self.counts, *self.widths).permute(*range(k), *order)
            return x.reshape(*lead, *self.sizes)
        flat = blocks.flatten(-2).index_select(-1, self.position.to(blocks.device))
        return flat.reshape(*lead, *self.sizes)


def multiply_contiguous(
    x: Tensor, left: Tensor, right: Tensor, columns: Blocks, rows: Blocks
) -> Tensor:
    r"""Multiply fields by the contiguous Monarch matrix of two factors.

    .. math:: y_{a κ} = \sum_{p, ρ} L_{a p κ ρ} \sum_{ξ} R_{p a ρ ξ}\, x_{p ξ}

    Parameters
    ----------
    x
        Fields (..., n_1, ..., n_d) or flattened fields (..., prod n_i).
    left
        Factor (F, P, q, r), one slice per block of rows a and patch p.
    right
        Factor (P, F, r, s).
    columns, rows
        The blocks of the d axes of x and of the e axes of the result.

    Returns
    -------
    (..., K_1, ..., K_e).

    Notes
    -----
    The cost is r (F n + P K) multiplications for each field, with n points and K modes in all. It
    consists of plain operations of torch, so gradients of any order, vmap and torch.compile work.
    """
    check_contiguous(left, right, columns, rows)
    dims = len(columns.sizes)
    if x.shape[-dims:] != columns.sizes and x.shape[-1:] == (math.prod(columns.sizes),):
        x = x.unflatten(-1, columns.sizes)
    if x.shape[-dims:] != columns.sizes:
        rule = f"`x` must have {columns.sizes} entries along its last axes"
        raise ValueError(message(rule, f"shape {tuple(x.shape)}", "Pad or crop `x`."))
    dtype = torch.promote_types(x.dtype, right.dtype)
    left, right = left.to(dtype), right.to(dtype)
    n_patches, n_blocks, rank, _ = right.shape
    lead = x.shape[:-dims]
    patches = columns.split(x.to(dtype)).reshape(-1, n_patches, columns.block_size)
    # (P, B, s) (P, s, F r) -> (P, B, F, r)
    inner = patches.transpose(0, 1) @ right.flatten(1, 2).mT
    inner = inner.unflatten(-1, (n_blocks, rank))
    # (F, B, P r) (F, P r, q) -> (F, B, q)
    inner = inner.permute(2, 1, 0, 3).flatten(2)
    outer = inner @ left.transpose(1, 2).flatten(2).mT
    y = outer.transpose(0, 1).reshape(*lead, *outer.shape[::2])
    return rows.join(y)


def dense_contiguous(left: Tensor, right: Tensor, columns: Blocks, rows: Blocks) -> Tensor:
    """Write the contiguous Monarch matrix of two factors out: (prod K_i, prod n_i)."""
    check_contiguous(left, right, columns, rows)
    slices = left @ right.transpose(0, 1)  # (F, P, q, s)
    slices = slices.transpose(1, 2).flatten(0, 1).flatten(1)  # (F q, P s)
    slices = slices.index_select(0, rows.position.to(left.device))
    return slices.index_select(1, columns.position.to(left.device))


def project_contiguous(
    dense: Tensor, columns: Blocks, rows: Blocks, rank: int = 1, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Find the nearest contiguous Monarch matrix, every slice by its truncated SVD.

    .. math:: \min \lVert (A - M)\, \mathrm{diag}(w) \rVert_F

    splits into one problem of rank r per patch and block, which the SVD solves (Eckart-Young), so
    the result is the global optimum.

    Parameters
    ----------
    dense
        Matrix A (..., prod K_i, prod n_i).
    columns, rows
        The blocks of its columns (the grid) and of its rows (the modes).
    rank
        Rank r of a slice.
    weights
        Positive weights w (prod n_i,) of the columns, such as the root of a power spectrum. By
        default all columns weigh the same.

    Returns
    -------
    The factors left (..., F, P, q, r) and right (..., P, F, r, s), balanced: both of a slice carry
    the root of its singular values.

    Raises
    ------
    ValueError
        When the sizes do not fit, the matrix holds NaN, infinity or integers, or the rank exceeds
        that of the largest slice.
    """
    check_matrix(dense)
    n_rows, n_columns = math.prod(rows.sizes), math.prod(columns.sizes)
    if dense.shape[-2:] != (n_rows, n_columns):
        rule = f"`dense` must be ({n_rows}, {n_columns}) to be cut that way"
        raise ValueError(message(rule, tuple(dense.shape), "Change the sizes of the blocks."))
    rank = positive_int("rank", rank)
    largest = min(rows.block_size, columns.block_size)
    if rank > largest:
        rule = f"`rank` must be at most {largest}, the smaller side of a slice"
        raise ValueError(message(rule, rank, "Lower `rank` or use fewer blocks."))
    weighted = dense
    if weights is not None:
        if weights.shape != (n_columns,):
            rule = f"`weights` must be {n_columns} numbers, one per column"
            raise ValueError(message(rule, tuple(weights.shape), "Give one weight per column."))
        good = (weights > 0) & weights.isfinite()
        if not bool(good.all()):
            rule, got = "every entry of `weights` must be positive", float(weights[~good][0])
            raise ValueError(message(rule, got, "Leave such columns out, or raise their weight."))
        weighted = dense * weights
    padded = torch.nn.functional.pad(weighted, (0, 1, 0, 1))
    i, j = rows.index.to(dense.device), columns.index.to(dense.device)
    slices = padded[..., i[:, None, :, None], j[None, :, None, :]]  # (..., F, P, q, s)
    u, sigma, vh = torch.linalg.svd(slices, full_matrices=False)
    root = sigma[..., :rank].sqrt()
    left = u[..., :rank] * root[..., None, :]
    right = (vh[..., :rank, :] * root[..., None]).transpose(-4, -3)  # (..., P, F, r, s)
    if weights is not None:
        inverse = torch.nn.functional.pad(1 / weights, (0, 1))[j]  # (P, s)
        right = right * inverse[:, None, None, :]
    return left, right


def cut(
    shape: Sequence[int], n_blocks: Any, sizes: tuple[Sequence[int], Sequence[int]] | None
) -> tuple[Blocks, Blocks]:
    """Return the blocks of columns and rows of a matrix from the arguments of `project`."""
    if sizes is None:
        sizes = (shape[-1:], shape[-2:-1])
    pair = n_blocks if isinstance(n_blocks, tuple | list) else (n_blocks, n_blocks)
    if len(pair) != 2:
        rule, remedy = "`n_blocks` must be one int or two", "Pass (blocks of columns, of rows)."
        raise ValueError(message(rule, n_blocks, remedy))
    k, l = pair  # noqa: E741
    return Blocks.create("n_blocks[0]", sizes[0], k), Blocks.create("n_blocks[1]", sizes[1], l)


def check_matrix(dense: Tensor) -> None:
    """Raise ValueError unless `dense` is a finite matrix of real or complex numbers, or several."""
    if dense.ndim < 2:
        rule = "`dense` must have at least two axes"
        raise ValueError(message(rule, f"shape {tuple(dense.shape)}", "Pass a matrix."))
    finite("dense", inexact("dense", dense), remedy="Look for damaged or diverged weights.")


def equal_blocks(left: Tensor, right: Tensor) -> tuple[Blocks, Blocks]:
    """Return the blocks of columns and rows along one axis each, equal and without padding."""
    if left.ndim != 4 or right.ndim != 4:
        rule = "the factors of a contiguous matrix must be (F, P, q, r) and (P, F, r, s)"
        got = f"{tuple(left.shape)} and {tuple(right.shape)}"
        raise ValueError(message(rule, got, "Change the factors, or layout to 'strided'."))
    (n_patches, size), (n_blocks, width) = right.shape[::3], left.shape[::2]
    columns = Blocks.equal((n_patches * size,), (n_patches,))
    return columns, Blocks.equal((n_blocks * width,), (n_blocks,))


def check_contiguous(left: Tensor, right: Tensor, columns: Blocks, rows: Blocks) -> None:
    """Raise ValueError unless the factors are (F, P, q, r) and (P, F, r, s) of these blocks."""
    rank = left.shape[-1] if left.ndim else 0
    n_patches, n_blocks = columns.n_blocks, rows.n_blocks
    expected = (
        (n_blocks, n_patches, rows.block_size, rank),
        (n_patches, n_blocks, rank, columns.block_size),
    )
    if (tuple(left.shape), tuple(right.shape)) != expected:
        rule = f"the factors must have shapes {expected[0]} and {expected[1]}"
        got = f"{tuple(left.shape)} and {tuple(right.shape)}"
        raise ValueError(message(rule, got, "Change the factors or the blocks."))
