"""Random smooth functions of position, and their interpolation from a coarse grid."""

# Letters: K points of the coarse grid along each axis, H, W matrix of the scan, I, J = 2 H, 2 W
# matrix of the simulated object, m plane waves, ... any shape.

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

OVERSAMPLING = 2
"""Resolution of the simulated object over that of the scan."""

COARSE_POINTS = 48


def random_smooth(
    points: np.ndarray, rng: np.random.Generator, wavelengths: tuple[float, float]
) -> np.ndarray:
    """Return a random smooth function of position, unit variance; (..., 3) mm -> (...).

    A sum of 24 plane waves, of random direction and of wavelengths in the given range in mm.
    """
    directions = rng.standard_normal((24, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    waves = 2 * np.pi * directions / rng.uniform(*wavelengths, size=(24, 1))  # (m, 3)
    weights = rng.standard_normal(24) / np.sqrt(12)
    return np.cos(points @ waves.T + rng.uniform(0, 2 * np.pi, 24)) @ weights  # (..., m) . (m)


@lru_cache(maxsize=8)
def _spline_matrix(n: int) -> torch.Tensor:
    """Return the (2 n, K) matrix of cubic spline interpolation from coarse to fine points."""
    from scipy.interpolate import make_interp_spline

    last = OVERSAMPLING * n - 1
    spline = make_interp_spline(np.linspace(0, last, COARSE_POINTS), np.eye(COARSE_POINTS), k=3)
    return torch.from_numpy(spline(np.arange(last + 1))).float()


def refine(coarse: np.ndarray, grid_shape: tuple[int, int]) -> torch.Tensor:
    """Interpolate (..., K, K) to (..., I, J), real or complex, in single precision."""
    rows, columns = (_spline_matrix(n) for n in grid_shape)
    values = torch.from_numpy(np.ascontiguousarray(coarse))
    values = values.to(torch.complex64 if values.is_complex() else torch.float32)
    return rows.to(values.dtype) @ values @ columns.T.to(values.dtype)
