"""Initial rows of the slices of a corrected transform, made from those of the fixed transform.

Letters: d axes, n_i grid sizes, K_i modes, P patches of at most s points,
F blocks of modes, r rank.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml.monarch.contiguous import Blocks

_NEGLIGIBLE = 1e-8  # a row whose remainder is below this depends on the rows before it


def initial_rows(rows: Sequence[Tensor], patches: Blocks, modes: Blocks, rank: int) -> Tensor:
    """Return (P, F, r, s): in each patch orthogonal combinations of r rows of each block.

    Parameters
    ----------
    rows
        Rows (K_i, n_i) of the fixed transform of every axis, or rows (K, N) of one transform of the
        whole grid, float64 or complex128.
    patches, modes
        The blocks of the grid and of the modes.
    rank
        Number of rows per slice. The first is that of the middle mode of the block, the others
        those of modes far from it.

    Returns
    -------
    Rows with mean square 1 over the points of their patch, zero in the padding.
    """
    inside = patches.index < math.prod(patches.sizes)  # (P, s)
    found = []
    for chosen in _spread_modes(modes, rank):
        field = rows[0].new_zeros(rank, *patches.sizes)
        for ρ, mode in enumerate(chosen):
            row = torch.ones((), dtype=field.dtype)
            for axis, k in enumerate(mode):
                row = row[..., None] * rows[axis][k].to(field.dtype)
            field[ρ] = row.view(patches.sizes)  # a row of the whole grid is flat
        found.append(_orthonormal(patches.split(field).transpose(0, 1), inside))
    return torch.stack(found, dim=1)


def _spread_modes(modes: Blocks, rank: int) -> list[list[tuple[int, ...]]]:
    """Return up to r modes of every block: the middle one, then repeatedly the one farthest from
    all chosen before.

    Distances count in units of the extent of the block along each axis.
    """
    blocks = []
    for block in itertools.product(*(range(count) for count in modes.counts)):
        spans = [(edge[j], edge[j + 1]) for edge, j in zip(modes.edges, block)]
        members = torch.tensor(list(itertools.product(*(range(*span) for span in spans))))
        extent = torch.tensor([max(stop - start - 1, 1) for start, stop in spans])
        place = members.double() / extent
        middle = torch.tensor([(start + stop) // 2 for start, stop in spans])
        chosen = [int((members == middle).all(1).nonzero()[0])]
        while len(chosen) < min(rank, len(members)):
            distance = (place[:, None] - place[chosen]).square().sum(-1).amin(1)
            chosen.append(int(distance.argmax()))
        blocks.append([tuple(members[i].tolist()) for i in chosen])
    return blocks


def _orthonormal(rows: Tensor, inside: Tensor) -> Tensor:
    """Make rows (P, r, s) orthogonal with mean square 1 over the points inside of each patch.

    A row that depends on those before it gives way to a unit vector; patches of fewer than r points
    get zeros for the rest.
    """
    length = _length(rows)
    rows = rows / torch.where(length > 0, length, 1)
    done: list[Tensor] = []
    for ρ in range(rows.shape[1]):
        unit = torch.zeros_like(rows[:, ρ])
        unit[:, ρ % unit.shape[1]] = 1
        row, spare = (_without(done, v * inside) for v in (rows[:, ρ], unit))
        row = torch.where(_length(row) > _NEGLIGIBLE, row, spare)
        length = _length(row)
        done.append(torch.where(length > _NEGLIGIBLE, row / length.clamp_min(_NEGLIGIBLE), 0 * row))
    points = inside.sum(-1).double().sqrt()  # (P,)
    return torch.stack(done, dim=1) * points[:, None, None]


def _length(rows: Tensor) -> Tensor:
    return rows.abs().square().sum(-1, keepdim=True).sqrt()


def _without(done: Sequence[Tensor], row: Tensor) -> Tensor:
    """Subtract from rows (P, s) their parts along orthonormal ones, twice for full precision."""
    for _ in range(2):
        for other in done:
            row = row - (other.conj() * row).sum(-1, keepdim=True) * other
    return row
