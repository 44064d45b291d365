"""The structural similarity of images.

Letters: B slices; H, W image.
"""

from __future__ import annotations

import torch

from monarch_sciml._checks import message

_WINDOW = 7
_K1, _K2 = 0.01, 0.03


def structural_similarity(
    prediction: torch.Tensor, target: torch.Tensor, data_range: torch.Tensor
) -> torch.Tensor:
    """Return the SSIM of every slice: (B, H, W), (B, H, W), (B,) -> (B,)."""
    if min(target.shape[-2:]) < _WINDOW:
        rule = f"images must be at least {_WINDOW} x {_WINDOW} pixels for the SSIM window"
        raise ValueError(message(rule, tuple(target.shape[-2:]), "Use NMSE or PSNR."))
    maps = torch.stack(
        [prediction, target, prediction**2, target**2, prediction * target]
    )  # (5, B, H, W)
    # the window is separable; only places where it fits are kept
    maps = torch.nn.functional.avg_pool2d(maps, (_WINDOW, 1), stride=1)
    maps = torch.nn.functional.avg_pool2d(maps, (1, _WINDOW), stride=1)
    mean_p, mean_t, square_p, square_t, product = maps.unbind(0)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    variance_p = sample * (square_p - mean_p**2)
    variance_t = sample * (square_t - mean_t**2)
    covariance = sample * (product - mean_p * mean_t)
    c1, c2 = ((k * data_range[:, None, None]) ** 2 for k in (_K1, _K2))  # (B, 1, 1)
    numerator = (2 * mean_p * mean_t + c1) * (2 * covariance + c2)
    denominator = (mean_p**2 + mean_t**2 + c1) * (variance_p + variance_t + c2)
    return (numerator / denominator).mean(dim=(1, 2))
