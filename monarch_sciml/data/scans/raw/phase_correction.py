"""Linear phase correction of EPI between lines of opposite directions."""

# Letters: m reference readouts, c coils, H pixels along the readout, W lines.

from __future__ import annotations

from itertools import product

import numpy as np

SEARCHES = ((16, 32), (8, 8), (8, 8))
"""How many phases and slopes `suggested_phase` tries, ever nearer to the best."""
WIDEST_SLOPE = 48.0
"""Range of the slopes that are tried, in rad over the whole readout: shifts of up to 4 samples."""


def linear_phase(
    images: np.ndarray, reverse: np.ndarray, train: np.ndarray
) -> tuple[float, float] | None:
    """Estimate the difference in phase between reversed and forward readouts.

    The difference is modelled as a + b (x - H // 2), x the pixel along the readout: a shift of the
    echo in time gives b, a constant offset of phase a. Of three readouts that follow each other
    with alternating directions, 2 phi_1 - phi_0 - phi_2 is twice the difference whatever phase the
    magnet's field adds from line to line.

    Parameters
    ----------
    images
        (m, c, H) complex, readouts without phase encoding, transformed along the readout, in the
        order of acquisition.
    reverse
        Whether each readout was acquired backwards, (m,) bool.
    train
        Number (m,) of the echo train. Readouts of different trains are not compared.

    Returns
    -------
    a in rad and b in rad per pixel; None when no two neighbours have opposite directions.

    Notes
    -----
    a is determined up to pi: the value is taken for which the field adds less than pi / 2 from line
    to line. The other value would shift the image by half the field of view. Pixels and coils count
    by their squared magnitude.

    References
    ----------
    Ahn and Cho, "A new phase correction method in NMR imaging based on autocorrelation and
    histogram analysis", IEEE TMI 6 (1987), for the slope b.
    """
    neighbours = (train[1:] == train[:-1]) & (reverse[1:] != reverse[:-1])
    if not neighbours.any():
        return None
    # (m - 1, c, H): phase phi_{i+1} - phi_i
    steps = images[1:] * images[:-1].conj()
    signs = np.where(reverse[1:], 1.0, -1.0)  # of the difference within each step
    triples = np.flatnonzero(neighbours[1:] & neighbours[:-1])
    if len(triples):
        products = steps[triples] * steps[triples + 1].conj()
        products = products / np.sqrt(np.abs(products) + np.finfo(float).tiny)
        doubled = _conjugated(products, signs[triples]).sum(axis=(0, 1))  # (H,)
        constant, slope = (value / 2 for value in _line(doubled))
    else:
        pairs = np.flatnonzero(neighbours)
        constant, slope = _line(_conjugated(steps[pairs], signs[pairs]).sum(axis=(0, 1)))
        return constant, slope
    pixels = np.arange(images.shape[-1]) - images.shape[-1] // 2
    turn = np.exp(-1j * signs[neighbours, None, None] * (constant + slope * pixels))
    drift = np.sum(steps[neighbours] * turn)  # its phase is what the field adds from line to line
    if drift.real < 0:
        constant -= np.copysign(np.pi, constant)
    return float(constant), float(slope)


def _conjugated(values: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return values (k, c, H), conjugated where the sign (k,) is negative."""
    return np.where(signs[:, None, None] < 0, values.conj(), values)


def _line(values: np.ndarray) -> tuple[float, float]:
    """Return constant and slope of the phase of values (H,), weighted by their magnitudes."""
    slope = float(np.angle(np.sum(values[1:] * values[:-1].conj())))
    pixels = np.arange(len(values)) - len(values) // 2
    return float(np.angle(np.sum(values * np.exp(-1j * slope * pixels)))), slope


def phase_ramp(phase: tuple[float, float], n_pixels: int) -> np.ndarray:
    """Return the factor (H,) by which to multiply the image of a reversed readout.

    exp(-i (a + b (x - H // 2))) for the (a, b) of `linear_phase`.
    """
    pixels = np.arange(n_pixels) - n_pixels // 2
    return np.exp(-1j * (phase[0] + phase[1] * pixels)).astype(np.complex64)


def suggested_phase(images: np.ndarray, reverse: np.ndarray) -> tuple[float, float]:
    """Guess the phase of reversed lines from the image itself as that of the weakest ghost.

    The sum of magnitudes over the image is least where signal is not spread over a ghost.

    Parameters
    ----------
    images
        (W, H) complex, one coil's lines of a fully sampled slice, transformed along the readout, in
        the order of k-space.
    reverse
        (W,) bool, which lines were acquired backwards.

    Returns
    -------
    a in rad, between -pi / 2 and pi / 2, and b in rad per pixel, as `linear_phase` returns: good
    enough to be named, not to correct by.
    """
    forward, backward = (_lines_to_image(images * kept[:, None]) for kept in (~reverse, reverse))
    best, widths = np.zeros(2), np.array([np.pi, WIDEST_SLOPE / images.shape[1]])
    for constants, slopes in SEARCHES:  # each about the best of the one before, and finer
        tried = (_around(constants) * widths[0], _around(slopes) * widths[1])
        phases = [best + np.array(pair) for pair in product(*tried)]
        best = min(phases, key=lambda phase: _spread(forward, backward, phase))
        widths = 2 * widths / (constants, slopes)
    return float(best[0]), float(best[1])


def _around(n: int) -> np.ndarray:
    """Return n places from -1/2 to 1/2, of which one is 0."""
    return (np.arange(n) - n // 2) / n


def _spread(forward: np.ndarray, backward: np.ndarray, phase: np.ndarray) -> float:
    """Return the sum of magnitudes of the image for this phase of the reversed lines."""
    ramp = phase_ramp((phase[0], phase[1]), forward.shape[1])
    return float(np.abs(forward + ramp * backward).sum())


def _lines_to_image(lines: np.ndarray) -> np.ndarray:
    """Transform (W, H) along W, centred."""
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=0), axis=0), axes=0)
