"""Axes told by where the signal is; images, slices and volumes refused; every remedy followed."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.source import open_scan
from monarch_sciml.physics import fft2c, ifft2c, rss

CASES = Path(__file__).parents[3] / "../shared/cases/scans"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no ../shared/cases")


@pytest.fixture(scope="module")
def images():
    """Coil images (3 slices, 4 coils, 32, 28) of one coil array and different objects."""
    y, x = torch.linspace(-1, 1, 32)[:, None], torch.linspace(-1, 1, 28)
    angle = torch.pi / 2 * torch.arange(4)[:, None, None]
    maps = torch.exp(-((x - angle.cos()) ** 2) - (y - angle.sin()) ** 2 + 1j * (angle + x))
    objects = torch.stack(
        [
            ((y - 0.2 * i) ** 2 + x**2 < 0.4).float()
            + ((x - 0.3 * i) ** 2 + (y + 0.2) ** 2 < 0.02 + 0.03 * i).float()
            for i in range(3)
        ]
    )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 4, 32, 28, dtype=torch.complex64, generator=generator)
    return maps * objects[:, None] + 0.003 * noise


@pytest.fixture(scope="module")
def kspace(images):
    return fft2c(images)


def saved(folder, array, name="a.npy"):
    np.save(folder / name, np.asarray(array))
    return folder / name


def test_coils_last_are_recognised_and_noted(tmp_path, kspace):
    path = saved(tmp_path, kspace[0].permute(1, 2, 0))
    scan = read_scan(path)
    assert torch.equal(scan.kspace[0], kspace[0])
    assert scan.notes[0].startswith("the axes were read as height,width,coil")
    named = read_scan(path, axes="height,width,coil")
    assert torch.equal(named.kspace, scan.kspace) and named.notes == []


@needs_cases
@pytest.mark.parametrize("name", ["hwc_96.npy", "mask_and_kspace.mat", "struct.mat"])
def test_files_that_people_have(name):
    scan = read_scan(CASES / name)
    assert scan.n_coils == 8 and scan.matrix[0] == scan.matrix[1] in (96, 128)
    assert scan.peak == (0, 0)
    if name == "struct.mat":
        again = read_scan(CASES / name, variable="data.kspace")
        assert torch.equal(again.kspace, scan.kspace)


def test_four_axes_with_the_plane_first_are_a_question(tmp_path, kspace):
    path = saved(tmp_path, kspace.permute(2, 3, 1, 0))
    with pytest.raises(ValueError, match=r"the middle of axes 0 and 1. Pass --axes") as error:
        read_scan(path)
    axes = re.search(r"--axes (\S+),", str(error.value)).group(1)
    assert torch.equal(read_scan(path, axes=axes).kspace, kspace)


def test_images_are_refused_and_the_remedy_works(tmp_path, images, kspace):
    path = saved(tmp_path, images)
    with pytest.raises(
        ValueError, match=r"a\.npy must hold k-space, got what looks like im"
    ) as error:
        read_scan(path)
    remedy = re.search(r"Transform them: (.*) along", str(error.value)).group(1)
    space = {"numpy": np, "x": images.numpy(), "axes": (-2, -1)}
    found = read_scan(saved(tmp_path, eval(remedy, space).astype(np.complex64)))
    torch.testing.assert_close(found.kspace, kspace, rtol=1e-4, atol=1e-4)
    noise = torch.randn(4, 32, 28, dtype=torch.complex64)
    assert read_scan(saved(tmp_path, noise)).n_coils == 4  # cannot be told, and is no image


def test_slices_of_one_coil_are_a_question_with_two_answers(tmp_path, kspace):
    path = saved(tmp_path, kspace[:, 0])
    with pytest.raises(ValueError, match=r"the 3 images of a\.npy must show one object") as error:
        open_scan(path)
    with pytest.raises(ValueError, match="if they are slices, --axes coil,height,width"):
        describe_scan(path)
    axes = re.search(r"--axes (\S+) if they are slices", str(error.value)).group(1)
    assert open_scan(path, {"axes": axes}).facts.shape == (3, 1, 32, 28)
    assert open_scan(path, {"axes": "coil,height,width"}).facts.shape == (1, 3, 32, 28)
    assert open_scan(saved(tmp_path, kspace[1])).facts.shape == (
        1,
        4,
        32,
        28,
    )  # coils are no question


def test_three_dimensions_are_refused_and_the_remedy_works(tmp_path, images):
    volume = torch.zeros(20, 32, 28, dtype=torch.complex64)
    volume[6:15] = images[:, 0].repeat(3, 1, 1)
    shifted = torch.fft.ifftshift(fft2c(volume), dim=0)
    volume = torch.fft.fftshift(torch.fft.fft(shifted, dim=0, norm="ortho"), dim=0)
    path = saved(tmp_path, volume)
    with pytest.raises(ValueError, match=r"a 3-D scan. Transform one axis") as error:
        read_scan(path)
    remedy = re.search(r"x = (.*), and pass", str(error.value)).group(1)
    slices = eval(remedy, {"numpy": np, "x": volume.numpy()})
    path = saved(tmp_path, slices.astype(np.complex64))
    scan = read_scan(path, axes="slice,height,width")
    error = rss(ifft2c(scan.kspace))[6:9] - images[:, 0].abs()
    assert error.norm() < 1e-4 * images[:, 0].norm()


@pytest.mark.parametrize("coils_last", [False, True])
def test_kspace_that_begins_with_its_origin(tmp_path, images, kspace, coils_last):
    stored = np.fft.fft2(images[0].numpy(), norm="ortho").astype(np.complex64)
    options = {"fftshift": True}
    if coils_last:
        stored, options["axes"] = stored.transpose(1, 2, 0), "height,width,coil"
    path = saved(tmp_path, stored)
    if not coils_last:
        with pytest.raises(ValueError, match=r"of both axes\. Pass --fftshift true"):
            read_scan(path)
    torch.testing.assert_close(read_scan(path, **options).kspace[0], kspace[0], rtol=0, atol=1e-4)


def test_series_and_parts(tmp_path, kspace):
    series = torch.stack([kspace, 2 * kspace, 6 * kspace])
    path = saved(tmp_path, series)
    with pytest.raises(ValueError, match="Pass `axes`, for example") as error:
        read_scan(path)
    axes = re.search(r"for example (\S+)\.$", str(error.value)).group(1)
    assert axes == "repetition,slice,coil,height,width"
    first = read_scan(path, axes=axes)
    assert torch.equal(first.kspace, kspace) and first.header["repetitions"] == 3
    assert torch.equal(read_scan(path, axes=axes, repetition=2).kspace, 6 * kspace)
    torch.testing.assert_close(read_scan(path, axes=axes, repetition="average").kspace, 3 * kspace)
    echo = read_scan(path, axes="echo,slice,coil,rows,columns", contrast=1)
    assert torch.equal(echo.kspace, 2 * kspace) and echo.header["contrasts"] == 3
    with pytest.raises(
        ValueError, match=r"`repetition` of .* must be at least 0 and below 3, got 3"
    ):
        read_scan(path, axes=axes, repetition=3)
    parts = saved(tmp_path, torch.view_as_real(kspace[0]), "parts.npy")
    assert torch.equal(read_scan(parts).kspace[0], kspace[0])
    moved = saved(tmp_path, torch.view_as_real(kspace[0]).movedim(-1, 0), "first.npy")
    assert torch.equal(read_scan(moved, axes="part,coil,height,width").kspace[0], kspace[0])


def test_the_only_complex_array_of_a_mat_file(tmp_path, kspace):
    array = kspace[0].permute(1, 2, 0).numpy()
    savemat(tmp_path / "one.mat", {"k": array, "mask": np.ones((32, 28)), "info": {"te": 3.0}})
    assert torch.equal(read_scan(tmp_path / "one.mat").kspace[0], kspace[0])
    savemat(tmp_path / "two.mat", {"k": array, "other": 2 * array})
    with pytest.raises(ValueError, match=r"k \(32, 28, 4\), other") as error:
        read_scan(tmp_path / "two.mat")
    name = re.search(r"Pass --variable (\S+),", str(error.value)).group(1)
    assert torch.equal(read_scan(tmp_path / "two.mat", variable=name).kspace[0], kspace[0])
