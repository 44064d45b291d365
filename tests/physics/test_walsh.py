"""Walsh maps: brute force, BART, simulated maps recovered, bad input."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from tolerances import assert_close

from monarch_sciml.physics import UniformMask, espirit, fft2c, ifft2c, walsh

BRAIN = Path(__file__).parents[2] / "../shared/kspace/brain8ch_230x180_full"


@pytest.fixture
def scene():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 32), indexing="ij")
    y, x = y.double(), x.double()
    angles = torch.arange(5).double() * (2 * torch.pi / 5)
    distance = (y - 1.3 * angles.sin()[:, None, None]) ** 2
    distance = distance + (x - 1.3 * angles.cos()[:, None, None]) ** 2
    maps = torch.polar(1 / (0.5 + distance), 0.8 * angles[:, None, None] + 0.5 * distance)
    image = ((y**2 + x**2) < 0.7).double() * (1 + 0.3 * torch.cos(5 * y) * torch.sin(7 * x))
    return image, maps / maps.norm(dim=0)


def test_equal_to_the_eigenvectors_of_the_smoothed_covariance(scene):
    image, maps = scene
    kspace = fft2c(maps * image) + 0.01 * torch.randn(maps.shape, dtype=maps.dtype)
    found = walsh(kspace, calibration=None, window=3)
    coils = ifft2c(kspace).numpy()
    covariance = coils[:, None] * coils[None].conj()
    smooth = np.stack(
        [
            ndimage.uniform_filter(part, size=(1, 1, 3, 3), mode="constant")
            for part in (covariance.real, covariance.imag)
        ]
    )
    matrices = np.moveaxis(smooth[0] + 1j * smooth[1], (0, 1), (2, 3))
    vectors = torch.from_numpy(np.moveaxis(np.linalg.eigh(matrices)[1][..., -1], -1, 0).copy())
    overlap = (vectors.conj() * found).sum(0).abs()
    assert_close(overlap, torch.ones_like(overlap), relative=1e-09)


def test_simulated_maps_are_recovered_from_undersampled_kspace(scene):
    image, maps = scene
    mask = UniformMask(4, 16)((40, 32))
    both = torch.stack([fft2c(maps * image) * mask, 5 * fft2c(maps * image.flip(0)) * mask])
    found = walsh(both)
    assert found.shape == both.shape and found.dtype == both.dtype
    for i, inside in enumerate((image > 0, image.flip(0) > 0)):
        overlap = (maps.conj() * found[i]).sum(0).abs()[inside]
        assert overlap.mean() > 0.998 and overlap.min() > 0.95
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 40, 32).double())


def test_the_phase_is_that_of_espirit(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    inside = image > 0
    product = (espirit(kspace, kernel=5).conj() * walsh(kspace)).sum(0)[inside]
    assert product.angle().abs().mean() < 0.05


def test_rows_in_chunks_change_nothing(scene, monkeypatch):
    image, maps = scene
    kspace = fft2c(maps * image)
    whole = walsh(kspace)
    monkeypatch.setattr("monarch_sciml.physics.calibration.CHUNK_ELEMENTS", 3 * 32 * 25)
    torch.testing.assert_close(walsh(kspace), whole)


def test_the_threshold_clears_the_background(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    cleared = walsh(kspace, calibration=None, threshold=0.05).norm(dim=0)
    assert (cleared[image > 0] > 0.99).all()
    far = torch.nn.functional.max_pool2d((image > 0).double()[None], 9, 1, 4)[0] == 0
    assert far.any() and not cleared[far].any()


def test_a_dead_coil_gets_a_map_of_zero(scene):
    image, maps = scene
    kspace = fft2c(maps * image)
    kspace[1] = 0
    found, alive = walsh(kspace), [0, 2, 3, 4]
    assert_close(found[1], 0.0, scale=1.0)
    torch.testing.assert_close(found[alive], walsh(kspace[alive]))


@pytest.mark.skipif(
    not BRAIN.with_suffix(".cfl").exists() or not shutil.which("bart"),
    reason="the brain scan in ../shared or bart is absent",
)
def test_agreement_with_bart(tmp_path):
    for command in (
        ["walsh", "-r1:24:24", "-b1:5:5", str(BRAIN), "covariance"],
        ["ecaltwo", "-m1", "-c0", "1", "230", "180", "covariance", "maps"],
    ):
        subprocess.run(["bart", *command], cwd=tmp_path, check=True, capture_output=True)

    def read(path):
        sizes = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
        data = np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(sizes, order="F")
        return torch.from_numpy(np.moveaxis(data.squeeze(), -1, 0).copy())

    brain, theirs = read(BRAIN), read(tmp_path / "maps")
    ours = walsh(brain)
    image = ifft2c(brain).norm(dim=0)
    inside = image > 0.2 * image.max()
    assert (theirs.conj() * ours).sum(0).abs()[inside].mean() > 0.998


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": 4}, "`window` must be odd, got 4"),
        ({"window": 0}, "`window` must be at least 1"),
        ({"threshold": 1.0}, "at least 0 and below 1"),
    ],
)
def test_bad_settings(scene, options, text):
    with pytest.raises(ValueError, match=text):
        walsh(scene[1], **options)


def test_bad_kspace(scene):
    with pytest.raises(ValueError, match="must be complex"):
        walsh(scene[0])
    with pytest.raises(ValueError, match="a slice of zeros only"):
        walsh(scene[1] * 0)
    with pytest.raises(ValueError, match=r"1 x 1 samples, got 0 x 0. Sample a calibration"):
        mask = torch.ones(40, 32)
        mask[18:22] = 0
        walsh(scene[1] * mask)
