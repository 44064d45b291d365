"""How a corrected transform cuts grid and modes into blocks.

Letters: d axes, n_i grid sizes, K_i modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from monarch_sciml.monarch.contiguous import Blocks

_OSCILLATIONS = (
    0.625  # largest difference of the modes of a block from its middle one, within a patch
)


def cut(
    sizes: Sequence[int],
    n_modes: Sequence[int],
    grid_blocks: int | Sequence[int] | None = None,
    mode_blocks: int | Sequence[int] | None = None,
) -> tuple[Blocks, Blocks]:
    """Return the patches of a grid and the blocks of its modes.

    Parameters
    ----------
    sizes, n_modes
        The sizes n_i, and the modes K_i along each axis, or those of the whole grid (K,).
    grid_blocks, mode_blocks
        Their numbers, one for all axes or one per axis. None is for the defaults.

    Raises
    ------
    ValueError
        When the blocks do not fit the sizes.
    """
    default = [default_grid_blocks(n) for n in sizes]
    patches = Blocks.create("grid_blocks", sizes, default if grid_blocks is None else grid_blocks)
    along = [patches.counts] if len(n_modes) < len(sizes) else [(p,) for p in patches.counts]
    default = [default_mode_blocks(k, p) for k, p in zip(n_modes, along)]
    counts = default if mode_blocks is None else mode_blocks
    return patches, Blocks.create("mode_blocks", n_modes, counts)


def default_grid_blocks(n: int) -> int:
    """Return the number of patches of n points: about 8 up to 255, then twice that for each factor
    4.

    A divisor of n is taken if one is near, because equal patches are faster.
    """
    wanted, size = (8, n) if n >= 32 else (max(1, n // 4), n)
    while size >= 256:
        wanted, size = 2 * wanted, size // 4
    near = [b for b in range(1, n + 1) if n % b == 0 and wanted / 1.5 < b < wanted * 1.5]
    return min(near, key=lambda b: abs(b - wanted), default=wanted)


def default_mode_blocks(n_modes: int, n_patches: Sequence[int]) -> int:
    """Return the number of blocks, of two modes or more, that keep the rank of a slice low.

    The patches are those along the axis of the modes, or along every axis for modes of the whole
    grid.
    """
    together = math.prod(_OSCILLATIONS * count for count in n_patches)
    return max(1, min(n_modes // 2, math.ceil(n_modes / together)))
