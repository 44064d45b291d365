"""Shift and scale fields to zero mean and unit variance.

Letters: N samples, T times, F fields, then the grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml._checks import message


@dataclass(frozen=True)
class UnitGaussian:
    """Encode a field as (x − mean) / (std + eps), with one mean and one std for each field.

    Mean and std are taken over samples, times and grid points and therefore serve every resolution,
    unlike those of the FNO authors' normaliser, which has one of each per grid point.

    Parameters
    ----------
    mean, std
        Statistics (F, 1, ..., 1) in the unit of the fields, with an axis of length 1 for each grid
        axis.
    eps
        Small number that keeps encoded constant fields finite.

    Examples
    --------
    >>> x = 3 + 2 * torch.randn(50, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> statistics = UnitGaussian.fit([x])
    >>> bool(torch.allclose(statistics.decode(statistics.encode(x)), x, atol=1e-5))
    True
    """

    mean: Tensor
    std: Tensor
    eps: float = 1e-5

    @classmethod
    def fit(cls, blocks: Iterable[Tensor], *, eps: float = 1e-5) -> UnitGaussian:
        """Compute the statistics of blocks of samples, read one after the other.

        Parameters
        ----------
        blocks
            Real fields (N, T, F, *grid) of one F and grid.
        eps
            Number added to the standard deviation, in the unit of the field.

        Raises
        ------
        ValueError
            When there is no block.

        Notes
        -----
        The statistics are accumulated in float64 and merged block by block (Chan et al., 1983). The
        variance has the divisor n.
        """
        n, mean, spread, block = 0, torch.zeros(()), torch.zeros(()), None
        for block in blocks:
            values = block.movedim(2, 0).flatten(1).double()  # (F, N * T * points)
            count = values.shape[1]
            shift = values.mean(dim=1) - mean
            total = n + count
            squares = values.var(dim=1, correction=0) * count
            spread = spread + squares + shift.square() * (n * count / total)
            mean = mean + shift * (count / total)
            n = total
        if block is None:
            raise ValueError(message("statistics need samples", "none", "Pass training samples."))
        shape = (-1, *[1] * (block.ndim - 3))  # (F,) -> (F, 1, .., 1)
        std = (spread / n).sqrt()
        return cls(mean.to(block.dtype).view(shape), std.to(block.dtype).view(shape), eps)

    def encode(self, x: Tensor) -> Tensor:
        """Return (x − mean) / (std + eps) for x (..., F, *grid)."""
        return (x - self.mean.to(x)) / (self.std.to(x) + self.eps)

    def decode(self, x: Tensor) -> Tensor:
        """Return x (std + eps) + mean for x (..., F, *grid)."""
        return x * (self.std.to(x) + self.eps) + self.mean.to(x)
