"""Regridding along the readout, against the plain Fourier sum and numpy's FFT."""

import numpy as np
import pytest

from monarch_sciml.data.scans.raw.regrid import readout_to_image, trapezoid_positions

H = 24
SINGLE = 100 * float(np.finfo(np.float32).eps)


def samples_of(image, positions, oversampling):
    """The Fourier sum over an image at positions in steps, by one loop."""
    pixels = np.arange(len(image)) - len(image) // 2
    waves = [np.exp(-2j * np.pi * k * pixels / H) for k in positions]
    return np.array([wave @ image for wave in waves]) / (H * oversampling) ** 0.5


def image_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n) + 1j * rng.standard_normal(n)


def ramped(n=40):
    """Samples on the ramps of a trapezoid, at most one step apart."""
    times = (np.arange(n) + 0.5) / n * 10
    return trapezoid_positions(times, 3.0, 4.0, 3.0, H)


POSITIONS = {
    "on ramps": (ramped(), 40 / H),
    "backwards": (-ramped(), 40 / H),
    "shifted": (ramped() + 0.3, 40 / H),
    "all steps": (np.arange(H) - H // 2, 1),
    "oversampled": (np.arange(2 * H) / 2 - H / 2, 2),
    "half a sample later": (np.arange(2 * H) / 2 - H / 2 + 0.25, 2),
    "in disorder": (np.random.default_rng(3).permutation(np.arange(2 * H) / 2 - H / 2), 2),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_any_image_comes_back(name):
    positions, oversampling = POSITIONS[name]
    assert np.diff(np.sort(positions)).max() < 1 + 1e-9
    image = image_of(H)
    oversampling = 1 / np.diff(np.sort(positions)).mean()
    found = readout_to_image(positions, H) @ samples_of(image, positions, oversampling)
    assert np.linalg.norm(found - image) < SINGLE * np.linalg.norm(image)


def test_full_even_sampling_is_the_centred_dft():
    identity = np.fft.ifftshift(np.eye(H), axes=0)
    dft = np.fft.fftshift(np.fft.ifft(identity, axis=0, norm="ortho"), axes=0)
    found = readout_to_image(np.arange(H) - H // 2, H)
    assert np.abs(found - dft).max() < SINGLE * np.abs(dft).max()


def test_oversampled_readouts_are_cropped_and_noise_keeps_its_variance():
    """Also signal outside the field of view: it is not folded in."""
    positions = np.arange(2 * H) / 2 - H / 2
    image = image_of(2 * H)
    samples = samples_of(image, positions, 2)
    found = readout_to_image(positions, H) @ samples
    expected = image[H // 2 : H // 2 + H]
    assert np.linalg.norm(found - expected) < SINGLE * np.linalg.norm(expected)
    matrix = readout_to_image(positions, H)
    assert np.abs(matrix @ matrix.conj().T - np.eye(H)).max() < SINGLE


def test_a_part_of_k_space_that_was_not_sampled_is_zero():
    positions = np.arange(H) - H // 2
    image = image_of(H)
    found = readout_to_image(positions[6:], H) @ samples_of(image, positions, 1)[6:]
    spectrum = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(found), norm="ortho"))
    expected = samples_of(image, positions, 1)
    expected[:6] = 0
    assert np.linalg.norm(spectrum - expected) < SINGLE * np.linalg.norm(expected)


def test_positions_under_a_trapezoid_are_the_area_of_the_gradient():
    times = np.linspace(0.5, 9.5, 19)
    fine = np.linspace(0, 10, 100001)
    gradient = np.interp(fine, [0, 3, 7, 10], [0, 1, 1, 0])
    area = np.concatenate([[0], np.cumsum((gradient[1:] + gradient[:-1]) / 2 * np.diff(fine))])
    moments = np.interp(times, fine, area)
    found = trapezoid_positions(times, 3.0, 4.0, 3.0, H)
    assert found[9] == pytest.approx(0, abs=1e-6) and np.allclose(found, -found[::-1])
    ratio = np.diff(found) / np.diff(moments)
    assert np.ptp(ratio) < 1e-6 * ratio.mean()
    with pytest.raises(ValueError, match="no area"):
        trapezoid_positions(times + 20, 3.0, 4.0, 3.0, H)
