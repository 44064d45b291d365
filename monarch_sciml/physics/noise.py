"""The noise level of k-space.

Letters: s slices, C coils, H, W rows and columns.
"""

from __future__ import annotations

import math

import torch

from monarch_sciml.physics.images import ifft2c, rss

_CORNER = 8
"""Corners of k-space that hold noise and little else: an eighth of either axis."""
_BRIGHT = 0.95


def noise_level(kspace: torch.Tensor) -> float | None:
    r"""Return the noise of a coil relative to the brightness of the image; None if it is not known.

    .. math:: \sigma / q_{0.95}\left(\sqrt{\sum_c |F^{-1} y_c|^2}\right), \qquad
              \sigma^2 = \mathrm{median}\, |y|^2 / \ln 2

    where the median is over the non-zero samples in the corners of k-space.

    Parameters
    ----------
    kspace
        Complex k-space (s, C, H, W) in any unit, undersampled or not. Only the middle slice is
        used.

    Returns
    -------
    Standard deviation of the complex noise over the 95th percentile of the zero-filled image; None
    where no corner was sampled.
    """
    middle = kspace[len(kspace) // 2]
    height, width = (max(1, n // _CORNER) for n in middle.shape[-2:])
    rows = (slice(0, height), slice(-height, None))
    columns = (slice(0, width), slice(-width, None))
    corners = torch.cat([middle[:, r, c].flatten() for r in rows for c in columns])
    power = corners[corners != 0].abs().square()
    image = rss(ifft2c(middle)).flatten()
    bright = float(image.kthvalue(max(1, round(_BRIGHT * image.numel()))).values)
    if len(power) < len(middle) or not bright > 0:
        return None
    return math.sqrt(float(power.median()) / math.log(2)) / bright
