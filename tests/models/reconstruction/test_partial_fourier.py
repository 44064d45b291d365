"""Homodyne and POCS: exact for symmetric data, as BART's, and refused where they cannot be."""

import shutil
import subprocess

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.data.scans.formats.bart import read_cfl, write_cfl
from monarch_sciml.models import POCS, SENSE, Homodyne
from monarch_sciml.models.reconstruction.partial_fourier import partial_fourier
from monarch_sciml.physics import fft2c


def scene(height=32, width=48):
    """A real image with a slow phase, (height, width)."""
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    image = ((x**2 + y**2) < 0.6).float() * (1 + 0.5 * torch.cos(9 * x) * torch.sin(7 * y))
    return image * torch.exp(1j * (0.5 + 0.8 * x - 0.6 * y))


def lines(width, first, last):
    return ((torch.arange(width) >= first) & (torch.arange(width) < last)).float()


def relative(a, b):
    return float((a.abs() - b.abs()).norm() / b.abs().norm())


@pytest.mark.parametrize("method", [Homodyne, POCS])
@pytest.mark.parametrize(("first", "last"), [(18, 48), (0, 31)])
@pytest.mark.parametrize("rows", [False, True])
def test_the_missing_side_is_filled(first, last, rows, method):
    image = scene()
    mask = lines(48, first, last).expand(32, 48)
    image, mask = (image.mT, mask.mT) if rows else (image, mask)
    kspace = (fft2c(image) * mask)[None, None]
    maps = torch.ones_like(kspace)
    found = method((32, 48))(kspace, mask[None], maps)[0]
    zero_filled = SENSE(image.shape)(kspace, mask[None], maps)[0]
    assert relative(found, image) < 0.6 * relative(zero_filled, image)
    turned = found * image.conj()
    assert turned.imag.abs().max() < 0.1 * turned.abs().max()  # the phase is kept


@pytest.mark.skipif(not shutil.which("bart"), reason="bart is not installed")
def test_agreement_with_bart(tmp_path):
    image = scene()
    mask = lines(48, 0, 30).expand(32, 48)  # 5/8 of the lines
    kspace = fft2c(image) * mask
    write_cfl(tmp_path / "k", kspace.numpy())
    arguments = ["bart", "homodyne", "-C", "1", "0.625", "k", "x"]
    subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True)
    theirs = torch.from_numpy(read_cfl(tmp_path / "x").squeeze())
    ours = Homodyne((32, 48))(kspace[None, None], mask[None], torch.ones(1, 1, 32, 48) + 0j)[0]
    scale = (theirs.abs() * ours.abs()).sum() / theirs.abs().square().sum()
    assert relative(ours, scale * theirs) < 0.05


def haacke(kspace, acquired, window, repetitions):
    """One coil, axis by axis with numpy's FFT, as the paper states it."""

    def transform(values, sign):
        shifted = np.fft.ifftshift(values)
        turned = (np.fft.fft2 if sign < 0 else np.fft.ifft2)(shifted, norm="ortho")
        return np.fft.fftshift(turned)

    phase = np.angle(transform(window * kspace, 1))
    filled = kspace
    for _ in range(repetitions):
        constrained = np.abs(transform(filled, 1)) * np.exp(1j * phase)
        filled = np.where(acquired, kspace, transform(constrained, -1))
    return transform(filled, 1)


@pytest.mark.parametrize("repetitions", [1, 7])
def test_pocs_is_the_iteration_of_haacke(repetitions):
    image = scene().to(torch.complex128)
    maps = torch.tensor([0.6, 0.8], dtype=torch.complex128)[:, None, None].expand(2, 32, 48)
    mask = lines(48, 18, 48).expand(32, 48)
    kspace = fft2c(maps * image) * mask  # (C, H, W)
    # the Hann window over the symmetric centre, lines 18 to 30
    window = np.where(
        np.abs(np.arange(48) - 24) <= 6, np.cos(np.pi * (np.arange(48) - 24) / 14) ** 2, 0
    )
    theirs = sum(
        weight * haacke(coil.numpy(), mask.numpy() > 0, window, repetitions)
        for weight, coil in zip((0.6, 0.8), kspace)
    )
    method = POCS((32, 48), n_iterations=repetitions)
    ours = method(kspace[None], mask[None], maps[None])[0]
    assert_close(ours, theirs)


def test_pocs_agrees_with_every_sample_and_halves_the_error_of_a_positive_image():
    image = scene().abs() + 0.5 + 0j
    mask = lines(48, 18, 48).expand(32, 48)
    kspace = (fft2c(image) * mask)[None, None]
    errors = []
    for n in (1, 2, 8, 9, 40):
        found = POCS((32, 48), n_iterations=n)(kspace, mask[None], torch.ones_like(kspace))[0]
        assert_close(fft2c(found) * mask, kspace[0, 0])
        errors.append(float((found - image).norm() / image.norm()))
    # the real part of the error remains, which lies in half of k-space only
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.02)
    assert errors[3] / errors[2] == pytest.approx(0.5, abs=0.02)
    assert_close(torch.tensor(errors[-1]), 0.0, scale=1.0)


@pytest.mark.parametrize("turns", [0.0, 0.5, 1.5])
def test_pocs_keeps_what_homodyne_loses_where_the_phase_is_fast(turns):
    """A phase step that the symmetric centre cannot show, beside a slow phase."""
    x = torch.linspace(-1, 1, 48)
    image = scene() * torch.exp(1j * turns * torch.tanh(20 * x))
    mask = lines(48, 18, 48).expand(32, 48)
    kspace = (fft2c(image) * mask)[None, None]
    ones = torch.ones_like(kspace)
    homodyne, pocs, empty = (
        relative(method((32, 48))(kspace, mask[None], ones)[0], image)
        for method in (Homodyne, POCS, SENSE)
    )
    assert pocs < empty and (pocs < homodyne if turns else pocs < 1.3 * homodyne)


def test_masks_that_are_no_partial_fourier():
    full = torch.ones(32, 48)
    gap = lines(48, 10, 48).clone()
    gap[30] = 0
    cases = [full, gap.expand(32, 48), lines(48, 30, 48).expand(32, 48)]
    cases.append(lines(48, 10, 40).expand(32, 48))  # both sides
    for mask in cases:
        assert partial_fourier(mask) is None
        ones = torch.ones(1, 1, 32, 48) + 0j
        for method, name in ((Homodyne, "homodyne"), (POCS, "pocs")):
            with pytest.raises(ValueError, match=f"^{name} needs k-space that lacks lines on one"):
                method((32, 48))(ones, mask[None], ones)
    assert partial_fourier(lines(48, 10, 48).expand(32, 48)) == (1, 10, 48)
