"""An object of known geometry: a body that fills most of the field of view, full of small cells."""

# Letters: s slices, H, W matrix of the scan, I, J = 2 H, 2 W matrix of the object.

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monarch_sciml.data.phantom.smooth import OVERSAMPLING

BODY = 0.46
"""Half axes of the body in shares of the field of view: larger than a head."""
_INSERTS = 20


def ellipse_image(
    n_slices: int, grid_shape: Sequence[int], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulate the magnitude of a phantom, a calibration object whose geometry is known.

    Each slice is a bright ellipse with smaller ones, of half axes of 3 to 15 % of the field of
    view, that raise or lower the signal. It is divided into cells of a pixel's size, of which half,
    at random, have a quarter of the signal. The cells have signal at all spatial frequencies alike,
    so that few slices say much about the encoding of a scanner, at the edge of k-space too.

    Parameters
    ----------
    n_slices
        Number of slices, all different.
    grid_shape
        (H, W) of the scan.
    rng
        Source of the geometry.

    Returns
    -------
    (s, I, J), magnitude 0 to 1, and (s, I, J) bool, the body.
    """
    y, x = (  # shares of the field of view, its centre at fine pixel N of 2 N
        torch.arange(OVERSAMPLING * n, dtype=torch.float32) / (OVERSAMPLING * n) - 0.5
        for n in grid_shape
    )
    y = y[:, None]
    body = (y / BODY).square() + (x / BODY).square() <= 1  # (I, J)
    images = []
    for _ in range(n_slices):
        image = 0.5 * body
        for _ in range(_INSERTS):
            radius, around = BODY * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
            y0, x0 = radius * np.sin(around), radius * np.cos(around)
            a, b = np.exp(rng.uniform(np.log(0.03), np.log(0.15), 2))
            turn, change = rng.uniform(0, np.pi), rng.choice([-1, 1]) * rng.uniform(0.1, 0.4)
            along = (y - y0) * np.cos(turn) + (x - x0) * np.sin(turn)
            across = (x - x0) * np.cos(turn) - (y - y0) * np.sin(turn)
            image = image + change * ((along / a).square() + (across / b).square() <= 1)
        cells = torch.from_numpy(rng.choice([0.25, 1.0], tuple(grid_shape)).astype(np.float32))
        for axis in (0, 1):
            cells = cells.repeat_interleave(OVERSAMPLING, axis)  # (H, W) -> (I, J)
        images.append((image * body * cells).clamp(0, 1))
    return torch.stack(images), body.expand(n_slices, *body.shape)
