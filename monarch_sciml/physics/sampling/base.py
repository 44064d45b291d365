"""The base class of all sampling masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message

IndexRange = tuple[int, int]
"""First and one past the last row or column of k-space that a scan encodes."""


def volume_seed(filename: str) -> tuple[int, ...]:
    """Return the seed of a fastMRI volume: the code points of its file name.

    Examples
    --------
    >>> volume_seed("a.h5")
    (97, 46, 104, 53)
    """
    return tuple(map(ord, filename))


class SamplingMask(ABC):
    """Draw a sampling mask for k-space of any size.

    Subclasses hold the settings and draw in `draw`; the same settings, shape and seed always give
    the same mask. `achieved_acceleration(mask)` returns the acceleration of a mask.
    """

    def __call__(
        self,
        shape: Sequence[int],
        seed: int | Sequence[int] = 0,
        *,
        encoded: tuple[IndexRange, IndexRange] | None = None,
    ) -> torch.Tensor:
        """Return the mask for k-space of `shape`.

        Parameters
        ----------
        shape
            Shape (..., H, W), of which only the last two sizes matter.
        seed
            One or several whole numbers. For fastMRI files it is `volume_seed(filename)`.
        encoded
            Rows and columns that the scan encodes, outside of which its k-space was zero-padded;
            all by default. Only masks with a `draw_within` of their own use it.

        Returns
        -------
        (H, W), float32, 1 where k-space is sampled and 0 elsewhere.

        Raises
        ------
        ValueError
            When the settings cannot be met on a grid of this size.
        """
        if len(shape) < 2 or min(shape[-2:]) < 1:
            rule = "`shape` must end in a positive number of rows and columns"
            raise ValueError(message(rule, tuple(shape), "Pass the shape of the k-space."))
        height, width = int(shape[-2]), int(shape[-1])
        if encoded is None:
            drawn = self.draw(height, width, seed)
        else:
            drawn = self.draw_within(height, width, seed, *encoded)
        # (W,) or (H, W) -> (H, W)
        return torch.from_numpy(np.broadcast_to(drawn, (height, width)).astype(np.float32))

    def of_volume(self, path: str | Path) -> SamplingMask:
        """Return the mask of one file of scans; the same for all files unless a file has its own.

        Parameters
        ----------
        path
            File from which k-space is read.
        """
        del path
        return self

    def for_volume(
        self,
        path: str | Path,
        shape: Sequence[int],
        seed: int = 0,
        *,
        encoded: tuple[IndexRange, IndexRange] | None = None,
    ) -> torch.Tensor:
        """Return the mask of one file of scans, whose seed is fastMRI's (`volume_seed`).

        Parameters
        ----------
        path
            File from which k-space is read.
        shape
            Shape (..., H, W), of which only the last two sizes matter.
        seed
            Precedes fastMRI's seed if it is not 0.
        encoded
            Rows and columns that the scan encodes, as in a call.

        Returns
        -------
        (H, W), float32, 1 where k-space is sampled and 0 elsewhere.
        """
        seeds = (*([seed] if seed else []), *volume_seed(Path(path).name))
        return self.of_volume(path)(shape, seeds, encoded=encoded)

    @abstractmethod
    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask as bool of shape (H, W), or (W,) for whole columns."""

    def draw_within(
        self,
        height: int,
        width: int,
        seed: int | Sequence[int],
        rows: IndexRange,
        columns: IndexRange,
    ) -> np.ndarray:
        """Return the mask as `draw` does, for a scan that encodes these rows and columns only.

        By default the window has no effect: fastMRI draws its lines across the padding too, and
        lines that a scan did not acquire are left out later.
        """
        del rows, columns
        return self.draw(height, width, seed)
