"""Masks and coil maps in any usual order of axes."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from monarch_sciml.data.scans.fitting import fitting_axes
from monarch_sciml.data.scans.formats.bart import write_cfl
from monarch_sciml.data.scans.map_files import read_coil_maps
from monarch_sciml.data.scans.mask_files import read_mask

SHAPE = (3, 4, 6, 5)
GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.randn(*SHAPE, dtype=torch.complex64, generator=GENERATOR)
MASKS = torch.rand(3, 6, 5, generator=GENERATOR) > 0.4


@pytest.mark.parametrize("order", [(2, 3, 1, 0), (2, 3, 0, 1), (0, 2, 3, 1), (1, 0, 2, 3)])
@pytest.mark.parametrize("ending", ["npy", "mat"])
def test_maps_in_any_order(tmp_path, order, ending):
    array = MAPS.permute(order).numpy()
    path = tmp_path / f"maps.{ending}"
    np.save(path, array) if ending == "npy" else savemat(path, {"S": array, "other": np.ones(3)})
    assert torch.equal(read_coil_maps(path, SHAPE), MAPS)
    assert torch.equal(read_coil_maps(path, SHAPE, slices=range(1, 3)), MAPS[1:])


def test_the_first_reading_that_fits_counts():
    sizes = {"s": 4, "M": 1, "c": 4, "H": 8, "W": 8}
    assert fitting_axes((4, 4, 8, 8), sizes, ["M", "s"]) == ["s", "c", "H", "W"]
    assert fitting_axes((8, 8, 1, 4), sizes, ["M", "s"]) == ["H", "W", "1", "c"]
    assert fitting_axes((8, 7, 4), sizes, ["M", "s"]) is None


@pytest.mark.parametrize("per_slice", [False, True])
@pytest.mark.parametrize("ending", ["npy", "mat", "cfl", "npz"])
def test_masks(tmp_path, per_slice, ending):
    mask = MASKS if per_slice else MASKS[0]
    array = mask.numpy().astype(np.float32)
    array = array.transpose(1, 2, 0) if per_slice else array  # (H, W, s)
    path = tmp_path / f"mask.{ending}"
    if ending == "mat":
        savemat(path, {"mask": array, "other": np.ones(3)})
    elif ending == "cfl":
        write_cfl(path, array)
    else:
        (np.save if ending == "npy" else np.savez)(path, array)
    assert torch.equal(read_mask(path, (3, 6, 5)), mask)
    expected = mask[1:] if per_slice else mask
    assert torch.equal(read_mask(path, (3, 6, 5), range(1, 3)), expected)


def test_lines_and_masks_of_another_scan(tmp_path):
    np.save(tmp_path / "w.npy", MASKS[0, 0].numpy())
    assert torch.equal(read_mask(tmp_path / "w.npy", (3, 6, 5)), MASKS[0, 0].expand(6, 5))
    np.save(tmp_path / "h.npy", MASKS[0, :, 0].numpy())
    assert torch.equal(read_mask(tmp_path / "h.npy", (3, 6, 5)), MASKS[0, :, :1].expand(6, 5))
    with pytest.raises(
        ValueError, match=r"must fit k-space: \(H, W\) = \(7, 8\) or \(W,\), or one"
    ):
        read_mask(tmp_path / "w.npy", (3, 7, 8))
    savemat(tmp_path / "two.mat", {"a": np.ones(3), "b": np.ones(3)})
    with pytest.raises(ValueError, match="must hold one array, or one named mask, got a, b"):
        read_mask(tmp_path / "two.mat", (3, 6, 5))
