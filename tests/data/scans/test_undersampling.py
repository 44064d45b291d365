from typing import get_args

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.bart import write_cfl
from monarch_sciml.data.scans.mask_files import StoredMask
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.undersampling import (
    MaskName,
    apply_mask_file,
    undersample,
    window,
)
from monarch_sciml.physics.sampling import (
    EquispacedMask,
    RandomMask,
    UniformMask,
    volume_seed,
)

NAMES = get_args(MaskName)


@pytest.fixture
def scan():
    kspace = torch.randn(2, 3, 64, 48, dtype=torch.complex64, generator=torch.manual_seed(0))
    return Scan(kspace, name="a.h5")


@pytest.mark.parametrize("axis", ["columns", "rows"])
@pytest.mark.parametrize("name", NAMES)
def test_a_short_name_gives_about_the_acceleration_and_the_calibration(scan, name, axis):
    found, words = undersample(scan, name, acceleration=2, calibration=8, axis=axis)
    assert 1.6 < found.acceleration < 2.4
    assert name in words and "calibration 8" in words
    assert min(found.calibration) >= 8
    kept = found.mask
    assert torch.equal(found.kspace, scan.kspace * kept)
    if name != "poisson":
        lines = kept if axis == "columns" else kept.mT
        assert torch.equal(lines, lines[:1].expand_as(lines))
        assert f"along {axis}" in words


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("random", RandomMask(8 / 48, 3)),
        ("equispaced", EquispacedMask(8 / 48, 3)),
        ("uniform", UniformMask(3, 8)),
    ],
)
def test_short_names_draw_as_the_classes_do_with_fastmri_seeds(scan, name, mask):
    found, _ = undersample(scan, name, acceleration=3, calibration=8)
    assert torch.equal(found.mask.float(), mask(scan.matrix, volume_seed("a.h5")))
    by_class, words = undersample(scan, mask)
    assert torch.equal(by_class.mask, found.mask) and type(mask).__name__ in words


def test_the_seed_changes_random_masks(scan):
    settings = {"acceleration": 2, "calibration": 8}
    masks = [undersample(scan, "random", seed=seed, **settings)[0].mask for seed in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_acceleration_alone_is_uniform_and_nothing_is_nothing(scan):
    found, _ = undersample(scan, None, acceleration=4, calibration=0)
    assert torch.equal(found.mask.float(), UniformMask(4, 0)(scan.matrix))
    same, words = undersample(scan, None)
    assert torch.equal(same.kspace, scan.kspace) and words == "as acquired"


def test_an_empty_slice_does_not_make_a_mask_for_every_slice(scan):
    scan.kspace[1] = 0
    scan = Scan(scan.kspace * UniformMask(2, 8)(scan.matrix), name="a.h5")
    assert scan.mask.ndim == 3
    assert torch.equal(scan.with_shared_mask().mask.float(), UniformMask(2, 8)(scan.matrix))
    scan.kspace[1] = torch.ones(48) * UniformMask(3, 8)(scan.matrix)
    scan = Scan(scan.kspace)
    assert scan.with_shared_mask() is scan  # two slices that were sampled in two ways


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": "uniform", "acceleration": 2.5}, "`acceleration` must be a whole .* got 2.5"),
        ({"mask": "equispaced", "acceleration": 2.5}, "must be whole for equally"),
        ({"mask": "random", "acceleration": 0.5}, "at least 1, got 0.5"),
        ({"mask": "uniform", "calibration": 49}, "at most 48, the lines .* got 49"),
        ({"mask": "uniform", "calibration": -1}, "at least 0, got -1"),
        ({"mask": "poisson", "acceleration": 40}, "`acceleration` must lie between"),
        ({"mask": UniformMask(), "acceleration": 3}, "goes with the short name .* UniformMask"),
    ],
)
def test_settings_that_cannot_be_met(scan, options, words):
    with pytest.raises(ValueError, match=words):
        undersample(scan, **options)


def test_a_mask_in_a_file(scan, tmp_path):
    columns = np.arange(48) % 2 == 0
    np.save(tmp_path / "line.npy", columns)
    np.save(tmp_path / "grid.npy", np.broadcast_to(columns, (64, 48)).astype(np.float32))
    write_cfl(tmp_path / "bart", np.broadcast_to(columns, (64, 48))[None])
    for name in ("line.npy", "grid.npy", "bart.cfl"):
        found, words = apply_mask_file(scan, tmp_path / name)
        assert torch.equal(found.mask[5], torch.tensor(columns))
        assert found.acceleration == 2.0 and name in words


def test_a_mask_file_that_does_not_fit(scan, tmp_path):
    np.save(tmp_path / "wrong.npy", np.ones((48, 64)))
    np.save(tmp_path / "zero.npy", np.zeros(48))
    (tmp_path / "text.npy").write_text("mask")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(
        ValueError, match=r"fit k-space: .* \(64, 48\) or \(W,\), .* got \(48, 64\)"
    ):
        apply_mask_file(scan, tmp_path / "wrong.npy")
    with pytest.raises(ValueError, match="must keep acquired samples"):
        apply_mask_file(scan, tmp_path / "zero.npy")
    for name in ("text.npy", "zip.npy", "empty.npy"):
        with pytest.raises(ValueError, match=r"must be a (file of arrays|complete)"):
            apply_mask_file(scan, tmp_path / name)
    with pytest.raises(FileNotFoundError, match="must exist"):
        apply_mask_file(scan, tmp_path / "none.npy")


def test_a_window_of_slices():
    assert window((1, 3))(4) == slice(1, 3)
    for bad in ((0, 5), (2, 2), (-1, 2)):
        with pytest.raises(ValueError, match="of 4 slices"):
            window(bad)(4)


def test_a_mask_of_each_file(scan, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["masks/own"] = np.arange(48) % 3 == 0
    stored = Scan(scan.kspace, name="a.h5", path=tmp_path / "a.h5")
    found, words = undersample(stored, StoredMask(dataset="masks/own"))
    assert found.acceleration == 3.0 and "masks/own" in words


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_the_acceleration_counts_what_a_padded_scan_measured(axis):
    kspace = torch.zeros(1, 1, 60, 44, dtype=torch.complex64)
    kspace[..., 4:56, 8:36] = 1  # zero-padded, as SKM-TEA's planes are
    scan = Scan(kspace, header={"row_padding": (4, 56), "padding": (8, 36)})
    under, _ = undersample(scan, "poisson", acceleration=3, calibration=8, axis=axis)
    assert under.acceleration == pytest.approx(3, rel=0.05)
    assert min(under.calibration) >= 8
