"""The parts of ESPIRiT: calibration block, row space, local matrices, their leading eigenvectors.

Shapes: B slices; C coils; H, W rows and columns; k kernel side; K = C k^2; P patches; M map sets;
R rows of one chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from monarch_sciml._checks import finite, message
from monarch_sciml.physics.sampling import calibration_size

CHUNK_ELEMENTS = 2**23
"""Elements of the per-pixel C x C matrices held at once: 64 MiB in complex64."""


def central_block(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return a view of the centre of the last two axes, its point n // 2 at the point N // 2."""
    top, left = (n // 2 - s // 2 for n, s in zip(x.shape[-2:], size))
    return x[..., top : top + size[0], left : left + size[1]]


def calibration_block(slices: torch.Tensor, calibration: int, kernel: int) -> torch.Tensor:
    """Return the fully sampled centre (B, C, h, w), complex128, of slices (B, C, H, W).

    Raises
    ------
    ValueError
        When k-space is not finite, a slice is zero, or the centre has fewer than `kernel` lines.
    """
    finite("kspace", slices, remedy="Check the file and its scaling.")
    sampled = (slices != 0).any(dim=1)  # (B, H, W); a dead coil is zero everywhere
    if not bool(sampled.flatten(1).any(dim=1).all()):
        rule = "`kspace` must hold data in every slice"
        raise ValueError(message(rule, "a slice of zeros only", "Check the file."))
    height, width = slices.shape[-2:]
    limits = (min(calibration, height), min(calibration, width))
    size = calibration_size(central_block(sampled.all(dim=0), limits))
    if min(size) < kernel:
        rule = f"the fully sampled centre of k-space must be at least {kernel} x {kernel} samples"
        remedy = "Sample a calibration region or pass coil maps."
        raise ValueError(message(rule, f"{size[0]} x {size[1]}", remedy))
    return central_block(slices, size).to(torch.complex128)


def lags_of_row_space(block: torch.Tensor, kernel: int, threshold: float) -> torch.Tensor:
    """Return sum over u - v = lag of conj(V V^H)[c u, d v]: (B, C, C, 2k - 1, 2k - 1)."""
    n_slices, n_coils = block.shape[:2]
    patches = block.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (B, C, i, j, k, k)
    # (B, C, i, j, k, k) -> (B, P, K) with P = i j, K = (coil, row, column of the patch)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(n_slices, -1, n_coils * kernel**2)
    # (B, K, K) -> (B, C, k^2, C, k^2) -> (B, C, C, k^4): pairs (u, v) of patch positions last
    projector = _row_space_projector(patches, threshold).conj()
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


def _row_space_projector(patches: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return V V^H (B, K, K) of the rows of (B, P, K), through the smaller Gram matrix of the two.

    Singular values below `threshold` times the largest count as zero. With many coils there are
    fewer patches than K, and the P x P matrix is several times cheaper to diagonalise.
    """
    wide = patches.shape[1] < patches.shape[2]
    gram = patches @ patches.mH if wide else patches.mH @ patches
    values, vectors = torch.linalg.eigh(gram)  # ascending squared singular values
    kept = (values > threshold**2 * values[:, -1:]).unsqueeze(1)  # (B, 1, P or K)
    if wide:  # V = A^H U / sigma
        scale = torch.where(kept, values.clamp_min(1e-300).rsqrt().unsqueeze(1), 0.0)
        basis = patches.mH @ (vectors * scale)
    else:
        basis = vectors * kept
    return basis @ basis.mH


def chunks_of_rows(height: int, elements_a_row: int) -> Iterator[slice]:
    """Yield row ranges of 0..H - 1 that hold at most `CHUNK_ELEMENTS` elements, or one row."""
    n_rows = max(1, CHUNK_ELEMENTS // elements_a_row)
    for start in range(0, height, n_rows):
        yield slice(start, min(start + n_rows, height))


def leading_vectors(
    matrices: torch.Tensor, reference: torch.Tensor, n_maps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest eigenvalues and their vectors, in phase with a reference.

    Parameters
    ----------
    matrices
        (B, R, W, C, C), Hermitian.
    reference
        (B, C), complex; sum_c conj(p_c) s_c of each vector s becomes real and positive.
    n_maps
        Number M of vectors, the largest eigenvalue first.

    Returns
    -------
    tuple
        (B, R, W, M) real and (B, R, W, C, M) complex, of unit norm.
    """
    values, vectors = torch.linalg.eigh(matrices)
    vectors = vectors[..., -n_maps:].flip(-1)  # (B, R, W, C, M)
    projection = torch.einsum("bc,brwcm->brwm", reference.conj(), vectors)
    phase = torch.polar(torch.ones_like(projection.real), -projection.angle())
    return values[..., -n_maps:].flip(-1), vectors * phase.unsqueeze(-2)


def maps_of_lags(
    lags: torch.Tensor, reference: torch.Tensor, shape: tuple[int, int], n_maps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps (B, M, C, H, W) and eigenvalues (B, M, H, W), a chunk of rows at a time."""
    n_slices, n_coils = lags.shape[:2]
    height, width = shape
    waves_row, waves_column = (_waves(n, lags) for n in shape)  # (H, 2k - 1), (W, 2k - 1)
    maps = lags.new_empty(n_slices, n_maps, n_coils, height, width)
    eigenvalues = maps.real.new_empty(n_slices, n_maps, height, width)
    half = lags @ waves_column.mT  # (B, C, C, 2k - 1, W)
    for rows in chunks_of_rows(height, n_slices * width * n_coils**2):
        # (R, l) (B, C, D, l, W) -> (B, R, W, C, D)
        matrices = torch.einsum("rl,bcdlw->brwcd", waves_row[rows], half)
        values, vectors = leading_vectors(matrices, reference, n_maps)
        maps[:, :, :, rows] = vectors.permute(0, 4, 3, 1, 2)  # (B, R, W, C, M) -> (B, M, C, R, W)
        eigenvalues[:, :, rows] = values.permute(0, 3, 1, 2)
    return maps, eigenvalues


def _waves(n: int, like: torch.Tensor) -> torch.Tensor:
    """Return exp(2 pi i q l) at the pixels q = (i - n // 2) / n and the lags l: (n, 2k - 1)."""
    reach = like.shape[-1] // 2
    pixel = torch.arange(n) - n // 2
    lag = torch.arange(-reach, reach + 1)
    # integer arithmetic modulo n keeps the angle exact
    angle = 2 * math.pi * (pixel[:, None] * lag % n).double() / n
    return torch.polar(torch.ones_like(angle), angle).to(like.device, like.dtype)
