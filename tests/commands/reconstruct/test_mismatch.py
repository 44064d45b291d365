"""A network on other data than it was trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from monarch_sciml.commands.comparison.saved import SavedNetwork
from monarch_sciml.commands.reconstruct.mismatch import mismatch
from monarch_sciml.physics import UniformMask, fft2c
from monarch_sciml.physics.noise import noise_level

TRAINED = SavedNetwork(
    "msense", Path("m"), torch.nn.Identity(), "p95", True, 2.0, 4, None, "UniformMask"
)


def test_noise_is_measured():
    y, x = torch.linspace(-1, 1, 64)[:, None], torch.linspace(-1, 1, 64)
    image = torch.exp(-3 * (x**2 + y**2)).expand(1, 4, 64, 64) / 2
    noise = torch.randn(1, 4, 64, 64, dtype=torch.complex64)
    for level in (0.02, 0.1):
        kspace = fft2c(image + level * noise)
        bright = float(torch.linalg.vector_norm(image + level * noise, dim=1).quantile(0.95))
        assert noise_level(kspace) == pytest.approx(level / bright, rel=0.25)
    kspace[..., :20] = kspace[..., -20:] = 0
    assert noise_level(kspace) is None


def test_both_values_are_said(make_scan):
    scan = make_scan(noise=0.02)
    same = scan.undersampled(UniformMask(2, 4)(scan.matrix))
    trained = replace(TRAINED, acceleration=same.acceleration, noise=noise_level(same.kspace))
    assert mismatch(trained, same, "UniformMask") is None
    assert mismatch(replace(trained, n_coils=8), same, None) == (
        "msense was trained with coils 8, here 4: its images may be the worse"
    )
    fewer = scan.undersampled(UniformMask(4, 4)(scan.matrix))
    text = mismatch(trained, fewer, "PoissonDiscMask")
    assert f"acceleration {same.acceleration:.2g}, here {fewer.acceleration:.2g}" in text
    assert "mask UniformMask, here PoissonDiscMask" in text
    noisy = make_scan(noise=0.2).undersampled(UniformMask(2, 4)(scan.matrix))
    assert "noise" in mismatch(trained, noisy, None)
