"""A montage of all slices as PNG."""

# Legend: s slices, h rows, w columns; R x C tiles.

from __future__ import annotations

from pathlib import Path

import torch

from monarch_sciml._files import whole_file
from monarch_sciml.data.images.nifti import magnitude_volume
from monarch_sciml.physics.images import montage

BRIGHTEST = 0.995
"""Quantile of the magnitude that is shown white."""


def write_png(
    path: str | Path,
    image: torch.Tensor,
    *,
    n_columns: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the magnitude of a volume as one PNG: its slices side by side, row by row.

    Parameters
    ----------
    path
        The .png file.
    image
        (s, h, w) or (h, w), real or complex. One pixel of the image is one of the file; 0 is black,
        the quantile 0.995 of the volume white.
    n_columns
        Tiles in a row; by default ceil(sqrt(s)).
    overwrite
        Replace an existing file.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When the image is no volume or not finite.
    """
    from matplotlib.image import imsave

    volume = magnitude_volume(image)
    tiles, values = montage(volume, n_columns), volume.flatten()
    # kthvalue, for torch.quantile refuses more than 2^24 values
    white = float(values.kthvalue(max(1, round(BRIGHTEST * values.numel()))).values)
    white = white or float(values.max()) or 1.0
    with whole_file(path, overwrite=overwrite) as part:
        imsave(part, tiles.numpy(), cmap="gray", vmin=0.0, vmax=white, format="png")
