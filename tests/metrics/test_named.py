"""Metrics by name, and PDEBench's definitions computed once more, batch by batch of one sample."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from monarch_sciml import metrics
from monarch_sciml.metrics import FIELD_METRICS
from monarch_sciml.metrics.named import FieldMetric, field_metrics
from monarch_sciml.metrics.spectrum import band_sizes, energy_spectrum

GRIDS = [(40,), (31,), (28, 26), (26, 30, 27)]


def pair(grid, batch=(2, 3, 2)):
    generator = torch.Generator().manual_seed(len(grid))
    target = torch.randn(*batch, *grid, generator=generator, dtype=torch.float64) + 0.3
    return target + torch.randn(target.shape, generator=generator, dtype=torch.float64), target


def pdebench(prediction, target):
    """RMSE, nRMSE, bRMSE, maximum and banded fRMSE of one sample (T, F, *grid), by the paper."""
    n_dims = prediction.ndim - 2
    grid, axes = prediction.shape[2:], tuple(range(2, 2 + n_dims))
    gap = prediction - target
    root = np.sqrt(np.mean(gap**2, axis=axes))
    faces = [np.take(gap, end, axis=axis) ** 2 for axis in axes for end in (0, -1)]
    at_faces = np.concatenate([face.reshape(*gap.shape[:2], -1) for face in faces], axis=-1)
    spectrum = np.abs(np.fft.fftn(gap, axes=axes)) ** 2 / math.prod(grid) ** 2
    half = [grid[0] // 2 + 1] if n_dims == 1 else [n // 2 for n in grid]
    waves = np.indices(half)
    shell = np.floor(np.sqrt((waves**2).sum(axis=0))).astype(int)
    part = spectrum[(..., *(slice(n) for n in half))]
    curve = np.stack([np.sqrt((part * (shell == k)).sum(axes)) for k in range(min(half))], -1)
    values = {
        "rmse": root.mean(),
        "nrmse": (root / np.sqrt(np.mean(target**2, axis=axes))).mean(),
        "boundary_rmse": np.sqrt(at_faces.mean(-1)).mean(),
        "max_error": np.abs(gap).max(),
    }
    bands = {"low": curve[..., :4], "middle": curve[..., 4:12], "high": curve[..., 12:]}
    return values | {f"fourier_rmse_{k}": v.mean() for k, v in bands.items() if v.size}


@pytest.mark.parametrize("grid", GRIDS)
def test_pdebench_in_one_two_and_three_dimensions(grid):
    prediction, target = pair(grid)
    names = ["rmse", "nrmse", "boundary_rmse", "max_error", "fourier_rmse"]
    found = field_metrics(prediction, target, names)
    for index in range(len(target)):
        expected = pdebench(prediction[index].numpy(), target[index].numpy())
        assert expected == pytest.approx({k: float(v[index]) for k, v in found.items()}, rel=1e-10)


def test_every_name_is_computed_and_has_one_value_a_sample():
    assert get_args(FieldMetric) == FIELD_METRICS
    prediction, target = pair((32, 32))
    found = field_metrics(prediction, target, FIELD_METRICS)
    bands = [f"fourier_rmse_{band}" for band in ("low", "middle", "high")]
    assert list(found) == [*FIELD_METRICS[:-1], *bands]
    assert all(value.shape == (2,) and value.isfinite().all() for value in found.values())
    for name in FIELD_METRICS[:-1]:
        torch.testing.assert_close(found[name], getattr(metrics, name)(prediction, target))


def test_bands_that_a_coarse_grid_lacks_are_left_out():
    found = field_metrics(*pair((16, 16)), ["fourier_rmse"])
    assert list(found) == ["fourier_rmse_low", "fourier_rmse_middle"]
    assert band_sizes((16, 16)) == (4, 4, 0) and band_sizes((6,)) == (4, 0, 0)
    assert list(field_metrics(*pair((6,)), ["fourier_rmse"])) == ["fourier_rmse_low"]


def test_a_diverged_prediction_has_no_finite_metric():
    prediction, target = pair((26, 26))
    prediction[1, -1] = math.nan
    for name, value in field_metrics(prediction, target, FIELD_METRICS).items():
        assert value.isfinite().tolist() == [True, False], name


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"`metrics` must be one of 'relative_l2'.* got 'l2'"):
        field_metrics(*pair((8,)), ["l2"])


def test_spectrum_counts_waves_along_the_longest_axis():
    x, y = torch.arange(32) / 32, torch.arange(16) / 16
    wave = torch.cos(2 * math.pi * (3 * x[:, None] + 2 * y)).expand(1, 1, 1, 32, 16).double()
    spectrum = energy_spectrum(wave, domain_extent=(2.0, 1.0))[0, 0, 0]
    assert int(spectrum.argmax()) == 5  # sqrt(3² + (2·2)²)
    assert float(spectrum.sum()) == pytest.approx(0.25)
    assert int(energy_spectrum(wave)[0, 0, 0].argmax()) == 4  # sqrt(13) rounded
    for bad in ((1.0,), (1.0, 0.0)):
        with pytest.raises(ValueError, match="`domain_extent` must hold 2 positive lengths"):
            energy_spectrum(wave, domain_extent=bad)
