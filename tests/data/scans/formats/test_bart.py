import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monarch_sciml.data.scans.formats.bart import (
    pair_of,
    read_bart,
    read_cfl,
    read_dimensions,
    write_bart,
    write_cfl,
)
from monarch_sciml.physics.sense_operator import fft2c

SCANS = Path(__file__).parents[4] / "../shared/kspace"
needs_bart = pytest.mark.skipif(not shutil.which("bart"), reason="BART is not installed")


def bart(*arguments, folder):
    command = ["bart", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def random_array(shape, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *shape)).astype(np.float32)
    return parts[0] + 1j * parts[1]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=7))
def test_what_is_written_is_read(tmp_path, shape):
    array = random_array(shape)
    write_cfl(tmp_path / "a", array, overwrite=True)
    for name in ("a", "a.cfl", "a.hdr"):
        back = read_cfl(tmp_path / name)
        assert back.dtype == np.complex64 and back.ndim == 16
        np.testing.assert_array_equal(back.reshape(shape, order="F"), array)


def test_the_bytes_are_column_major_little_endian_complex64(tmp_path):
    write_cfl(tmp_path / "a", np.array([[1, 2], [3j, 4]]))
    raw = (tmp_path / "a.cfl").read_bytes()
    expected = np.array([1, 0, 0, 3, 2, 0, 4, 0], dtype="<f4")
    assert raw == expected.tobytes()
    header = (tmp_path / "a.hdr").read_text().splitlines()
    assert header[0] == "# Dimensions"
    assert header[1].split() == ["2", "2", *["1"] * 14]


@needs_bart
def test_bart_reads_what_we_write(tmp_path):
    array = random_array((6, 5, 1, 3))
    write_cfl(tmp_path / "ours", array)
    assert bart("show", "-m", "ours", folder=tmp_path).split("AoD:")[1].split()[:4] == [
        "6",
        "5",
        "1",
        "3",
    ]
    bart("fft", "-u", 3, "ours", "theirs", folder=tmp_path)
    images = torch.from_numpy(array[:, :, 0]).permute(2, 0, 1)  # (x, y, c) -> (c, x, y)
    theirs = torch.from_numpy(read_cfl(tmp_path / "theirs").squeeze()).permute(2, 0, 1)
    torch.testing.assert_close(theirs, fft2c(images), rtol=1e-5, atol=1e-5)


@needs_bart
def test_we_read_what_bart_writes(tmp_path):
    bart("phantom", "-x", 24, "-s", 4, "-k", "phantom", folder=tmp_path)
    scan = read_bart(tmp_path / "phantom").validate()
    assert scan.kspace.shape == (1, 4, 24, 24)
    assert scan.acceleration == 1.0
    pixel = bart("slice", 0, 7, 1, 5, 3, 2, "phantom", "value", folder=tmp_path)
    assert pixel == ""
    value = read_cfl(tmp_path / "value").item()
    assert scan.kspace[0, 2, 7, 5].item() == value


@needs_bart
def test_slices_lie_along_axis_13(tmp_path):
    kspace = torch.from_numpy(random_array((3, 2, 6, 5)))
    write_bart(tmp_path / "stack", kspace)
    assert read_dimensions(tmp_path / "stack")[13] == 3
    torch.testing.assert_close(read_bart(tmp_path / "stack").kspace, kspace, rtol=0, atol=0)
    bart("slice", 13, 1, "stack", "one", folder=tmp_path)
    torch.testing.assert_close(read_bart(tmp_path / "one").kspace, kspace[1:2], rtol=0, atol=0)
    some = read_bart(tmp_path / "stack", slices=slice(1, 3))
    torch.testing.assert_close(some.kspace, kspace[1:], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 1, 3), (1, 3, 6, 5)),
        ((1, 6, 5, 3), (1, 3, 6, 5)),
        ((6, 1, 5, 3), (1, 3, 6, 5)),
        ((6, 5), (1, 1, 6, 5)),
        ((6, 1, 1, 3), (1, 3, 6, 1)),
    ],
)
def test_two_spatial_axes_become_height_and_width(tmp_path, shape, expected):
    array = random_array(shape)
    write_cfl(tmp_path / "a", array)
    kspace = read_bart(tmp_path / "a").kspace
    assert tuple(kspace.shape) == expected
    back = kspace[0].permute(1, 2, 0).reshape(array.shape)  # (c, H, W) -> (H, W, c)
    np.testing.assert_array_equal(back.numpy(), array)


