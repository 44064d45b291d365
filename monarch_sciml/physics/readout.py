"""The readout of a scanner whose samples are not those of a Fourier transform of the image.

Letters: H x W matrix of the scan (H readout, W phase encode), s points per pixel, I, J = s H, s W
points on which an object is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.physics.images import fft1c

_POWERS = (
    *((p, q, 1.0 if p % 2 else 0.3) for p in range(6) for q in range(6) if p + q in (3, 5)),
    *((p, q, 0.3) for p in range(3) for q in range(3) if p + q == 2),
)
"""Powers of x and y, and relative size, of the terms of a gradient coil beyond its linear one."""
_SPOTS = 3
"""Places of strong local off-resonance, as at the sinuses and the ears."""


@dataclass(frozen=True)
class ReadoutErrors:
    r"""Describe how the readout of a scanner differs from that of an ideal one.

    .. math:: y_{jl} = \sum_{x, y} m(x, y)
              \exp\left(-2 \pi i \left[k(t_j) \, (x + d(x, y)) + t_j f(x, y)
              + l y / W\right]\right)

    with pixel coordinates x and y from the centre, times t_j = (j - H // 2) / H of the samples,
    from -1/2 to 1/2, and phase-encode steps l. Of an ideal scanner, k(t) = t and d = f = 0. The
    errors belong to the scanner: scans with equal errors share k, d and f.

    Parameters
    ----------
    ramp
        Share of the readout that lies on the ramp of the gradient at either end, 0 to 0.5. The
        samples are equally spaced in time, so k(t) = t / (1 - ramp) on the plateau and parabolic on
        the ramps, and spans the same k-space.
    delay
        Delay of the gradient against the samples, in samples, of either sign: k(t - delay / H).
    nonlinearity
        Largest |d| within the ellipse inscribed in the field of view, in pixels: displacement by
        the readout gradient's non-linearity, a polynomial of order 2 to 5 in x and y.
    off_resonance
        Largest |f| there, in pixels: displacement by off-resonance under a constant gradient. It is
        a shim of order 1 to 3 and three local spots.
    seed
        Seed of the scanner, from which the shapes of d and f follow.

    Raises
    ------
    ValueError
        When a value is not finite, `ramp` is outside of 0 to 0.5, or a displacement or the seed is
        negative.

    Notes
    -----
    Phase encoding is ideal, which holds where its gradient is linear over the object; the image is
    distorted along the readout only. Neither relaxation during the readout nor eddy currents that
    differ from a delay are described.

    References
    ----------
    Bernstein, King, Zhou, "Handbook of MRI Pulse Sequences" (2004), sections 1.1 (ramp sampling
    of trapezoids), 10.3 and 14; Janke, Zhao, Cowin, Galloway, Doddrell, "Use of spherical harmonic
    deconvolution methods to compensate for nonlinear gradient effects on MRI images", MRM 52
    (2004).
    """

    ramp: float = 0.0
    delay: float = 0.0
    nonlinearity: float = 0.0
    off_resonance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ramp <= 0.5:
            rule = "`ramp`, a share of the readout, must lie between 0 and 0.5"
            raise ValueError(message(rule, self.ramp, "Pass 0.125 for an eighth at either end."))
        if not np.isfinite(self.delay):
            rule = "`delay` must be a finite number of samples"
            raise ValueError(message(rule, self.delay, "Pass 0 for none."))
        positive_number("nonlinearity", self.nonlinearity, or_zero=True)
        positive_number("off_resonance", self.off_resonance, or_zero=True)
        positive_int("seed", self.seed, minimum=0)

    def trajectory(self, n: int) -> Tensor:
        """Return the place k(t_j) of the n samples in cycles per pixel, float64."""
        time = readout_times(n) - self.delay / n
        if self.ramp == 0:
            return time
        slope, edge = 1 / (1 - self.ramp), (0.5 - time.abs()).clamp_min(0)
        on_ramp = 0.5 - slope * edge.square() / (2 * self.ramp)
        return torch.where(edge < self.ramp, time.sign() * on_ramp, slope * time)

    def displacement(self, x: Tensor, y: Tensor) -> Tensor:
        """Return d in pixels at x and y, shares of the field of view from its centre."""
        rng = np.random.default_rng([self.seed, 1])
        weights = rng.normal(0, 0.5, len(_POWERS)) + [p == 3 for p, _, _ in _POWERS]
        terms = [(p, q, float(size * w)) for (p, q, size), w in zip(_POWERS, weights)]
        return self.nonlinearity * _scaled(lambda a, b: _polynomial(a, b, terms), x, y)

    def off_resonance_shift(self, x: Tensor, y: Tensor) -> Tensor:
        """Return f in pixels at x and y, shares of the field of view from its centre."""
        rng = np.random.default_rng([self.seed, 2])
        orders = [(p, q) for p in range(4) for q in range(4) if 1 <= p + q <= 3]
        shim = [(p, q, float(w)) for (p, q), w in zip(orders, rng.normal(0, 0.5, len(orders)))]
        spots = np.stack(
            [
                rng.uniform(-0.35, 0.35, _SPOTS),  # x
                rng.uniform(-0.35, 0.35, _SPOTS),  # y
                rng.uniform(0.07, 0.14, _SPOTS),  # width
                rng.choice([-1.0, 1.0], _SPOTS) * rng.uniform(0.5, 1.0, _SPOTS),  # strength
            ],
            axis=-1,
        ).tolist()

        def field(a: Tensor, b: Tensor) -> Tensor:
            total = _polynomial(a, b, shim)
            for x0, y0, width, strength in spots:
                squared = (a - x0).square() + (b - y0).square()
                total = total + strength * torch.exp(-squared / (2 * width**2))
            return total

        return self.off_resonance * _scaled(field, x, y)

    def matrices(
        self, grid_shape: tuple[int, int], oversampling: int = 1, columns: slice = slice(None)
    ) -> Tensor:
        """Return the matrix of the readout of every column, points to samples.

        Parameters
        ----------
        grid_shape
            (H, W), matrix of the scan.
        oversampling
            Points per pixel and axis s. Point i of s n lies at (i - s n // 2) / s pixels.
        columns
            Columns of the J = s W to return.

        Returns
        -------
        (columns, H, I), complex128, scaled by 1 / (s sqrt(H)): the centred orthonormal DFT for an
        ideal scanner and s = 1.
        """
        (height, width), s = grid_shape, oversampling
        rows = (torch.arange(s * height, dtype=torch.float64) - s * height // 2) / s  # (I,)
        along = (torch.arange(s * width, dtype=torch.float64) - s * width // 2) / s
        x, y = rows[None] / height, along[columns, None] / width  # (1, I), (columns, 1)
        place = rows + self.displacement(x, y)  # (columns, I)
        shift = self.off_resonance_shift(x, y)
        k, t = self.trajectory(height)[:, None], readout_times(height)[:, None]  # (H, 1)
        turns = k * place[:, None] + t * shift[:, None]  # (columns, H, I)
        return torch.polar(torch.full_like(turns, 1 / (s * height**0.5)), -2 * torch.pi * turns)

    def measure(self, image: Tensor, grid_shape: tuple[int, int], oversampling: int = 1) -> Tensor:
        """Return the k-space of coil images on the points of `matrices`.

        Parameters
        ----------
        image
            (..., I, J), complex, any unit.
        grid_shape, oversampling
            (H, W) of the scan, and points per pixel s.

        Returns
        -------
        (..., H, W), complex, in the unit of `image` and its precision.
        """
        (height, width), s = grid_shape, oversampling
        if tuple(image.shape[-2:]) != (s * height, s * width):
            rule = f"the last axes of `image` must be {s} times the matrix {height} x {width}"
            raise ValueError(message(rule, tuple(image.shape), "Refine the image first."))
        flat = image.reshape(-1, s * height, s * width)  # (..., I, J) -> (B, I, J)
        hybrid = flat.new_empty(len(flat), height, s * width)
        for first in range(0, s * width, 32):  # a few columns at a time, to bound the memory
            part = slice(first, first + 32)
            matrices = self.matrices(grid_shape, s, part).to(flat.dtype)
            # (columns, H, I) @ (columns, I, B) -> (B, H, columns)
            hybrid[..., part] = (matrices @ flat[..., part].permute(2, 1, 0)).permute(2, 1, 0)
        start = s * width // 2 - width // 2  # the central W of the J phase-encode steps
        kspace = fft1c(hybrid)[..., start : start + width] / s**0.5
        return kspace.reshape(*image.shape[:-2], height, width)


def readout_times(n: int) -> Tensor:
    """Return the times of n equally spaced samples in units of the readout, float64 (n,)."""
    return (torch.arange(n, dtype=torch.float64) - n // 2) / n


def _polynomial(x: Tensor, y: Tensor, terms: list[tuple[int, int, float]]) -> Tensor:
    total = torch.zeros(torch.broadcast_shapes(x.shape, y.shape), dtype=torch.float64)
    for p, q, weight in terms:
        total = total + weight * (2 * x) ** p * (2 * y) ** q
    return total


def _scaled(field: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return a field divided by its largest magnitude in the inscribed ellipse of 101 x 101."""
    axis = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    inside = axis[:, None].square() + axis.square() <= 0.25
    largest = field(axis[:, None], axis)[inside].abs().amax()
    return field(x, y) / largest
