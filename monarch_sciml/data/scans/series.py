"""Select one volume of a series, and centre k-space that begins with its origin."""

# Letters: t repetitions, e contrasts, s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message


def picked(
    array: np.ndarray, path: Path, *, contrast: int | None, repetition: int | str | None
) -> np.ndarray:
    """Return one volume (s, c, H, W) of a series (t, e, s, c, H, W), the first by default.

    Raises
    ------
    ValueError
        When there is no such contrast or repetition.
    """
    for name, value, n in zip(("repetition", "contrast"), (repetition, contrast), array.shape):
        if isinstance(value, int) and not 0 <= value < n:
            rule = f"`{name}` of {path} must be at least 0 and below {n}"
            raise ValueError(message(rule, value, f"Pass {name} 0, say."))
    of_contrast = array[:, contrast or 0]
    if repetition == "average":
        return of_contrast.mean(axis=0)
    return of_contrast[int(repetition or 0)]


def from_corner(kspace: torch.Tensor) -> torch.Tensor:
    """Return centred k-space of k-space (..., H, W) whose zero frequency comes first.

    The image equals that of numpy.fft.ifft2 without a shift, because a phase ramp over k-space
    takes the place of the shift.
    """
    height, width = kspace.shape[-2:]
    return torch.fft.fftshift(kspace * corner_ramp(height, width), dim=(-2, -1))


def corner_ramp(height: int, width: int) -> torch.Tensor:
    """Return exp(2 pi i (h H_0 / H + w W_0 / W)), (H, W) complex64, H_0 = H // 2, W_0 = W // 2."""
    turns = [
        # integer arithmetic keeps the angle exact: n n_0 mod N lies in [0, N)
        (torch.arange(n) * (n // 2) % n).double() / n
        for n in (height, width)
    ]
    angle = 2 * math.pi * (turns[0][:, None] + turns[1])
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
