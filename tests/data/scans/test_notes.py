import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.notes import gaps, suspicions
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.sense_operator import fft2c


def image_kspace(n_coils=4, height=24, width=20):
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    disc = (x**2 + y**2 < 0.6).float() * (1 + 0.3 * torch.sin(9 * x))
    coils = torch.stack([torch.polar(1 + 0.1 * c * y, c + x) for c in range(n_coils)])
    return fft2c(disc * coils)[None]


def test_a_good_scan_has_no_notes():
    assert suspicions(Scan(image_kspace())) == []
    noise = torch.randn(1, 4, 24, 20, dtype=torch.complex64)
    assert suspicions(Scan(noise)) == []


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_dead_coils_are_named(level):
    kspace = image_kspace()
    kspace[:, [1, 3]] *= level
    assert suspicions(Scan(kspace)) == [
        "dead coils 1, 3 of 4 (counted from 0): no signal",
    ]
    kspace[:, 1] = image_kspace()[:, 1] * 1e-3  # a weak coil is not a dead one
    assert suspicions(Scan(kspace)) == ["dead coil 3 of 4 (counted from 0): no signal"]


def test_kspace_that_is_not_centred():
    shifted = torch.fft.ifftshift(image_kspace(), dim=(-2, -1))
    (note,) = suspicions(Scan(shifted))
    assert "may not be centred" in note
    assert "may not be centred" in suspicions(Scan(torch.fft.ifftshift(image_kspace(1), dim=-1)))[0]


def test_a_coil_axis_in_the_wrong_place(tmp_path):
    coils_last = image_kspace(8)[0].permute(1, 2, 0)  # (H, W, c), read as (c, H, W)
    np.save(tmp_path / "a.npy", coils_last.numpy())
    scan = read_scan(tmp_path / "a.npy")
    assert scan.notes[0].startswith("the axes were read as height,width,coil")
    assert scan.notes == describe_scan(tmp_path / "a.npy")["notes"]
    assert read_scan(tmp_path / "a.npy", axes="height,width,coil").notes == []


def test_complex128_is_said(tmp_path):
    np.save(tmp_path / "a.npy", image_kspace().numpy().astype(np.complex128))
    assert describe_scan(tmp_path / "a.npy")["dtype"] == "complex128"
    assert read_scan(tmp_path / "a.npy").kspace.dtype == torch.complex64


def test_describing_a_large_array_reads_one_slice(tmp_path):
    """A sparse file of 32 GB: reading it whole would not end well."""
    path = tmp_path / "big.npy"
    shape = (4000, 8, 1000, 125)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.complex64, shape=shape)
    array[2000, :, 500, 60] = 1
    array[2000, :, 499, 61] = 1
    del array
    found = describe_scan(path)
    assert found["slices"] == 4000 and found["matrix"] == (1000, 125)
    cfl = tmp_path / "big.cfl"
    cfl.with_suffix(".hdr").write_text("# Dimensions\n1000 125 1 8 1 1 1 1 1 1 1 1 1 4000 1 1\n")
    sparse = np.memmap(cfl, dtype="<c8", mode="w+", shape=shape[::-1], order="C")
    sparse.reshape(-1)[2000 * 10**6 + 500 + 1000 * 60] = 1
    del sparse
    assert describe_scan(cfl)["slices"] == 4000


def test_lines_that_are_missing_are_said():
    whole = image_kspace(height=64, width=48)
    assert gaps(Scan(whole)) is None
    kspace = whole.clone()
    kspace[..., [0, 1]] = 0
    assert "2 of 48 lines were not acquired, at the edge of k-space" in gaps(Scan(kspace))
    kspace[..., 20] = 0
    assert "3 of 48 lines were not acquired, 1 of them between" in gaps(Scan(kspace))
    padded = Scan(kspace, header={"padding": (2, 48)})
    assert "1 of 46 lines were not acquired, 1 of them" in gaps(padded)
    kspace[..., ::2] = 0  # undersampled on purpose
    assert gaps(Scan(kspace)) is None


def test_missing_lines_are_described(tmp_path):
    kspace = image_kspace()[0].numpy()
    kspace[..., 10] = 0
    np.save(tmp_path / "a.npy", kspace)
    (note,) = describe_scan(tmp_path / "a.npy")["notes"]
    assert note.startswith("1 of 20 lines were not acquired, 1 of them between acquired ones")
