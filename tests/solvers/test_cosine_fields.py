"""Cosine random fields: law, walls, the same function on every grid."""

import math

import pytest
import torch
from scipy.fft import dctn
from tolerances import assert_close

from monarch_sciml.solvers import cosine_random_field


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_covariance():
    """The variance at two points, against the sum over modes worked out here."""
    fields = cosine_random_field(4000, (3, 3), n_modes=16, generator=seeded(0))
    expected = {}
    for where, (x, y) in {"corner": (0.0, 0.0), "centre": (0.5, 0.5)}.items():
        expected[where] = sum(
            9.0
            / (math.pi**2 * (k * k + m * m) + 9) ** 2
            * ((2 - (k == 0)) * math.cos(math.pi * k * x) ** 2)
            * ((2 - (m == 0)) * math.cos(math.pi * m * y) ** 2)
            for k in range(16)
            for m in range(16)
            if k or m
        )
    assert fields[:, 0, 0].var() == pytest.approx(expected["corner"], rel=0.08)
    assert fields[:, 1, 1].var() == pytest.approx(expected["centre"], rel=0.08)
    assert fields.mean() == pytest.approx(0.0, abs=0.02)


def test_spectrum_by_scipy():
    """DCT-I of a field whose modes fit the grid gives back the coefficients."""
    n, size = 6, 9
    psi = cosine_random_field(1, (size, size), alpha=3.0, tau=2.0, n_modes=n, generator=seeded(5))
    xi = torch.randn(n, n, dtype=torch.float64, generator=seeded(5))
    k = torch.arange(n, dtype=torch.float64)
    deviation = 2.0**2 * (math.pi**2 * (k[:, None] ** 2 + k**2) + 4) ** -1.5
    deviation[0, 0] = 0
    one = torch.ones_like(k)  # of two numbers, `where` makes single precision
    root = torch.where(k == 0, one, math.sqrt(2) * one)
    expected = deviation * xi * root[:, None] * root
    halves = torch.where(k == 0, 1.0, 2.0)
    found = torch.from_numpy(dctn(psi[0].numpy(), type=1)) / (2 * (size - 1)) ** 2
    found = found[:n, :n] * halves[:, None] * halves
    assert_close(found, expected, relative=1e-09)


def test_zero_mean_and_no_flux_through_the_walls():
    psi = cosine_random_field(2, (257, 257), n_modes=8, generator=seeded(1))
    weights = torch.ones(257, dtype=torch.float64)
    weights[[0, -1]] = 0.5
    means = torch.einsum("i,bij,j->b", weights, psi, weights) / weights.sum() ** 2
    assert_close(means, 0.0, scale=float(psi.abs().max()))
    # one-sided second-order difference: O(h²) where the derivative is zero
    slope = (-1.5 * psi[:, 0] + 2 * psi[:, 1] - 0.5 * psi[:, 2]) * 256
    inner = (psi[:, 129] - psi[:, 127]) * 128
    assert slope.abs().max() < 0.02 * inner.abs().max()


def test_same_function_on_every_grid():
    fine = cosine_random_field(3, (33, 17), generator=seeded(2))
    coarse = cosine_random_field(3, (9, 9), generator=seeded(2))
    assert_close(fine[:, ::4, ::2], coarse, relative=1e-09)
    assert not torch.allclose(fine[0], fine[1])
    assert fine.dtype == torch.float64


@pytest.mark.parametrize("shape", [(7,), (4, 5, 3)])
def test_other_dimensions(shape):
    fields = cosine_random_field(2, shape, alpha=2.5, n_modes=4, generator=seeded(0))
    assert fields.shape == (2, *shape)


def test_bad_input():
    with pytest.raises(ValueError, match="grid_shape"):
        cosine_random_field(1, (1, 4))
    with pytest.raises(ValueError, match="n_modes"):
        cosine_random_field(1, (4, 4), n_modes=1)
    with pytest.raises(ValueError, match="n_samples"):
        cosine_random_field(0, (4, 4))
