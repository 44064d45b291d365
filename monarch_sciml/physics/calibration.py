"""The steps of ESPIRiT: calibration block, row space, local matrices and their eigenvectors.

Letters: B slices; C coils; H, W rows and columns; k kernel side; K = C k^2; P patches; M map sets;
R rows of one chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch

from monarch_sciml._checks import finite, message
from monarch_sciml.physics.sampling import calibration_size

CHUNK_ELEMENTS = 2**23
"""Elements of the per-pixel C x C matrices held at once: 64 MiB in complex64."""


PEAK_TOLERANCE = 3
"""Samples by which the peak of k-space may lie off its centre before the calibration follows it.

An echo is rarely more than a sample or two from where it should be, which no window of 24 minds.
"""
PEAK_STANDS_OUT = 10
"""Energy of a peak over the average; an image of 64 x 64 has about 1000, white noise below 3."""
_SMOOTHING = 5


Region: TypeAlias = tuple[slice, slice]
"""Rows and columns of k-space."""


def central_region(
    shape: Sequence[int], size: tuple[int, int], offset: tuple[int, int] = (0, 0)
) -> Region:
    """Return the centre of axes (..., H, W), its point n // 2 at the point N // 2.

    An `offset` in samples moves the centre, but never over the edge.
    """
    rows, columns = (
        slice(first, first + n)
        for first, n in (
            (min(max(whole // 2 - n // 2 + shift, 0), whole - n), n)
            for whole, n, shift in zip(shape[-2:], size, offset)
        )
    )
    return rows, columns


def peak_offset(kspace: torch.Tensor) -> tuple[int, int]:
    """Return the offset of the peak of k-space (..., C, H, W) from the centre in rows and columns.

    The energy is summed over all leading axes before `peak_of_energy` looks for the peak.
    """
    height, width = kspace.shape[-2:]
    return peak_of_energy(kspace.abs().square().reshape(-1, height, width).sum(0))


def peak_of_energy(energy: torch.Tensor) -> tuple[int, int]:
    """Return how many rows and columns the peak of k-space lies off its centre (N // 2).

    Parameters
    ----------
    energy
        (H, W), squared magnitude of k-space, any unit, summed over coils and slices.

    Returns
    -------
    Offsets in samples, positive towards higher indices; They are (0, 0) when both are within
    `PEAK_TOLERANCE`, when the centre was not sampled (the peak may be there), when there is no
    clear peak, as in noise, or when the peak lies outside the central half of k-space. The peak is
    that of the energy averaged over 5 x 5 neighbours, so that a single bad sample does not count as
    one.
    """
    height, width = energy.shape
    if not float(energy[height // 2, width // 2]) > 0:
        return 0, 0
    pooled = torch.nn.functional.avg_pool2d(
        energy[None, None], _SMOOTHING, stride=1, padding=_SMOOTHING // 2
    )
    row, column = divmod(int(pooled.argmax()), width)
    offset = (row - height // 2, column - width // 2)
    if abs(offset[0]) > height // 4 or abs(offset[1]) > width // 4:
        return 0, 0
    stands_out = float(pooled.max()) > PEAK_STANDS_OUT * float(pooled.mean())
    return offset if stands_out and max(map(abs, offset)) > PEAK_TOLERANCE else (0, 0)


def calibration_region(slices: torch.Tensor, calibration: int) -> Region:
    """Return rows and columns of the fully sampled block that calibrates slices (B, C, H, W).

    It is the largest block of at most `calibration` samples a side around the peak of k-space
    (`peak_offset`), or around the centre if the block there is as large. As in BART's ecalib, the
    block may extend further to one side if that side is sampled further.
    """
    sampled = (slices != 0).any(dim=1).all(dim=0)  # (H, W); a dead coil is zero everywhere
    limits = (min(calibration, sampled.shape[0]), min(calibration, sampled.shape[1]))
    found = [
        _widened(sampled, _block_at(sampled, limits, offset), limits)
        for offset in dict.fromkeys([peak_offset(slices), (0, 0)])
    ]
    return max(found, key=lambda block: _length(block[0]) * _length(block[1]))


def _block_at(sampled: torch.Tensor, limits: tuple[int, int], offset: tuple[int, int]) -> Region:
    """Return the largest fully sampled block with its centre at a given place."""
    window = central_region(sampled.shape, limits, offset)
    size = calibration_size(sampled[window])
    rows, columns = (
        slice(part.start + n // 2 - m // 2, part.start + n // 2 - m // 2 + m)
        for part, n, m in zip(window, limits, size)
    )
    return rows, columns


def _widened(sampled: torch.Tensor, block: Region, limits: tuple[int, int]) -> Region:
    """Return a block with the fully sampled rows and columns beside it, up to the limits."""
    rows, columns = block
    if not (_length(rows) and _length(columns)):
        return block
    rows = _longer(sampled[:, columns].all(dim=1), rows, limits[0])
    return rows, _longer(sampled[rows].all(dim=0), columns, limits[1])


def _longer(complete: torch.Tensor, part: slice, limit: int) -> slice:
    """Return a range with the neighbours that are complete, at most `limit` of them in all."""
    first, last = part.start, part.stop
    while last - first < limit and last < len(complete) and bool(complete[last]):
        last += 1
    while last - first < limit and first > 0 and bool(complete[first - 1]):
        first -= 1
    return slice(first, last)


def _length(part: slice) -> int:
    return part.stop - part.start


def calibration_block(
    slices: torch.Tensor, calibration: int, kernel: int
) -> tuple[torch.Tensor, Region]:
    """Return the fully sampled centre (B, C, h, w), complex128, of slices (B, C, H, W) and its
    place.

    Raises
    ------
    ValueError
        When k-space is not finite, a slice is zero, or the centre has fewer than `kernel` lines.
    """
    finite("kspace", slices, remedy="Check the file and its scaling.")
    if not bool(slices.flatten(1).any(dim=1).all()):
        rule = "`kspace` must hold data in every slice"
        raise ValueError(message(rule, "a slice of zeros only", "Check the file."))
    region = calibration_region(slices, calibration)
    height, width = map(_length, region)
    if min(height, width) < kernel:
        rule = f"the fully sampled centre of k-space must be at least {kernel} x {kernel} samples"
        remedy = "Sample a calibration region or pass coil maps."
        raise ValueError(message(rule, f"{height} x {width}", remedy))
    return slices[(..., *region)].to(torch.complex128), region


def hann(size: tuple[int, int], like: torch.Tensor) -> torch.Tensor:
    """Return a Hann window (h, w), real: 1 at the centre n // 2, zeros just outside the block."""
    window = torch.ones((), dtype=like.real.dtype, device=like.device)
    for n, shape in zip(size, ((-1, 1), (1, -1))):
        offset = (torch.arange(n, dtype=window.dtype, device=like.device) - n // 2) / (n // 2 + 1)
        window = window * (0.5 + 0.5 * torch.cos(torch.pi * offset)).reshape(shape)
    return window


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
        Hermitian matrices (B, R, W, C, C).
    reference
        Complex phase reference p (B, C). The sum over c of conj(p_c) s_c becomes real and positive
        for each vector s.
    n_maps
        Number M of vectors. Those of the largest eigenvalues are returned, the largest first.

    Returns
    -------
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
