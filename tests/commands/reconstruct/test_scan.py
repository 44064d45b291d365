"""Formats of the images, sources of the coil maps, compression, notes, memory."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from monarch_sciml import _memory
from monarch_sciml.commands import reconstruct as command
from monarch_sciml.data.scans.formats.bart import read_cfl, write_bart
from monarch_sciml.data.scans.formats.fastmri import read_fastmri, write_fastmri
from monarch_sciml.data.scans.recognise import FORMATS
from monarch_sciml.data.scans.source import ScanFile
from monarch_sciml.physics import UniformMask, combine, fft2c, ifft2c, rss


def reconstruct(path, **options):
    return command.reconstruct(path, command.Settings(**options))


OPTIONS = {"method": "zero_filled", "acceleration": 2, "calibration": 12, "progress": False}


@pytest.fixture
def path(tmp_path, make_scan):
    write_fastmri(tmp_path / "scan.h5", make_scan(noise=0.02))
    return tmp_path / "scan.h5"


def numbers(text, method):
    row = next(line for line in text.splitlines() if line.startswith(method))
    return [float(cell) for cell in re.split(r"\s{2,}", row)[1:]]


def images_of(path):
    with h5py.File(path) as file:
        return {name: image[()] for name, image in file["reconstructions"].items()}


def test_formats_hold_the_same_images(path, tmp_path):
    options = {**OPTIONS, "method": "zero_filled,cg_sense"}
    reconstruct(path, output=tmp_path / "o.h5", **options)
    expected = images_of(tmp_path / "o.h5")
    for ending in ("nii", "nii.gz", "cfl", "png"):
        text = reconstruct(path, output=tmp_path / f"{ending[0]}.{ending}", overwrite=True,
                           **options)  # fmt: skip
        assert f"{ending[0]}_cg_sense.{ending} (cg_sense)" in text
        assert not (tmp_path / f"{ending[0]}.{ending}").exists() or ending == "png"
    for name, image in expected.items():
        stored = np.asarray(nibabel.load(tmp_path / f"n_{name}.nii.gz").dataobj)  # (w, h, s)
        np.testing.assert_allclose(stored.transpose(2, 1, 0), image, rtol=1e-6)
        cfl = read_cfl(tmp_path / f"c_{name}.cfl").squeeze()  # (h, w, s)
        assert cfl.imag.std() > 0.01 * cfl.real.std()
        np.testing.assert_allclose(np.abs(cfl).transpose(2, 0, 1), image, rtol=1e-5, atol=1e-6)
        tiles = imread(tmp_path / f"p_{name}.png")[..., 0]
        assert tiles.shape == (40, 72) and tiles.std() > 0.1
    assert (tmp_path / "p_figure.png").exists()


def test_one_method_has_the_file_that_was_named(path, tmp_path):
    text = reconstruct(path, output=tmp_path / "o.nii.gz", output_format="nii.gz", **OPTIONS)
    assert (tmp_path / "o.nii.gz").exists() and (tmp_path / "o.png").exists()
    assert "o.nii.gz (zero_filled)" in text
    with pytest.raises(ValueError, match=r"must end in \.cfl, or be a folder, got .*o\.nii"):
        reconstruct(path, output=tmp_path / "o.nii", output_format="cfl", **OPTIONS)


def test_slices_with_masks_of_their_own_are_written_as_images(tmp_path, make_scan):
    scan = make_scan()
    scan.kspace[0] *= UniformMask(2, 12)(scan.matrix)
    np.save(tmp_path / "a.npy", scan.kspace.numpy())
    options = {**OPTIONS, "acceleration": None}
    reconstruct(tmp_path / "a.npy", output=tmp_path / "o.nii", **options)
    assert nibabel.load(tmp_path / "o.nii").shape == (36, 40, 2)


# Coil maps


def test_walsh_maps(path, tmp_path):
    text = reconstruct(path, coil_maps="walsh", output=tmp_path / "o.h5", **OPTIONS)
    assert "Walsh's method" in text
    found, true = read_fastmri(tmp_path / "o.h5").coil_maps, read_fastmri(path).coil_maps
    inside = read_fastmri(path).target.abs() > 0.1
    overlap = (found.conj() * true).sum(dim=1).abs()[inside]
    assert overlap.mean() > 0.98


def test_a_folder_of_maps_and_some_slices(tmp_path, make_scan):
    (tmp_path / "maps").mkdir()
    scan = make_scan(n_slices=3)
    write_bart(tmp_path / "k.cfl", scan.kspace)
    np.save(tmp_path / "maps" / "k.npy", scan.coil_maps.numpy())
    options = {**OPTIONS, "method": "cg_sense", "regularization": 0.0, "slices": (1, 3)}
    text = reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "maps", **options)
    assert "2 slices" in text and "k.npy" in text and numbers(text, "cg_sense")[0] < 1e-6
    (tmp_path / "maps" / "k.npy").rename(tmp_path / "maps" / "other.npy")
    with pytest.raises(FileNotFoundError, match=r"must hold the coil maps of k\.cfl"):
        reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "maps", **options)


def test_maps_of_another_norm_are_noted(tmp_path, make_scan):
    scan = make_scan()
    write_bart(tmp_path / "k.cfl", scan.kspace)
    np.save(tmp_path / "maps.npy", 2 * scan.coil_maps.numpy())
    text = reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "maps.npy", **OPTIONS)
    assert (
        "note:         the norm of the coil maps was 2 to 2, not 1: they were divided by it" in text
    )
    np.save(tmp_path / "maps.npy", scan.coil_maps.numpy())
    text = reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "maps.npy", **OPTIONS)
    assert "norm" not in text


def folded_scan(scan, width):
    """The scan as it is with a smaller field of view along the columns."""
    image = ifft2c(scan.kspace)
    folded = image.new_zeros(*image.shape[:-1], width)
    for column in range(image.shape[-1]):
        folded[..., (column - image.shape[-1] // 2 + width // 2) % width] += image[..., column]
    return fft2c(folded)


def test_a_small_field_of_view_is_noted_and_two_maps_solve_it(tmp_path, make_scan):
    scan = make_scan(shape=(64, 60), n_coils=6, n_slices=1)
    np.save(tmp_path / "small.npy", folded_scan(scan, 40).numpy())
    np.save(tmp_path / "whole.npy", scan.kspace.numpy())
    options = {**OPTIONS, "method": "cg_sense", "acceleration": 4, "calibration": 24}
    assert "note:" not in reconstruct(tmp_path / "whole.npy", **options)
    with pytest.raises(
        ValueError,
        match=r"must show one object .* --axes slice,coil,height,width if they are coils",
    ):
        reconstruct(tmp_path / "small.npy", **options)
    options["axes"] = "slice,coil,height,width"
    one = reconstruct(tmp_path / "small.npy", **options)
    assert re.search(r"note: +\d+ % of the object has a second coil map.*--n_maps 2", one)
    two = reconstruct(tmp_path / "small.npy", n_maps=2, output=tmp_path / "two.h5", **options)
    assert "2 sets" in two and "second coil map" not in two
    assert numbers(two, "cg_sense")[0] < 0.7 * numbers(one, "cg_sense")[0]
    del options["axes"]
    stored = reconstruct(tmp_path / "two.h5", coil_maps=tmp_path / "two.h5", n_maps=2,
                         method="cg_sense", progress=False)  # fmt: skip
    assert numbers(stored, "cg_sense")[0] == numbers(two, "cg_sense")[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_maps": 2, "coil_maps": "walsh"}, '`n_maps` must be 1 for coil_maps="walsh"'),
        ({"n_maps": 2, "coil_maps": "stored"}, '`n_maps` must be 1 for coil_maps="stored"'),
        ({"n_maps": 5}, "at most the number of coils, got 5 with 4"),
        ({"n_maps": 0}, "`n_maps` must be at least 1"),
        ({"compress_coils": 0}, "`compress_coils` must be at least 1"),
        ({"coil_maps": Path("x")}, "coil maps must exist, got x"),
    ],
)
def test_bad_options(path, options, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        reconstruct(path, **OPTIONS, **options)
    assert "\n" not in str(caught.value)


# Coils


def test_compression_keeps_the_image(path, tmp_path, make_scan):
    scan = make_scan(n_coils=8)
    write_fastmri(tmp_path / "eight.h5", scan)
    options = {**OPTIONS, "acceleration": None, "method": "cg_sense"}
    text = reconstruct(tmp_path / "eight.h5", compress_coils=6, output=tmp_path / "o.h5", **options)
    assert "6 coils" in text and "note:         8 coils compressed to 6" in text
    found = read_fastmri(tmp_path / "o.h5")
    assert found.n_coils == 6
    before, after = rss(ifft2c(scan.kspace)), rss(ifft2c(found.kspace))
    assert (before - after).norm() < 0.02 * before.norm()
    same = reconstruct(path, compress_coils=4, **OPTIONS)
    assert (
        "compressed" not in same
        and same.splitlines()[:5] == reconstruct(path, **OPTIONS).splitlines()[:5]
    )


def test_given_maps_are_compressed_too(path, tmp_path):
    options = {**OPTIONS, "coil_maps": "stored", "output": tmp_path / "o.h5"}
    text = reconstruct(path, compress_coils=3, **options)
    assert "3 coils" in text and "stored in the file" in text
    found = read_fastmri(tmp_path / "o.h5")
    expected = combine(ifft2c(found.kspace), found.coil_maps).abs()
    torch.testing.assert_close(
        torch.from_numpy(images_of(tmp_path / "o.h5")["zero_filled"]), expected
    )


# Notes and refusals


def test_a_dead_coil_is_noted(tmp_path, make_scan):
    scan = make_scan()
    scan.kspace[:, 2] = 0
    write_bart(tmp_path / "k.cfl", scan.kspace)
    text = reconstruct(tmp_path / "k.cfl", **{**OPTIONS, "method": "cg_sense"})
    assert "note:         dead coil 2 of 4 (counted from 0)" in text
    assert numbers(text, "cg_sense")[0] < 0.05


def test_missing_lines_of_raw_data_are_noted(tmp_path, make_scan):
    kspace = make_scan(shape=(48, 48)).kspace
    kspace[..., [5, 40]] = 0
    write_bart(tmp_path / "k.cfl", kspace)
    text = reconstruct(tmp_path / "k.cfl", **{**OPTIONS, "acceleration": None})
    assert "note:         2 of 48 lines were not acquired, 2 of them between acquired ones" in text


def test_what_looks_wrong_is_said_with_an_error(tmp_path, make_scan):
    kspace = make_scan(n_slices=1).kspace[0].numpy()
    np.save(tmp_path / "swapped.npy", kspace.transpose(1, 2, 0))  # (H, W, c), taken for (c, H, W)
    words = r"`calibration` must be at most 4.* Note: 40 coils on a matrix of 36 x 4: the axes may"
    with pytest.raises(ValueError, match=words):
        reconstruct(tmp_path / "swapped.npy", axes="coil,height,width", **OPTIONS)
    assert "read as height,width,coil" in reconstruct(tmp_path / "swapped.npy", **OPTIONS)
    kspace[..., 17:20] = 0
    np.save(tmp_path / "gap.npy", kspace)
    words = r"fully sampled centre .* got 0 x 0.* Note: 3 of 36 lines were not acquired"
    with pytest.raises(ValueError, match=words):
        reconstruct(tmp_path / "gap.npy", **OPTIONS)


def test_that_a_file_holds_more_is_said(tmp_path, make_scan):
    scan = make_scan()
    for number in (1, 2):
        write_fastmri(tmp_path / f"2022061003_T10{number}.h5", scan)
    path = tmp_path / "2022061003_T101.h5"
    assert "note:         one of 2 repetitions was read" in reconstruct(path, **OPTIONS)
    assert "note:" not in reconstruct(path, repetition="average", **OPTIONS)
    with h5py.File(tmp_path / "echoes.h5", "w") as file:  # SKM-TEA: (X, H, W, echoes, coils)
        file["kspace"] = np.stack([scan.kspace.numpy()] * 2, -1).transpose(0, 2, 3, 4, 1)
    path = tmp_path / "echoes.h5"
    assert "note:         the first of 2 contrasts was read: see" in reconstruct(path, **OPTIONS)
    assert "note:" not in reconstruct(path, contrast=1, **OPTIONS)


def test_separate_calibration_lines_are_used(tmp_path, make_scan, monkeypatch):
    scan = make_scan(noise=0.01)
    mask = UniformMask(2, 0)(scan.matrix)
    centre = torch.zeros(scan.matrix)
    centre[:, 10:26] = 1
    imaging = scan.undersampled(mask)
    imaging.coil_maps = imaging.target = None
    imaging.header["format"] = "ISMRMRD"
    imaging.calibration_kspace = scan.kspace * centre
    np.save(tmp_path / "a.npy", imaging.kspace.numpy())
    options = {**OPTIONS, "acceleration": None, "method": "cg_sense"}
    with pytest.raises(ValueError, match=r"got 1 x|got 0 x|must be at least 6 x 6") as caught:
        reconstruct(tmp_path / "a.npy", **options)
    assert str(caught.value).endswith("pass coil maps (`coil_maps`: a file).")
    monkeypatch.setattr(ScanFile, "read", lambda *a, **k: imaging)
    text = reconstruct(tmp_path / "a.npy", **options)
    assert "separate calibration lines fill in" in text and "fully sampled centre 40 x 17" in text


def test_too_little_memory_is_said_before_the_volume_is_read(path, monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 300_200_000)
    words = (
        r"the k-space, maps and images of 2 slices of scan\.h5 of 300\.\d MB must fit into memory"
    )
    with pytest.raises(ValueError, match=words + r", got 300\.2 MB free. .*--slices \[0,1\]"):
        reconstruct(path, **OPTIONS)
    assert "1 slice" in reconstruct(path, slices=(0, 1), **{**OPTIONS, "acceleration": None})


def test_running_out_of_memory_is_one_line(path, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ScanFile, "read", exhausted)
    with pytest.raises(ValueError, match=r"scan\.h5 must fit into the memory of the machine"):
        reconstruct(path, **OPTIONS)


def test_reader_options_reach_the_reader(path, monkeypatch):
    seen = {}

    def spy(file, *, slices, **options):
        seen.update(options)
        return read_fastmri(file, slices=slices)

    form = replace(FORMATS["fastmri"], reader=spy, options=("contrast", "repetition", "prewhiten"))
    monkeypatch.setitem(FORMATS, "fastmri", form)
    reconstruct(path, contrast=1, repetition="average", prewhiten=True, **OPTIONS)
    assert seen == {"contrast": 1, "repetition": "average", "prewhiten": True}
