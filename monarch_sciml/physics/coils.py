"""Coil sensitivity maps from the calibration region of k-space (ESPIRiT).

Shapes: B leading (batch) axes; C coils; H, W rows and columns; k kernel side; K = C k^2;
M map sets; R rows of one chunk.
"""

from __future__ import annotations

import math
from typing import Literal, overload

import torch

from monarch_sciml._checks import finite, message, positive_int
from monarch_sciml.physics.sampling import calibration_size

_CHUNK_ELEMENTS = 2**23  # of the per-pixel C x C matrices held at once: 64 MiB in complex64


@overload
def espirit(
    kspace: torch.Tensor,
    *,
    calibration: int = ...,
    kernel: int = ...,
    threshold: float = ...,
    crop: float = ...,
    n_maps: int = ...,
    return_eigenvalues: Literal[False] = ...,
) -> torch.Tensor: ...


@overload
def espirit(
    kspace: torch.Tensor,
    *,
    calibration: int = ...,
    kernel: int = ...,
    threshold: float = ...,
    crop: float = ...,
    n_maps: int = ...,
    return_eigenvalues: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


def espirit(
    kspace: torch.Tensor,
    *,
    calibration: int = 24,
    kernel: int = 6,
    threshold: float = 0.0316,
    crop: float = 0.8,
    n_maps: int = 1,
    return_eigenvalues: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    r"""Estimate coil maps from the fully sampled centre of k-space with ESPIRiT.

    The rows of the calibration matrix A are all kernel x kernel patches of the calibration block.
    Its row space V is a convolution operator; at each pixel q that is the C x C matrix

    .. math:: G_{cd}(q) = \frac{1}{k^2} \sum_{u,v} \overline{(V V^H)}_{cu,dv} \,
              e^{2\pi i \, q \cdot (u - v)}

    whose eigenvectors of eigenvalue near one are the maps.

    Parameters
    ----------
    kspace
        (..., C, H, W), complex centred k-space, any unit; zero where it was not sampled. Slices
        along the leading axes are calibrated independently.
    calibration
        Largest side of the central block that is used, in samples; where less of it is fully
        sampled, what there is.
    kernel
        Side k of the patches, in samples.
    threshold
        Singular values of A below `threshold` times the largest are left out of V. BART states the
        square of it, 0.001 by default, which is ours; sigpy takes 0.02 (and `crop` 0.95).
    crop
        Maps are zero where the eigenvalue is not above `crop` (0.8 as in BART).
    n_maps
        Number of map sets (eigenvectors) returned.
    return_eigenvalues
        Return the eigenvalues as well.

    Returns
    -------
    torch.Tensor
        (..., C, H, W) for one set, otherwise (..., M, C, H, W); complex maps of unit norm over the
        coils, or zero. With `return_eigenvalues` also (..., H, W) or (..., M, H, W), between 0
        and 1.

    Raises
    ------
    ValueError
        When the fully sampled centre has fewer than `kernel` lines in a direction, when k-space is
        zero or not finite, or when no pixel passes `crop`.

    Notes
    -----
    Phase: at each pixel, sum_c conj(p_c) s_c is real and positive, with p the first principal
    component of the calibration data, its largest entry real and positive. It is BART's choice, and
    smooth where a reference coil would be blind.
    G is evaluated from its (2k - 1)^2 lags, C^2 small matrix products instead of an FFT a kernel;
    cost O(HW C^3), half a second for 8 coils of 230 x 180 on one core. The row space is found in
    double precision whatever the precision of the data.

    References
    ----------
    Uecker et al., "ESPIRiT - an eigenvalue approach to autocalibrating parallel MRI", MRM 71
    (2014), eq. 8-12.
    """
    positive_int("kernel", kernel)
    positive_int("calibration", calibration, minimum=kernel)
    if kspace.dim() < 3 or not kspace.is_complex():
        got = f"{kspace.dtype} {tuple(kspace.shape)}"
        raise ValueError(
            message("`kspace` must be complex (..., C, H, W)", got, "Check the order of the axes.")
        )
    n_coils, height, width = kspace.shape[-3:]
    if not 1 <= positive_int("n_maps", n_maps) <= n_coils:
        rule = f"`n_maps` must be at most the {n_coils} coils"
        raise ValueError(message(rule, n_maps, "Lower `n_maps`."))
    if not crop < 1:
        rule = "`crop` must be below 1, the largest eigenvalue there is"
        raise ValueError(message(rule, crop, "BART uses 0.8."))
    slices = kspace.detach().reshape(-1, n_coils, height, width)  # (B, C, H, W)
    block = _calibration_block(slices, calibration, kernel)
    lags = _lags_of_row_space(block, kernel, threshold).to(kspace.dtype)
    reference = _principal_component(block).to(kspace.dtype)
    maps, eigenvalues = _maps_of_lags(lags, reference, (height, width), n_maps)
    if not bool((eigenvalues[:, 0] > crop).flatten(1).any(dim=1).all()):
        peak = float(eigenvalues[:, 0].flatten(1).amax(dim=1).min())
        rule = f"an eigenvalue must exceed `crop` = {crop:g} somewhere in every slice"
        remedy = "Lower `crop` or `threshold`, or calibrate on more lines."
        raise ValueError(message(rule, f"{peak:.3f} at most", remedy))
    maps = maps * (eigenvalues > crop).unsqueeze(2)
    sets = () if n_maps == 1 else (n_maps,)
    leading = kspace.shape[:-3]
    maps = maps.reshape(*leading, *sets, n_coils, height, width)
    if return_eigenvalues:
        return maps, eigenvalues.reshape(*leading, *sets, height, width)
    return maps


def estimate_coil_maps(
    kspace_volume: torch.Tensor,
    *,
    calibration: int = 24,
    kernel: int = 6,
    threshold: float = 0.0316,
    crop: float = 0.8,
    chunk_size: int = 4,
) -> torch.Tensor:
    """Estimate the coil maps of every slice of a volume, `chunk_size` slices at a time.

    Parameters
    ----------
    kspace_volume
        (S, C, H, W), complex centred k-space of S slices, any unit; zero where not sampled.
    calibration, kernel, threshold, crop
        As in `espirit`.
    chunk_size
        Slices calibrated at once; it bounds the memory and does not change the result.

    Returns
    -------
    torch.Tensor
        (S, C, H, W), complex maps of unit norm over the coils, or zero.

    Raises
    ------
    ValueError
        As `espirit`; the first slices that fail stop the volume.
    """
    positive_int("chunk_size", chunk_size)
    if kspace_volume.dim() != 4:
        rule = "`kspace_volume` must have the four axes (slices, coils, H, W)"
        raise ValueError(message(rule, tuple(kspace_volume.shape), "Use `espirit` for a slice."))
    settings = {"kernel": kernel, "threshold": threshold, "crop": crop}
    return torch.cat(
        [
            espirit(part, calibration=calibration, **settings)
            for part in kspace_volume.split(chunk_size)
        ]
    )


def _center(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the central block of the last two axes, its centre n // 2 at the centre N // 2."""
    top, left = (n // 2 - s // 2 for n, s in zip(x.shape[-2:], size))
    return x[..., top : top + size[0], left : left + size[1]]


def _calibration_block(slices: torch.Tensor, calibration: int, kernel: int) -> torch.Tensor:
    """Return the fully sampled centre (B, C, h, w), complex128, of slices (B, C, H, W)."""
    finite("kspace", slices, remedy="Check the file and its scaling.")
    sampled = (slices != 0).any(dim=1)  # (B, H, W)
    if not bool(sampled.flatten(1).any(dim=1).all()):
        rule = "`kspace` must hold data in every slice"
        raise ValueError(message(rule, "a slice of zeros only", "Check the file."))
    height, width = slices.shape[-2:]
    window = _center(sampled.all(dim=0), (min(calibration, height), min(calibration, width)))
    size = calibration_size(window)
    if min(size) < kernel:
        rule = f"the fully sampled centre of k-space must be at least {kernel} x {kernel} samples"
        remedy = "Sample a calibration region or pass coil maps."
        raise ValueError(message(rule, f"{size[0]} x {size[1]}", remedy))
    return _center(slices, size).to(torch.complex128)


def _lags_of_row_space(block: torch.Tensor, kernel: int, threshold: float) -> torch.Tensor:
    """Return sum over u - v = lag of conj(V V^H)[c u, d v]: (B, C, C, 2k - 1, 2k - 1)."""
    n_slices, n_coils = block.shape[:2]
    patches = block.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (B, C, i, j, k, k)
    # (B, C, i, j, k, k) -> (B, i j, K) with K = (coil, row, column of the patch)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(n_slices, -1, n_coils * kernel**2)
    values, vectors = torch.linalg.eigh(patches.mH @ patches)  # ascending squared singular values
    kept = vectors * (values > threshold**2 * values[:, -1:]).unsqueeze(1)
    projector = (kept @ kept.mH).conj()  # (B, K, K)
    # (B, K, K) -> (B, C, C, k^2 k^2): pairs (u, v) of patch positions last
    pairs = projector.reshape(n_slices, n_coils, kernel**2, n_coils, kernel**2)
    pairs = pairs.transpose(2, 3).reshape(n_slices, n_coils, n_coils, kernel**4)
    row, column = (x.flatten() for x in torch.meshgrid(*[torch.arange(kernel)] * 2, indexing="ij"))
    side = 2 * kernel - 1
    lag_row = row[:, None] - row + kernel - 1  # (k^2, k^2), from 0 to 2k - 2
    lag_column = column[:, None] - column + kernel - 1
    index = (lag_row * side + lag_column).flatten().to(block.device)
    lags = pairs.new_zeros(n_slices, n_coils, n_coils, side**2)
    lags.index_add_(3, index, pairs)
    return lags.reshape(n_slices, n_coils, n_coils, side, side) / kernel**2


def _principal_component(block: torch.Tensor) -> torch.Tensor:
    """Return the first principal component over coils (B, C), its largest entry real positive."""
    data = block.flatten(2)  # (B, C, h w)
    component = torch.linalg.eigh(data @ data.mH).eigenvectors[..., -1]
    largest = component.gather(1, component.abs().argmax(dim=1, keepdim=True))
    return component * (largest.conj() / largest.abs())


def _maps_of_lags(
    lags: torch.Tensor, reference: torch.Tensor, shape: tuple[int, int], n_maps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps (B, M, C, H, W) and eigenvalues (B, M, H, W), a chunk of rows at a time."""
    n_slices, n_coils = lags.shape[:2]
    height, width = shape
    waves_row, waves_column = (_waves(n, lags) for n in shape)  # (H, 2k - 1), (W, 2k - 1)
    maps = lags.new_empty(n_slices, n_maps, n_coils, height, width)
    eigenvalues = maps.real.new_empty(n_slices, n_maps, height, width)
    half = lags @ waves_column.mT  # (B, C, C, 2k - 1, W)
    n_rows = max(1, _CHUNK_ELEMENTS // (n_slices * width * n_coils**2))
    for start in range(0, height, n_rows):
        rows = slice(start, start + n_rows)
        # (R, l) (B, C, D, l, W) -> (B, R, W, C, D)
        matrices = torch.einsum("rl,bcdlw->brwcd", waves_row[rows], half)
        values, vectors = torch.linalg.eigh(matrices)
        vectors = vectors[..., -n_maps:].flip(-1)  # (B, R, W, C, M), largest first
        projection = torch.einsum("bc,brwcm->brwm", reference.conj(), vectors)
        phase = torch.polar(torch.ones_like(projection.real), -projection.angle())
        maps[:, :, :, rows] = (vectors * phase.unsqueeze(-2)).permute(0, 4, 3, 1, 2)
        eigenvalues[:, :, rows] = values[..., -n_maps:].flip(-1).permute(0, 3, 1, 2)
    return maps, eigenvalues


def _waves(n: int, like: torch.Tensor) -> torch.Tensor:
    """Return exp(2 pi i q l) at the pixels q = (i - n // 2) / n and the lags l: (n, 2k - 1)."""
    reach = like.shape[-1] // 2
    pixel = torch.arange(n) - n // 2
    lag = torch.arange(-reach, reach + 1)
    # integer arithmetic modulo n keeps the angle exact
    angle = 2 * math.pi * (pixel[:, None] * lag % n).double() / n
    return torch.polar(torch.ones_like(angle), angle).to(like.device, like.dtype)
