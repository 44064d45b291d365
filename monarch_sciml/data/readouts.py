"""Readouts of a scanner, sorted into k-space: what ISMRMRD and Siemens twix files share."""

# Legend: r readouts, b readouts of one block, c coils, n samples of a readout, X readout matrix
# with oversampling, H without, W lines (first phase encode), Z partitions (second phase encode,
# 3-D scans only), s slices that are read.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.data.slices import Slices, numbers

IMAGING, CALIBRATION, NOISE, OTHER = range(4)
KINDS = ("imaging", "calibration", "noise", "other")

ROW = np.dtype(
    [("kind", "u1"), ("reverse", "?"), ("dwell", "f8")]
    + [(name, "i4") for name in ("line", "partition", "slice", "contrast", "repetition")]
    + [(name, "i4") for name in ("phase", "set", "samples", "coils", "center", "before", "after")]
)
"""A row of the table: what the file says about one readout.

`kind` is an index of `KINDS`; `reverse`: sampled from the end to the start; `dwell`: time of a
sample, any unit; then the counters; the number of `samples` and `coils`; `center`: the sample at
the centre of k-space, in forward order; `before` and `after`: samples to discard at either end.
"""

Repetition = int | Literal["average"]
Load = Callable[[np.ndarray], np.ndarray]
BLOCK = 256


@dataclass(frozen=True)
class Geometry:
    """The matrix that readouts are placed in.

    Attributes
    ----------
    readout
        X, readout matrix with oversampling, in samples.
    kept
        H, readout matrix without it: the central part of the image.
    lines, partitions
        W and Z; Z is 1 for 2-D scans.
    center
        Counters of line and partition at the centre of k-space, which goes to W // 2 and Z // 2.
    """

    readout: int
    kept: int
    lines: int
    partitions: int
    center: tuple[int, int]


@dataclass
class Table:
    """The readouts of a file before any sample is read.

    Attributes
    ----------
    name
        Of the file, for messages.
    rows
        (r,) of dtype `ROW`.
    geometry
        Where they go.
    load
        Returns the samples (b, c, n) complex64 of the readouts of given numbers, which all have
        the same n and c.
    bandwidth
        Noise bandwidth of the receiver over 1 / dwell time.
    header
        What goes into the header of the scan.
    """

    name: str
    rows: np.ndarray
    geometry: Geometry
    load: Load
    bandwidth: float = 1.0
    header: dict[str, Any] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Add a line to the notes of the scan."""
        self.header.setdefault("notes", []).append(text)


@dataclass(frozen=True)
class Placed:
    """k-space as the readouts give it.

    Attributes
    ----------
    kspace
        (s, c, H, W) complex64; for 3-D scans s counts readout positions and (H, W) is (W, Z).
    mask
        (s, H, W) bool.
    """

    kspace: np.ndarray
    mask: np.ndarray


def choose(table: Table, kind: int, contrast: int, repetition: Repetition) -> np.ndarray:
    """Return the numbers of the readouts of one contrast and repetition, in the file's order.

    Of cardiac phases and sets the first is taken; averages and segments are all taken.

    Raises
    ------
    ValueError
        When there is no such contrast or repetition.
    """
    rows = table.rows
    chosen = rows["kind"] == kind
    wanted = {"contrast": contrast, "repetition": repetition}
    for axis in ("contrast", "repetition", "phase", "set"):
        present = np.unique(rows[axis][chosen])
        number = wanted.get(axis, int(present[0]) if len(present) else 0)
        if number == "average" or not len(present):
            continue
        if number not in present:
            rule = f"`{axis}` must be one of {', '.join(map(str, present))} of {table.name}"
            raise ValueError(message(rule, repr(number), "Pick one that was acquired."))
        chosen &= rows[axis] == number
        if len(present) > 1 and axis not in wanted and kind == IMAGING:
            table.note(f"{axis} {number} of {len(present)} was read: the others were left out")
    return np.flatnonzero(chosen)


def place(
    table: Table,
    chosen: np.ndarray,
    *,
    slices: Slices = None,
    whitening: np.ndarray | None = None,
    limit: int | None = None,
) -> Placed:
    """Put readouts where they belong in k-space; those of one place are averaged.

    Line l goes to column l + W // 2 - center, sample i of a readout to i + X // 2 - center; then
    oversampling is removed by cropping the image of the readout to its central H of X pixels.

    Parameters
    ----------
    table
        The readouts.
    chosen
        Numbers of those to place.
    slices
        Which slices to place; for 3-D scans which readout positions.
    whitening
        (c, c) matrix applied to the coils.
    limit
        Read the samples of at most so many readouts, those nearest the centre of k-space; the mask
        still counts all of them.

    Raises
    ------
    ValueError
        When readouts differ in samples or coils or lie outside the matrix.
    """
    rows, geometry = table.rows[chosen], table.geometry
    _check_alike(table, rows)
    w = rows["line"] + geometry.lines // 2 - geometry.center[0]
    z = rows["partition"] + geometry.partitions // 2 - geometry.center[1]
    _check_inside(table, rows, w, z)
    volume = geometry.partitions > 1
    n_slices = geometry.kept if volume else int(rows["slice"].max()) + 1
    wanted = list(numbers(slices, n_slices))
    at = {number: i for i, number in enumerate(wanted)}
    s = np.zeros_like(w) if volume else np.array([at.get(i, -1) for i in rows["slice"].tolist()])
    counts = np.zeros((1 if volume else len(wanted), geometry.lines, geometry.partitions), "i4")
    use = s >= 0
    np.add.at(counts, (s[use], w[use], z[use]), 1)
    order = np.flatnonzero(use)
    if limit is not None and len(order) > limit:
        far = (w[order] - geometry.lines // 2) ** 2 + (z[order] - geometry.partitions // 2) ** 2
        order = np.sort(order[np.argsort(far, kind="stable")[:limit]])
    n_coils = int(rows["coils"][0])
    depth = len(wanted) if volume else geometry.kept
    total = np.zeros((*counts.shape, n_coils, depth), np.complex64)  # (s or 1, W, Z, c, H or s)
    for start in range(0, len(order), BLOCK):
        part = order[start : start + BLOCK]
        samples = table.load(chosen[part])
        samples = samples if whitening is None else whitening @ samples  # (b, c, n)
        lines = _lines(samples, rows[part], geometry, hybrid=volume)
        lines = lines[..., wanted] if volume else lines
        np.add.at(total, (s[part], w[part], z[part]), lines)
    total /= np.maximum(counts, 1)[..., None, None]
    if volume:
        # (1, W, Z, c, s) -> (s, c, W, Z)
        return Placed(
            np.ascontiguousarray(total[0].transpose(3, 2, 0, 1)),
            np.broadcast_to(counts > 0, (len(wanted), *counts.shape[1:])),
        )
    readout = _readout_mask(rows[0], geometry)
    # (s, W, 1, c, H) -> (s, c, H, W)
    kspace = np.ascontiguousarray(total[:, :, 0].transpose(0, 2, 3, 1)) * readout[:, None]
    return Placed(kspace, (counts[:, None, :, 0] > 0) & readout[:, None])


def whitening_matrix(table: Table, imaging: np.ndarray) -> np.ndarray:
    """Return the matrix (c, c) that makes noise of imaging readouts white, with variance 1.

    With the noise covariance Psi = B D_n / D_i E[n n^H] (B the relative noise bandwidth, D the
    dwell times of noise and imaging readouts) and Psi = L L^H it is L^-1.

    Raises
    ------
    ValueError
        When there are no noise readouts, of other coils, or too few.

    References
    ----------
    Kellman, McVeigh, "Image reconstruction in SNR units", MRM 54 (2005), eq. 4 and Appendix.
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


