"""The acceleration and the calibration region of a sampling mask."""

from __future__ import annotations

import torch

from monarch_sciml._checks import message


def achieved_acceleration(mask: torch.Tensor) -> float:
    """Return the number of k-space points over the number sampled.

    Parameters
    ----------
    mask
        (..., H, W), non-zero where k-space is sampled.

    Returns
    -------
    At least 1, dimensionless. It counts everything sampled, the calibration lines included, and is
    therefore not the nominal acceleration a mask was asked for.

    Raises
    ------
    ValueError
        When nothing is sampled.
    """
    sampled = int(torch.count_nonzero(mask))
    if sampled == 0:
        rule = "`mask` must sample at least one point"
        raise ValueError(message(rule, f"none of {mask.numel()}", "Check the mask."))
    return mask.numel() / sampled


def calibration_size(mask: torch.Tensor) -> tuple[int, int]:
    """Return the size of the largest fully sampled block around the centre of k-space.

    A block (h, w) covers h rows from H // 2 - h // 2 on and w columns from W // 2 - w // 2 on, so
    that its centre is that of k-space.

    Parameters
    ----------
    mask
        (H, W), non-zero where k-space is sampled.

    Returns
    -------
    (h, w) in samples, the block of the largest area; (0, 0) when the centre is not sampled.

    Examples
    --------
    >>> from monarch_sciml.physics import UniformMask
    >>> calibration_size(UniformMask(3, 24)((230, 180)))
    (230, 25)
    """
    if mask.dim() != 2:
        rule = "`mask` must have the two axes (H, W)"
        raise ValueError(message(rule, tuple(mask.shape), "Pass one mask at a time."))
    height, width = mask.shape
    # integral image: total[i, j] counts the samples of the first i rows and j columns
    total = torch.zeros(height + 1, width + 1, dtype=torch.int64)
    total[1:, 1:] = (mask != 0).cpu().long().cumsum(0).cumsum(1)
    h, w = torch.arange(1, height + 1), torch.arange(1, width + 1)
    top, left = height // 2 - h // 2, width // 2 - w // 2
    bottom, right = top + h, left + w
    count = total[bottom][:, right] - total[top][:, right]
    count = count - total[bottom][:, left] + total[top][:, left]
    area = h[:, None] * w
    area = torch.where(count == area, area, 0)
    if not area.any():
        return 0, 0
    row, column = divmod(int(area.argmax()), width)
    return row + 1, column + 1
