"""Scans of any format through one door: shapes, slices, empty slices, folders."""

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.source import open_scan, scan_files


@pytest.fixture
def kspace():
    return torch.randn(3, 2, 8, 6, dtype=torch.complex64)


def written(kspace, path):
    if path.suffix == ".h5":
        write_fastmri(path, Scan(kspace), attributes={"patient_id": "someone"})
    elif path.suffix == ".cfl":
        write_bart(path, kspace)
    else:
        np.save(path, kspace.numpy())
    return path


@pytest.mark.parametrize("suffix", [".h5", ".cfl", ".npy"])
def test_slices_of_every_format(kspace, tmp_path, suffix):
    file = open_scan(written(kspace, tmp_path / f"a{suffix}"))
    facts = file.facts
    assert facts.shape == (3, 2, 8, 6) and (facts.rows, facts.columns) == ((0, 8), (0, 6))
    assert facts.subject == ("someone" if suffix == ".h5" else f"a{suffix}")
    for i in (0, 2):
        scan = file.read_slice(i)
        assert torch.equal(scan.kspace[0], kspace[i]) and scan.n_slices == 1
    for i in (3, -1):
        with pytest.raises(ValueError, match=rf"must lie in 0..2, got {i}"):
            file.read_slice(i)


@pytest.mark.parametrize("suffix", [".h5", ".cfl", ".npy"])
def test_an_empty_slice_is_read_and_a_damaged_one_is_not(kspace, tmp_path, suffix):
    kspace[2] = 0
    kspace[0, 0, 3, 3] = torch.nan
    path = tmp_path / f"a{suffix}"
    if suffix == ".h5":
        written(torch.ones_like(kspace), path)
        with h5py.File(path, "r+") as file:
            file["kspace"][...] = kspace.numpy()
    else:
        written(kspace, path)
    file = open_scan(path)
    empty = file.read_slice(2)
    assert not empty.kspace.any() and bool(empty.mask.all()) and empty.mask.shape == (8, 6)
    with pytest.raises(ValueError, match=rf"a{suffix}.* must be finite, got 1 NaN"):
        file.read_slice(0)


def test_options_go_to_the_reader(kspace, tmp_path):
    np.save(tmp_path / "a.npy", kspace.permute(0, 2, 3, 1).numpy())
    file = open_scan(tmp_path / "a.npy", {"axes": "slice,height,width,coil"})
    assert file.facts.shape == (3, 2, 8, 6) and torch.equal(file.read_slice(1).kspace[0], kspace[1])


@pytest.mark.parametrize("name", ["axis", "slices"])
def test_unknown_options_of_the_reader_are_refused(kspace, tmp_path, name):
    path = written(kspace, tmp_path / "a.npy")
    with pytest.raises(ValueError, match=rf"`reader` must be one of .*'axes'.* got '{name}'"):
        open_scan(path, {name: "coil,height,width"})


def test_every_error_names_the_file(kspace, tmp_path):
    path = written(kspace, tmp_path / "scan_7.h5")
    with h5py.File(path, "r+") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = "<nonsense>"
    with pytest.raises(ValueError, match=r"scan_7.h5: `ismrmrd_header` must give") as error:
        open_scan(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["coil_maps", "target"])
def test_maps_and_targets_with_nan_are_refused(kspace, tmp_path, name):
    path = tmp_path / "a.h5"
    maps, target = torch.ones_like(kspace), torch.ones(3, 8, 6, dtype=torch.complex64)
    write_fastmri(path, Scan(kspace, coil_maps=maps, target=target))
    with h5py.File(path, "r+") as file:
        file[name][1, ..., 2] = np.nan
    with pytest.raises(ValueError, match=rf"`{name} of a.h5` must be finite"):
        open_scan(path).read_slice(1)


def test_a_folder_of_scans(kspace, tmp_path):
    for name in ("b.cfl", "a.h5", "c.npy", ".hidden.npy"):
        written(kspace, tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing to read")
    assert [path.name for path in scan_files(tmp_path)] == ["a.h5", "b.cfl", "c.npy"]
    assert [path.name for path in scan_files(tmp_path, "[bc]*")] == ["b.cfl", "c.npy"]
    with pytest.raises(FileNotFoundError, match=r"scans named \*.mat that end in .* got none"):
        scan_files(tmp_path, "*.mat")
    with pytest.raises(FileNotFoundError, match="the folder of scans must exist"):
        scan_files(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="must be a folder, got the file"):
        scan_files(tmp_path / "a.h5")
