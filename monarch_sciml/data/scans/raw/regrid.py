"""Regrid readouts with arbitrary sample positions by the inverse of their Fourier sum."""

# Letters: n samples of a readout, H pixels of the image along it, X pixels of a wider image.

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST_SINGULAR_VALUE = 0.1
"""Singular values below this share of the largest one are left out: noise is not amplified more."""


@dataclass(frozen=True)
class Ramps:
    """Times of a trapezoidal readout gradient and of the samples under it, in us.

    Attributes
    ----------
    up, flat, down
        Durations of the parts of the gradient.
    delay
        Time from the start of the gradient to the interval of the first sample.
    dwell
        Time between two samples.
    """

    up: float
    flat: float
    down: float
    delay: float
    dwell: float

    def even(self, samples: int) -> bool:
        """Return whether this many samples all lie on the flat top, evenly spaced in k-space."""
        times = self._times(samples)
        return times[0] >= self.up and times[-1] <= self.up + self.flat

    def positions(self, samples: int, n_pixels: int) -> np.ndarray:
        """Return the positions (n,) of the samples in steps, by `trapezoid_positions`."""
        return trapezoid_positions(self._times(samples), self.up, self.flat, self.down, n_pixels)

    def _times(self, samples: int) -> np.ndarray:
        return self.delay + self.dwell * (np.arange(samples) + 0.5)


def readout_to_image(positions: np.ndarray, n_pixels: int) -> np.ndarray:
    """Return the matrix that turns the samples of one readout into its image.

    The samples s and the image m obey

        s_j = (V H)^(-1/2) sum_x m_x exp(-2 pi i k_j (x - X // 2) / H),

    where V is the oversampling, one over the mean distance of the k_j. White noise of variance 1 in
    evenly spaced samples then has variance 1 in the image. The matrix is the pseudo-inverse of this
    sum, with the rows of the central H pixels. The image is solved for on X >= H pixels, as many as
    the density of the samples allows, so that signal from just outside the field of view does not
    fold into it.

    Parameters
    ----------
    positions
        (n,) k_j in steps of 1 / field of view, in any order, as dense as the gradient made them.
    n_pixels
        H.

    Returns
    -------
    np.ndarray
        (H, n) complex64. For samples at all the steps -H // 2, ..., it is the centred orthonormal
        inverse DFT, and for evenly oversampled readouts that DFT cropped to the central H pixels.

    Notes
    -----
    The solution is exact, up to rounding, for every image of X pixels where the samples determine
    it: where they reach to both ends of k-space at distances of at most one step. Parts of k-space
    that were not sampled are taken as zero, as everywhere in this package.

    References
    ----------
    Rosenfeld, "An optimal and efficient new gridding algorithm using singular value decomposition",
    MRM 40 (1998), whose block of k-space is here the whole readout.
    """
    positions = np.asarray(positions, float)
    distances = np.diff(np.sort(positions))
    densest = float(distances.max()) if distances.size else 1.0
    wide = min(len(positions), int(n_pixels / densest + 1e-6)) if densest > 0 else n_pixels
    wide = max(n_pixels, wide - (wide - n_pixels) % 2)  # as many pixels more on either side
    pixels = np.arange(wide) - wide // 2
    oversampling = 1 / distances.mean() if densest > 0 else 1.0
    forward = np.exp(-2j * np.pi * np.outer(positions, pixels) / n_pixels)  # (n, X)
    forward /= (n_pixels * oversampling) ** 0.5  # columns of full, even sampling are orthonormal
    inverse = np.linalg.pinv(forward, rcond=SMALLEST_SINGULAR_VALUE)
    first = wide // 2 - n_pixels // 2
    return inverse[first : first + n_pixels].astype(np.complex64)


def trapezoid_positions(
    times: np.ndarray, ramp_up: float, flat_top: float, ramp_down: float, n_pixels: int
) -> np.ndarray:
    """Return where samples under a trapezoidal gradient lie in k-space, in steps.

    The centre of k-space is passed at half the area of the trapezoid; its area from half a sample
    before the first to half a sample after the last is H steps, as scanners choose the amplitude.

    Parameters
    ----------
    times
        Times (n,) of the samples since the start of the gradient, in the unit of the durations.
    ramp_up, flat_top, ramp_down
        Durations of the parts of the gradient.
    n_pixels
        H.

    Returns
    -------
    np.ndarray
        (n,) rising.

    Raises
    ------
    ValueError
        When the gradient has no area between the first and the last sample.
    """
    corners = np.cumsum([0.0, ramp_up, flat_top, ramp_down])

    def area(time: np.ndarray) -> np.ndarray:
        up = np.clip(time, 0, corners[1])
        flat = np.clip(time, corners[1], corners[2]) - corners[1]
        down = np.clip(time, corners[2], corners[3]) - corners[2]
        rising = up**2 / (2 * ramp_up) if ramp_up > 0 else 0 * up
        falling = down - down**2 / (2 * ramp_down) if ramp_down > 0 else 0 * down
        return rising + flat + falling

    times = np.asarray(times, float)
    half = float(area(corners[3:])[0]) / 2
    dwell = (times[-1] - times[0]) / max(len(times) - 1, 1)
    first, last = area(np.array([times[0] - dwell / 2, times[-1] + dwell / 2]))
    if not last > first:
        raise ValueError("the readout gradient has no area between the first and last sample")
    return (area(times) - half) / (last - first) * n_pixels