def test_real_scan():
    path = SCANS / "brain8ch_230x180_full.cfl"
    if not path.exists():
        pytest.skip("the scanner data are not beside the checkout")
    scan = read_bart(path).validate()
    assert scan.kspace.shape == (1, 8, 230, 180)
    assert scan.fully_sampled and scan.acceleration == 1.0
    raw = np.fromfile(path, dtype="<c8")
    assert scan.kspace[0, 3, 100, 50].item() == raw[100 + 230 * (50 + 180 * 3)]


def test_stems_with_dots(tmp_path):
    header, data = pair_of(tmp_path / "scan.v2")
    assert (header.name, data.name) == ("scan.v2.hdr", "scan.v2.cfl")
    write_cfl(tmp_path / "scan.v2", np.ones(3))
    assert read_cfl(tmp_path / "scan.v2").shape[0] == 3


@pytest.mark.parametrize("change", [-8, -1, 1, 8])
def test_a_file_of_the_wrong_size_is_refused(tmp_path, change):
    write_cfl(tmp_path / "a", np.ones((4, 4)))
    data = (tmp_path / "a.cfl").read_bytes()
    (tmp_path / "a.cfl").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(ValueError, match=r"must have the 128 bytes that a.hdr states, got"):
        read_cfl(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    ["", "# Dimensions", "# Dimensions\n", "# Dimensions\n4 x\n", "# Dimensions\n4 0\n", "4"],
)
def test_a_malformed_header_is_refused(tmp_path, text):
    write_cfl(tmp_path / "a", np.ones(4))
    (tmp_path / "a.hdr").write_text(text)
    with pytest.raises(ValueError, match="must state 1 to 16 positive sizes"):
        read_cfl(tmp_path / "a")


def test_headers_of_newer_bart_versions(tmp_path):
    write_cfl(tmp_path / "a", np.arange(4))
    text = "# Command\nphantom a\n# Dimensions\n2 2\n# Files\n >a\n# Creator\nBART v0.8.00\n"
    (tmp_path / "a.hdr").write_text(text)
    assert read_cfl(tmp_path / "a").squeeze().real.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize("missing", ["a.cfl", "a.hdr"])
def test_half_a_pair_is_refused(tmp_path, missing):
    write_cfl(tmp_path / "a", np.ones(4))
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        read_cfl(tmp_path / "a")


@pytest.mark.parametrize(
    ("shape", "text"),
    [((3, 4, 5, 2), "2-D k-space, got 3x4x5 points"), ((3, 4, 1, 2, 2), "only, got MAPS")],
)
def test_other_axes_are_refused(tmp_path, shape, text):
    write_cfl(tmp_path / "a", np.ones(shape))
    with pytest.raises(ValueError, match=text):
        read_bart(tmp_path / "a")


def test_writing_refuses_what_does_not_fit(tmp_path):
    with pytest.raises(ValueError, match="1 to 16 axes"):
        write_cfl(tmp_path / "a", np.ones([1] * 17))
    with pytest.raises(ValueError, match="1 to 16 axes"):
        write_cfl(tmp_path / "a", np.ones((3, 0)))
    with pytest.raises(ValueError, match=r"must have shape \(slices, coils, H, W\)"):
        write_bart(tmp_path / "a", torch.ones(3, 4))
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_kept(tmp_path):
    (tmp_path / "a.cfl").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write_cfl(tmp_path / "a", np.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.cfl"]
    assert (tmp_path / "a.cfl").read_bytes() == b"mine"
    write_cfl(tmp_path / "a", np.ones(3), overwrite=True)
    assert read_cfl(tmp_path / "a").shape[0] == 3


def test_lazily_conjugated_kspace_is_written(tmp_path):
    kspace = torch.randn(1, 2, 4, 6, dtype=torch.complex64)
    write_bart(tmp_path / "a", kspace.conj())
    assert torch.equal(read_bart(tmp_path / "a").kspace, kspace.conj().resolve_conj())
