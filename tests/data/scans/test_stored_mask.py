"""Masks in files of every format, those of SKM-TEA, zero-padding, foreign files and sizes."""

import h5py
import numpy as np
import pytest
import torch
from scipy.io import savemat

from monarch_sciml import physics
from monarch_sciml.data import StoredMask
from monarch_sciml.data.scans.formats.bart import write_cfl
from monarch_sciml.data.scans.mask_files import read_mask
from monarch_sciml.physics import PoissonDiscMask, RandomMask

MASK = PoissonDiscMask(2.0, 4)((20, 12)).numpy()


@pytest.fixture
def tea(tmp_path):
    path = tmp_path / "MTR_001.h5"
    with h5py.File(path, "w") as file:
        file["masks/poisson_6.0x"] = MASK.astype(np.uint8)
        file["masks/poisson_4.0x"] = MASK.astype(np.uint8)[None]
        file["kspace"] = np.zeros((2, 3, 4, 5), np.complex64)
    return path


@pytest.mark.parametrize("kind", [bool, np.float32, np.complex64])
def test_npy(tmp_path, kind):
    np.save(tmp_path / "mask.npy", MASK.astype(kind))
    mask = StoredMask(str(tmp_path / "mask.npy"))
    drawn = mask((3, 20, 12), seed=5)
    assert drawn.dtype == torch.float32 and np.array_equal(drawn.numpy(), MASK)
    assert torch.equal(drawn, mask((20, 12)))  # no seed
    assert mask.of_volume("other.h5") == mask


@pytest.mark.parametrize("ending", ["npz", "mat", "h5", "pt", "cfl"])
@pytest.mark.parametrize("named", [False, True])
def test_every_format_of_arrays(tmp_path, ending, named):
    path, values = tmp_path / f"mask.{ending}", MASK.astype(np.float32)
    arrays = {"own": values, "other": np.ones((20, 12))} if named else {"anything": values}
    if ending == "cfl":
        write_cfl(path, values)
    elif ending == "h5":
        with h5py.File(path, "w") as file:
            file.update(arrays)
    elif ending == "pt":
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    elif ending == "mat":
        savemat(path, arrays)
    else:
        np.savez(path, **arrays)
    mask = StoredMask(path, "own" if named and ending != "cfl" else None)
    assert np.array_equal(mask((20, 12)).numpy(), MASK)
    assert named or np.array_equal(read_mask(path, (3, 20, 12)).numpy(), MASK)


def test_lines_of_matlab_and_rows(tmp_path):
    savemat(tmp_path / "lines.mat", {"pattern": np.array([[0, 1, 1, 0, 1]])})  # (1, W)
    expected = torch.tensor([0, 1, 1, 0, 1.0])
    assert torch.equal(StoredMask(tmp_path / "lines.mat")((3, 5)), expected.expand(3, 5))
    assert torch.equal(StoredMask(tmp_path / "lines.mat")((5, 3)), expected[:, None].expand(5, 3))


def test_the_name_of_before_is_the_same_class():
    assert physics.StoredMask is physics.sampling.StoredMask is StoredMask


def test_columns(tmp_path):
    np.save(tmp_path / "mask.npy", np.array([0, 1, 1, 0, 1]))
    drawn = StoredMask(tmp_path / "mask.npy")((3, 5))
    assert torch.equal(drawn, torch.tensor([0, 1, 1, 0, 1.0]).expand(3, 5))
    padded = StoredMask(tmp_path / "mask.npy", zero_pad=True)((2, 8))
    assert torch.equal(padded, torch.tensor([0, 0, 0, 1, 1, 0, 1, 0.0]).expand(2, 8))


def test_in_the_file_of_each_scan_and_padded(tea):
    mask = StoredMask(dataset="masks/poisson_6.0x", zero_pad=True)
    drawn = mask.of_volume(tea)((24, 14))
    assert np.array_equal(drawn[2:22, 1:13].numpy(), MASK) and drawn.sum() == MASK.sum()
    again = StoredMask(dataset="masks/poisson_4.0x").of_volume(tea)((20, 12))
    assert np.array_equal(again.numpy(), MASK)
    with pytest.raises(ValueError, match="belongs to the file of a scan, got no file"):
        mask((24, 14))
    other = RandomMask()
    assert other.of_volume(tea) is other


@pytest.mark.parametrize(("old", "new"), [(4, 7), (5, 8), (5, 7), (4, 8)])
def test_padding_keeps_the_centre_at_the_centre(tmp_path, old, new):
    values = np.zeros((old, old))
    values[old // 2, old // 2] = 1
    np.save(tmp_path / "mask.npy", values)
    drawn = StoredMask(tmp_path / "mask.npy", zero_pad=True)((new, new))
    assert drawn[new // 2, new // 2] == 1 and drawn.sum() == 1


def test_bad_files(tmp_path, tea):
    cases = {
        r"must name one of the arrays of .*: .*masks.poisson_6.0x .*, got 'masks/x'": StoredMask(
            tea, "masks/x"
        ),
        "or one named mask, got .*poisson_6.0x.* Pass `dataset`, its name": StoredMask(tea),
    }
    np.save(tmp_path / "mask.npy", MASK)
    cases[r"must be \(10, 12\) or \(12,\) as k-space, got \(20, 12\). Use the mask of this"] = (
        StoredMask(tmp_path / "mask.npy", zero_pad=True)
    )
    (tmp_path / "text.npy").write_text("no mask")
    cases["must be a file of arrays .* got content that starts with b'no mask'"] = StoredMask(
        tmp_path / "text.npy"
    )
    (tmp_path / "cut.npy").write_bytes((tmp_path / "mask.npy").read_bytes()[:140])
    cases["cut.npy must be a complete"] = StoredMask(tmp_path / "cut.npy")
    (tmp_path / "cut.h5").write_bytes(tea.read_bytes()[:600])
    cases["cut.h5 must be a complete"] = StoredMask(tmp_path / "cut.h5")
    for text, mask in cases.items():
        with pytest.raises(ValueError, match=text) as error:
            mask((10, 12))
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="or `zero_pad` for one of the acquired size"):
        StoredMask(tmp_path / "mask.npy")((24, 12))
    with pytest.raises(FileNotFoundError, match="the file must exist"):
        StoredMask(tmp_path / "none.npy")((24, 12))
