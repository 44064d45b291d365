"""Put readouts into their places in k-space, and whiten their noise on request."""

# Letters: b readouts of one block, c coils, n samples of a readout, H readout matrix without
# oversampling, W lines (first phase encode), Z partitions (second phase encode, 3-D scans only),
# s slices that are read.

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._memory import check_array
from monarch_sciml.data.scans.raw.lines import readout_images, readout_lines, readout_mask
from monarch_sciml.data.scans.raw.readouts import (
    NOISE,
    Geometry,
    Table,
    check_alike,
    check_inside,
)
from monarch_sciml.data.scans.slices import Slices, numbers

BLOCK = 256
"""Readouts that are read at a time."""
COMPLEX64 = 8  # bytes of a sample


@dataclass(frozen=True)
class Placed:
    """Hold k-space made from readouts.

    Attributes
    ----------
    kspace
        (s, c, H, W) complex64; for 3-D scans s counts readout positions and (H, W) is (W, Z).
    mask
        (s, H, W) bool.
    """

    kspace: np.ndarray
    mask: np.ndarray


def place(
    table: Table,
    chosen: np.ndarray,
    *,
    slices: Slices = None,
    whitening: np.ndarray | None = None,
    limit: int | None = None,
) -> Placed:
    """Put readouts into their places in k-space, averaging those of one place.

    Line l goes to column l + W // 2 - center, sample i of a readout to i + X // 2 - center; then
    oversampling is removed by cropping the image of the readout to its central H of X pixels.
    Readouts with positions of their own are regridded, reversed ones of EPI corrected in phase.

    Parameters
    ----------
    table
        The readouts.
    chosen
        Numbers of the readouts to place.
    slices
        Slices to place. For a 3-D scan they are readout positions.
    whitening
        (c, c) matrix applied to the coils.
    limit
        Largest number of readouts whose samples are read, those nearest the centre of k-space. The
        mask still includes all readouts.

    Raises
    ------
    ValueError
        When readouts differ in samples or coils or lie outside the matrix.
    """
    rows, geometry = table.rows[chosen], table.geometry
    check_alike(table, rows)
    w = rows["line"] + geometry.lines // 2 - geometry.center[0]
    z = rows["partition"] + geometry.partitions // 2 - geometry.center[1]
    check_inside(table, rows, w, z)
    volume = geometry.partitions > 1
    wanted = list(numbers(slices, geometry.kept if volume else int(rows["slice"].max()) + 1))
    _check_size(table, rows, len(wanted))
    at = {number: i for i, number in enumerate(wanted)}
    s = np.zeros_like(w) if volume else np.array([at.get(i, -1) for i in rows["slice"].tolist()])
    counts = np.zeros((1 if volume else len(wanted), geometry.lines, geometry.partitions), "i4")
    use = np.flatnonzero(s >= 0)
    np.add.at(counts, (s[use], w[use], z[use]), 1)
    use = _central(use, w, z, geometry, limit)
    depth = len(wanted) if volume else geometry.kept
    # (s or 1, W, Z, c, H or s)
    total = np.zeros((*counts.shape, int(rows["coils"][0]), depth), np.complex64)
    for start in range(0, len(use), BLOCK):
        part = use[start : start + BLOCK]
        samples = table.load(chosen[part])
        samples = samples if whitening is None else whitening @ samples  # (b, c, n)
        if volume:
            lines = readout_images(table, samples, rows[part])[..., wanted]
        else:
            lines = readout_lines(table, samples, rows[part])
        np.add.at(total, (s[part], w[part], z[part]), lines)
    total /= np.maximum(counts, 1)[..., None, None]
    if volume:
        kspace = np.ascontiguousarray(
            total[0].transpose(3, 2, 0, 1)
        )  # (W, Z, c, s) -> (s, c, W, Z)
        return Placed(kspace, np.broadcast_to(counts > 0, (len(wanted), *counts.shape[1:])))
    readout = readout_mask(table, rows)
    kspace = np.ascontiguousarray(
        total[:, :, 0].transpose(0, 2, 3, 1)
    )  # (s, W, c, H) -> (s, c, H, W)
    return Placed(kspace * readout[:, None], (counts[:, None, :, 0] > 0) & readout[:, None])


def _check_size(table: Table, rows: np.ndarray, n_slices: int) -> None:
    """Refuse a matrix that the header states and that the file or memory cannot hold."""
    geometry, n_coils = table.geometry, int(rows["coils"][0])
    volume = geometry.partitions > 1
    other = (n_slices,) if volume else (n_slices, geometry.kept)
    shape = (geometry.lines, geometry.partitions, n_coils, *other)
    check_array(table.path, "k-space in the matrix of the header", shape, 2 * COMPLEX64)
    block = (min(BLOCK, len(rows)), n_coils, geometry.readout)
    check_array(table.path, "readouts in the matrix of the header", block, 4 * COMPLEX64)


def _central(
    use: np.ndarray, w: np.ndarray, z: np.ndarray, geometry: Geometry, limit: int | None
) -> np.ndarray:
    """Return at most `limit` of the readouts `use`: those nearest the centre, in their order."""
    if limit is None or len(use) <= limit:
        return use
    far = (w[use] - geometry.lines // 2) ** 2 + (z[use] - geometry.partitions // 2) ** 2
    return np.sort(use[np.argsort(far, kind="stable")[:limit]])


def whitening_matrix(table: Table, imaging: np.ndarray) -> np.ndarray:
    """Return the matrix (c, c) that makes noise of imaging readouts white, with variance 1.

    With the noise covariance Psi = B D_n / D_i E[n n^H] (B the relative noise bandwidth, D the
    dwell times of noise and imaging readouts) and Psi = L L^H it is L^-1.

    Raises
    ------
    ValueError
        When there are no or too few noise readouts, or they are of other coils.

    References
    ----------
    Kellman, McVeigh, "Image reconstruction in SNR units", MRM 54 (2005).
    """
    numbers_ = np.flatnonzero(table.rows["kind"] == NOISE)
    n_coils = int(table.rows["coils"][imaging[0]])
    alike = table.rows["coils"][numbers_] == n_coils
    numbers_ = numbers_[alike]
    covariance, count = np.zeros((n_coils, n_coils), complex), 0
    for number in numbers_:
        noise = table.load(np.array([number]))[0].astype(complex)  # (c, n)
        covariance += noise @ noise.conj().T
        count += noise.shape[1]
    if count < 2 * n_coils:
        rule = f"prewhitening {table.name} needs noise samples of its {n_coils} coils"
        raise ValueError(message(rule, f"{count} samples", "Read it without `prewhiten`."))
    dwell = table.rows["dwell"]
    noise_dwell, dwell = float(dwell[numbers_[0]]), float(dwell[imaging[0]])
    scale = table.bandwidth * (noise_dwell / dwell if noise_dwell > 0 and dwell > 0 else 1.0)
    # Noise per sample grows with the bandwidth of the readout, that is with 1 / dwell
    try:
        lower = np.linalg.cholesky(covariance / count * scale)
    except np.linalg.LinAlgError as error:
        rule = f"the noise covariance of {table.name} must be positive definite"
        raise ValueError(message(rule, str(error), "Read it without `prewhiten`.")) from error
    return np.linalg.inv(lower).astype(np.complex64)
