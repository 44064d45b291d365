"""Turn the samples of readouts into evenly spaced lines of k-space or images along the readout."""

# Letters: b readouts, c coils, n samples of a readout, X readout matrix with oversampling, H
# without.

from __future__ import annotations

import numpy as np

from monarch_sciml._memory import check_array
from monarch_sciml.data.scans.raw.phase_correction import phase_ramp
from monarch_sciml.data.scans.raw.readouts import NOISE, OTHER, Table, extent
from monarch_sciml.data.scans.raw.regrid import Ramps, readout_to_image

COMPLEX128 = 16  # bytes of a number


def readout_lines(table: Table, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return readouts (b, c, n) as lines of k-space (b, c, H) without oversampling.

    Parameters
    ----------
    table
        Table of the readouts.
    samples
        Samples (b, c, n) in the order of acquisition.
    rows
        (b,) their rows of the table.
    """
    whole = table.geometry.kept == table.geometry.readout
    if whole and not rows["pattern"].any() and not table.phases:
        return _on_grid(table, samples, rows)
    return _fourier(readout_images(table, samples, rows))


def readout_images(table: Table, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return readouts (b, c, n) transformed along the readout: (b, c, H), the central pixels.

    Samples on gradient ramps are regridded (`readout_to_image`); the phase of reversed readouts is
    corrected by `table.phases`.
    """
    geometry = table.geometry
    images = np.zeros((*samples.shape[:2], geometry.kept), np.complex64)
    even = rows["pattern"] == 0
    if even.any():
        full = np.fft.ifftshift(_on_grid(table, samples[even], rows[even]), axes=-1)
        wide = np.fft.fftshift(np.fft.ifft(full, norm="ortho"), axes=-1)
        start = geometry.readout // 2 - geometry.kept // 2  # the centres of both coincide
        images[even] = wide[..., start : start + geometry.kept]
    for number in np.unique(rows["pattern"][~even]).tolist():
        chosen = rows["pattern"] == number
        images[chosen] = samples[chosen] @ _matrix(table, number).T
    for number, phase in table.phases.items():
        turned = rows["reverse"] & (rows["slice"] == number)
        images[turned] *= phase_ramp(phase, geometry.kept)
    return images


def place_on_ramps(table: Table, ramps: Ramps) -> None:
    """Set the positions of readouts that extend over the ramps of a trapezoidal gradient."""
    usable = (table.rows["kind"] != NOISE) & (table.rows["kind"] != OTHER)
    samples = np.unique(table.rows["samples"][usable])
    if len(samples) != 1 or ramps.even(int(samples[0])):
        return
    positions = ramps.positions(int(samples[0]), table.geometry.kept)
    table.patterns = [positions, -positions]
    table.rows["pattern"][usable] = np.where(table.rows["reverse"][usable], 2, 1)


def readout_mask(table: Table, rows: np.ndarray) -> np.ndarray:
    """Return which of the H samples of a line were acquired by all of these readouts, (H,) bool."""
    geometry = table.geometry
    places = np.arange(geometry.kept) - geometry.kept // 2  # in steps
    acquired = np.ones(geometry.kept, bool)
    for number in np.unique(rows["pattern"]).tolist():
        if number == 0:
            row = rows[rows["pattern"] == 0][0]
            offset, first, last = extent(row, geometry)
            where = geometry.readout // 2 + places * (geometry.readout / geometry.kept)
            acquired &= (where >= offset + first) & (where <= offset + last - 1)
        else:
            positions = table.patterns[number - 1]
            low, high = positions.min(), positions.max()
            acquired &= (places > low - 0.75) & (places < high + 0.75)
    return acquired


def _on_grid(table: Table, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return evenly spaced readouts at their places in the oversampled matrix, (b, c, X)."""
    samples = np.where(rows["reverse"][:, None, None], samples[..., ::-1], samples)
    offset, first, last = extent(rows[0], table.geometry)
    full = np.zeros((*samples.shape[:2], table.geometry.readout), np.complex64)
    full[..., offset + first : offset + last] = samples[..., first:last]
    return full


def _matrix(table: Table, number: int) -> np.ndarray:
    """Return the matrix (H, n) of a pattern, computed once for a table."""
    if number not in table.matrices:
        positions = table.patterns[number - 1]
        sizes = (len(positions), max(len(positions), table.geometry.kept))
        check_array(table.path, "the regridding of readouts", sizes, 3 * COMPLEX128)
        table.matrices[number] = readout_to_image(positions, table.geometry.kept)
    return table.matrices[number]


def _fourier(images: np.ndarray) -> np.ndarray:
    """Transform the last axis to k-space, centred and orthonormal."""
    shifted = np.fft.ifftshift(images, axes=-1)
    return np.fft.fftshift(np.fft.fft(shifted, norm="ortho"), axes=-1)
