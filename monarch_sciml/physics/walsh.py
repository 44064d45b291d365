"""Coil maps by adaptive combination, as the local principal component of the coil images.

Letters: B leading (batch) axes, any number; C coils; H, W rows and columns; R rows of one chunk.
"""

from __future__ import annotations

import torch

from monarch_sciml._checks import message, positive_int
from monarch_sciml.physics.calibration import (
    Region,
    calibration_block,
    chunks_of_rows,
    hann,
    leading_vectors,
)
from monarch_sciml.physics.coil_compression import coil_components
from monarch_sciml.physics.images import ifft2c


def walsh(
    kspace: torch.Tensor,
    *,
    calibration: int | None = 24,
    window: int = 5,
    threshold: float = 0.0,
) -> torch.Tensor:
    r"""Estimate coil maps as the dominant eigenvector of the local coil covariance.

    .. math:: R(q) = \sum_{p \in \text{window}(q)} x(p) x(p)^H, \qquad
              R(q) s(q) = \lambda_{\max}(q) s(q)

    where x are the coil images of the calibration region alone, tapered by a Hann window against
    ringing, or of all of k-space.

    Parameters
    ----------
    kspace
        (..., C, H, W), complex centred k-space, any unit; zero where it was not sampled.
    calibration
        Largest side, in samples, of the calibration block at the centre or peak of k-space. The
        block is smaller if fewer lines are fully sampled. None takes all of k-space, for fully
        sampled scans.
    window
        Side of the square over which the covariance is summed, in pixels; odd.
    threshold
        Maps are zero where the root of the largest eigenvalue is not above `threshold` times its
        largest value in the slice; 0 keeps them all.

    Returns
    -------
    (..., C, H, W), complex maps of unit norm over the coils, or zero.

    Raises
    ------
    ValueError
        When k-space is zero or not finite, its centre is not sampled, `window` is even, or
        `threshold` is not in [0, 1).

    Notes
    -----
    The phase reference is that of `espirit`. Unlike ESPIRiT, the method gives only one set of maps
    and no eigenvalue that shows where there is no signal, but it is faster and needs few
    calibration lines. The cost is O(HW C^3), in chunks of rows.

    References
    ----------
    Walsh, Gmitro, Marcellin, "Adaptive reconstruction of phased array MR imagery", MRM 43 (2000),
    with white noise (R_n the identity).

    Examples
    --------
    >>> maps = torch.tensor([0.6, 0.8j])[:, None, None].expand(2, 16, 16)
    >>> from monarch_sciml.physics import fft2c
    >>> found = walsh(fft2c(maps * torch.rand(16, 16)))
    >>> torch.allclose((maps.conj() * found).sum(0).abs(), torch.ones(16, 16))
    True
    """
    if positive_int("window", window) % 2 == 0:
        raise ValueError(message("`window` must be odd", window, "Add one."))
    if not 0 <= threshold < 1:
        rule = "`threshold` must be at least 0 and below 1"
        raise ValueError(message(rule, threshold, "Use 0.05, or 0 for none."))
    if kspace.dim() < 3 or not kspace.is_complex():
        got = f"{kspace.dtype} {tuple(kspace.shape)}"
        remedy = "Check the order of the axes."
        raise ValueError(message("`kspace` must be complex (..., C, H, W)", got, remedy))
    slices = kspace.detach().reshape(-1, *kspace.shape[-3:])  # (B, C, H, W)
    # all of k-space holds its calibration region, which is needed for the phase in any case
    block, region = calibration_block(slices, calibration or 24, 1)
    images = _images_of(slices, None if calibration is None else block, region)
    reference = coil_components(block.flatten(2), 1)[:, 0].conj().to(images.dtype)
    maps, strength = _local_components(images, reference, window)
    peak = strength.flatten(1).amax(dim=1)[:, None, None]
    return (maps * (strength > threshold * peak).unsqueeze(1)).reshape(kspace.shape)


def _images_of(slices: torch.Tensor, block: torch.Tensor | None, region: Region) -> torch.Tensor:
    """Return the coil images (B, C, H, W) of all of k-space or of the tapered calibration block."""
    if block is None:
        return ifft2c(slices)
    size = (block.shape[-2], block.shape[-1])
    low = torch.zeros_like(slices)
    low[(..., *region)] = (block * hann(size, block)).to(low.dtype)
    return ifft2c(low)


def _local_components(
    images: torch.Tensor, reference: torch.Tensor, window: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps (B, C, H, W) and root eigenvalues (B, H, W), a chunk of rows at a time."""
    n_slices, n_coils, height, width = images.shape
    margin = window // 2
    # zeros beyond the edge add nothing to the sum
    padded = torch.nn.functional.pad(images, (margin, margin, margin, margin))
    maps, strength = torch.empty_like(images), images.real.new_empty(n_slices, height, width)
    for rows in chunks_of_rows(height, n_slices * width * n_coils**2):
        part = padded[:, :, rows.start : rows.stop + 2 * margin]  # (B, C, R + 2 margin, W + ...)
        # (B, C, r, w) -> (B, C, D, r, w), summed over the window by two running sums
        outer = part[:, :, None] * part[:, None].conj()
        outer = _running_sum(_running_sum(outer, window, -2), window, -1)
        values, vectors = leading_vectors(outer.movedim((1, 2), (3, 4)), reference, 1)
        maps[:, :, rows] = vectors[..., 0].movedim(-1, 1)  # (B, R, W, C) -> (B, C, R, W)
        strength[:, rows] = values[..., 0].clamp_min(0).sqrt()
    return maps, strength


def _running_sum(x: torch.Tensor, window: int, dim: int) -> torch.Tensor:
    """Return the sums over `window` neighbours along `dim`, which becomes window - 1 shorter."""
    n = x.shape[dim] - window + 1
    total = x.narrow(dim, 0, n).clone()
    for start in range(1, window):
        total += x.narrow(dim, start, n)
    return total