def _lines(
    samples: np.ndarray, rows: np.ndarray, geometry: Geometry, *, hybrid: bool
) -> np.ndarray:
    """Return readouts (b, c, H) without oversampling; in image space when `hybrid`."""
    samples = np.where(rows["reverse"][:, None, None], samples[..., ::-1], samples)
    offset, first, last = _extent(rows[0], geometry)
    full = np.zeros((*samples.shape[:2], geometry.readout), np.complex64)  # (b, c, X)
    full[..., offset + first : offset + last] = samples[..., first:last]
    if geometry.kept == geometry.readout and not hybrid:
        return full
    shifted = np.fft.ifftshift(full, axes=-1)
    image = np.fft.fftshift(np.fft.ifft(shifted, norm="ortho"), axes=-1)
    start = geometry.readout // 2 - geometry.kept // 2  # the centres of both coincide
    image = image[..., start : start + geometry.kept]
    if hybrid:
        return image
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes=-1), norm="ortho"), axes=-1)


def _extent(row: np.ndarray, geometry: Geometry) -> tuple[int, int, int]:
    """Return where sample 0 goes, and the first and one past the last sample that is used."""
    samples, center = int(row["samples"]), int(row["center"])
    if samples == geometry.readout and center == 0:
        center = samples // 2  # unset: a full readout is centred
    first, last = int(row["before"]), samples - int(row["after"])
    return geometry.readout // 2 - center, first, last


def _readout_mask(row: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return which of the H samples were acquired, (H,) bool."""
    offset, first, last = _extent(row, geometry)
    ratio = geometry.readout / geometry.kept
    where = geometry.readout // 2 + (np.arange(geometry.kept) - geometry.kept // 2) * ratio
    return (where >= offset + first) & (where <= offset + last - 1)


def _check_alike(table: Table, rows: np.ndarray) -> None:
    """Refuse readouts that differ in what one array needs to be the same."""
    if not len(rows):
        counts = np.bincount(table.rows["kind"], minlength=len(KINDS))
        held = ", ".join(f"{n} {kind}" for n, kind in zip(counts, KINDS) if n) or "no"
        rule = f"{table.name} must hold imaging readouts"
        raise ValueError(message(rule, f"{held} readouts", "Export the scan again."))
    for axis in ("samples", "coils", "center", "before", "after"):
        values = np.unique(rows[axis])
        if len(values) > 1:
            shown = ", ".join(map(str, values[:5]))
            names = {"samples": "number of samples", "coils": "number of coils"}
            rule = f"the imaging readouts of {table.name} must have one {names.get(axis, axis)}"
            raise ValueError(message(rule, shown, "Export one contrast at a time."))
    geometry = table.geometry
    offset, first, last = _extent(rows[0], geometry)
    if not (0 <= offset + first < offset + last <= geometry.readout):
        rule = f"the readouts of {table.name} must lie within its matrix of {geometry.readout}"
        got = f"samples {offset + first} to {offset + last - 1}"
        raise ValueError(message(rule, got, "Correct center_sample or the encoded matrix."))


def _check_inside(table: Table, rows: np.ndarray, w: np.ndarray, z: np.ndarray) -> None:
    """Refuse lines outside the encoded matrix."""
    geometry = table.geometry
    for name, at, size in (("line", w, geometry.lines), ("partition", z, geometry.partitions)):
        outside = (at < 0) | (at >= size)
        if outside.any():
            values = np.unique(rows[name][outside])
            rule = f"every {name} of {table.name} must lie within its encoded matrix of {size}"
            got = f"{outside.sum()} readouts outside, {name} {values.min()} to {values.max()}"
            raise ValueError(message(rule, got, "Correct the encoding limits of the header."))
