import math

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.calgary_campinas import read_calgary_campinas
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.recognise import recognise
from monarch_sciml.physics.sense_operator import fft2c, ifft2c

X, COILS = 5, 3


def discs(height, width):
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    disc = ((x - 0.2) ** 2 + (y + 0.3) ** 2 < 0.3).astype(float)
    coils = np.array([np.exp(1j * (c + x * c)) * (1 + 0.2 * c * y) for c in range(COILS)])
    return np.array([disc * (1 + number) * coils for number in range(X)])  # (X, c, H, W)


def write(path, images, *, chopped=True, sampled=1.0):
    """Files as the data set has them: numpy's ifft2 of (H, W) is the image, without a shift."""
    height, width = images.shape[-2:]
    kspace = np.fft.fft2(images)
    if chopped:  # a scanner's phase alternation puts the origin in the middle
        # a phase of the image shifts k-space by N // 2
        ramp = [np.exp(2j * np.pi * np.arange(n) * (n // 2) / n) for n in (height, width)]
        kspace = np.fft.fft2(images * ramp[0][:, None] * ramp[1])
    kspace[..., math.ceil(sampled * width) :] = 0
    stored = np.zeros((len(images), height, width, 2 * COILS))
    stored[..., ::2] = kspace.real.transpose(0, 2, 3, 1)  # (X, c, H, W) -> (X, H, W, c)
    stored[..., 1::2] = kspace.imag.transpose(0, 2, 3, 1)
    with h5py.File(path, "w") as file:
        file["kspace"] = stored.astype(np.float32)
    return path, stored


@pytest.mark.parametrize("size", [(16, 20), (17, 20), (16, 21), (18, 23)])
def test_images_are_those_of_numpy_without_shifts(tmp_path, size):
    path, stored = write(tmp_path / "e1.h5", discs(*size), sampled=0.85)
    assert recognise(path) == "calgary-campinas"
    scan = read_scan(path)
    assert scan.kspace.shape == (X, COILS, *size) and scan.transformed == ("readout",)
    coils = stored[..., ::2] + 1j * stored[..., 1::2]
    expected = np.fft.ifft2(coils, axes=(1, 2), norm="ortho").transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ifft2c(scan.kspace).abs(), abs(expected), atol=1e-4)


def test_the_origin_is_at_the_centre(tmp_path):
    path, _ = write(tmp_path / "e1.h5", discs(16, 20))
    energy = read_scan(path).kspace.abs().square().sum((0, 1))
    assert divmod(int(energy.argmax()), 20) == (8, 10)


def test_columns_beyond_85_percent_are_padding(tmp_path):
    path, stored = write(tmp_path / "e1.h5", discs(16, 20))  # what is stored there is no signal
    assert stored[:, :, 17:].any()
    scan = read_scan(path)
    assert not scan.kspace[..., 17:].any() and scan.header["padding"] == (0, 17)
    assert scan.acceleration == 1 and scan.fully_sampled


def test_a_file_with_the_origin_at_the_corner(tmp_path):
    images = discs(16, 20)
    path, _ = write(tmp_path / "e1.h5", images, chopped=False)
    scan = read_scan(path)
    expected = fft2c(torch.from_numpy(images)).abs()
    # the scale of numpy's unnormalised transform, and a phase per sample
    np.testing.assert_allclose(scan.kspace.abs() / math.sqrt(320), expected, atol=1e-5)
    np.testing.assert_allclose(ifft2c(scan.kspace).abs() / math.sqrt(320), abs(images), atol=1e-5)
    assert "padding" not in scan.header


@pytest.mark.parametrize("chopped", [True, False])
def test_a_slice_of_noise_is_read_as_the_others_are(tmp_path, chopped):
    """The outermost positions hold no signal that would tell where the origin is."""
    path, _ = write(tmp_path / "e1.h5", discs(16, 20), chopped=chopped, sampled=0.85)
    noise = np.random.default_rng(0).standard_normal((16, 20, 2 * COILS)).astype(np.float32)
    noise[4:12, 5:15] *= 0.5 if chopped else 2  # on its own it would be taken for the other kind
    with h5py.File(path, "r+") as file:
        file["kspace"][0] = noise
    full, alone = read_scan(path), read_scan(path, slices=slice(0, 1))
    assert torch.equal(alone.kspace, full.kspace[:1])
    assert alone.header.get("padding") == ((0, 17) if chopped else None)


def test_slices_and_description(tmp_path):
    path, _ = write(tmp_path / "e1.h5", discs(16, 20))
    full, part = read_scan(path), read_calgary_campinas(path, slices=slice(1, 3))
    torch.testing.assert_close(part.kspace, full.kspace[1:3], rtol=0, atol=0)
    found = describe_scan(path)
    assert (found["format"], found["slices"], found["coils"]) == ("Calgary-Campinas", X, COILS)
    assert found["dtype"] == "float32 (real, imaginary)" and found["padding"] == (0, 17)


def test_bad_files(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["kspace"] = np.ones((2, 8, 8, 5), np.float32)
    with pytest.raises(ValueError, match="real and imaginary parts in turn, got 5 channels"):
        read_scan(tmp_path / "odd.h5")
    path, _ = write(tmp_path / "e1.h5", discs(16, 20))
    with pytest.raises(ValueError, match="`contrast` is for ISMRMRD, twix, SKM-TEA, "):
        read_scan(path, contrast=1)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="must be a complete HDF5 file"):
        read_scan(path)
