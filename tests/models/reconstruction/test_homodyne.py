"""Homodyne reconstruction: exact for symmetric data, as BART's, and refused where it cannot be."""

import shutil
import subprocess

import pytest
import torch

from monarch_sciml.data.scans.formats.bart import read_cfl, write_cfl
from monarch_sciml.models import Homodyne
from monarch_sciml.models.reconstruction.homodyne import partial_fourier
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


@pytest.mark.parametrize(("first", "last"), [(18, 48), (0, 31)])
@pytest.mark.parametrize("rows", [False, True])
def test_the_missing_side_is_filled(first, last, rows):
    image = scene()
    mask = lines(48, first, last).expand(32, 48)
    image, mask = (image.mT, mask.mT) if rows else (image, mask)
    kspace = (fft2c(image) * mask)[None, None]
    maps = torch.ones_like(kspace)
    found = Homodyne((32, 48))(kspace, mask[None], maps)[0]
    from monarch_sciml.models import SENSE

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


def test_masks_that_are_no_partial_fourier():
    full = torch.ones(32, 48)
    gap = lines(48, 10, 48).clone()
    gap[30] = 0
    cases = [full, gap.expand(32, 48), lines(48, 30, 48).expand(32, 48)]
    cases.append(lines(48, 10, 40).expand(32, 48))  # both sides
    for mask in cases:
        assert partial_fourier(mask) is None
        with pytest.raises(ValueError, match="lacks lines on one side of one axis, beyond its cen"):
            Homodyne((32, 48))(
                torch.ones(1, 1, 32, 48) + 0j, mask[None], torch.ones(1, 1, 32, 48) + 0j
            )
    assert partial_fourier(lines(48, 10, 48).expand(32, 48)) == (1, 10, 48)
