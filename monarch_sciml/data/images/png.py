"""A montage of all slices as PNG."""

# Letters: s slices, h rows, w columns; R x C tiles.

from __future__ import annotations

from pathlib import Path

import torch

from monarch_sciml._files import whole_file
from monarch_sciml.data.images.nifti import magnitude_volume
from monarch_sciml.physics.images import montage

BRIGHTEST = 0.995
"""Quantile of the magnitude that is shown white."""
MOST_STRETCHED = 16.0
"""Ratio of the sides of a pixel above which proportions are not corrected: sizes must be wrong."""


def write_png(
    path: str | Path,
    image: torch.Tensor,
    *,
    pixel_size: tuple[float, float] = (1.0, 1.0),
    n_columns: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the magnitude of a volume as one PNG: its slices side by side, row by row.

    Parameters
    ----------
    path
        The .png file.
    image
        (s, h, w) or (h, w), real or complex; 0 is black, the quantile 0.995 of the volume white.
    pixel_size
        Height and width of a pixel of the image in any unit. If they are equal, one pixel of the
        image is one of the file; otherwise the longer side is interpolated, so that the file shows
        true proportions.
    n_columns
        Number of tiles in a row, by default ceil(sqrt(s)).
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When the image is no volume or not finite.
    """
    from matplotlib.image import imsave

    volume = square_pixels(magnitude_volume(image), pixel_size)
    tiles, values = montage(volume, n_columns), volume.flatten()
    # kthvalue, because torch.quantile accepts at most 2^24 values
    white = float(values.kthvalue(max(1, round(BRIGHTEST * values.numel()))).values)
    white = white or float(values.max()) or 1.0
    with whole_file(path, overwrite=overwrite) as part:
        imsave(part, tiles.numpy(), cmap="gray", vmin=0.0, vmax=white, format="png")


def square_pixels(volume: torch.Tensor, pixel_size: tuple[float, float]) -> torch.Tensor:
    """Interpolate slices (s, h, w) linearly along the longer side of their pixels.

    Sides that differ by less than half a pixel over the whole image count as equal.

    Examples
    --------
    >>> square_pixels(torch.ones(1, 4, 6), (2.0, 1.0)).shape
    torch.Size([1, 8, 6])
    """
    height, width = volume.shape[-2:]
    finer, longer = min(pixel_size), max(pixel_size)
    if not 0 < finer <= longer <= MOST_STRETCHED * finer:
        return volume
    size = [round(n * side / finer) for n, side in zip((height, width), pixel_size)]
    if size == [height, width]:
        return volume
    return torch.nn.functional.interpolate(volume[:, None].float(), size, mode="bilinear")[:, 0]
