import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.skm_tea import read_skm_tea, read_skm_tea_mask
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.recognise import recognise
from monarch_sciml.data.scans.samples import ScanDataset
from monarch_sciml.physics.sampling import PoissonDiscMask, achieved_acceleration
from monarch_sciml.physics.sense_operator import combine, ifft2c

X, H, W, COILS = 6, 32, 20, 3
ACQUIRED = (26, 12)
TOP, LEFT = (H - ACQUIRED[0]) // 2, (W - ACQUIRED[1]) // 2


def volume(seed=0):
    """k-space (X, H, W, 2, c), maps (X, H, W, c, 1), target (X, H, W, 2, 1) as in the data set."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        parts = rng.standard_normal((2, *shape)).astype(np.float32)
        return parts[0] + 1j * parts[1]

    maps = normal(X, H, W, COILS)
    maps /= np.sqrt((abs(maps) ** 2).sum(-1, keepdims=True))
    kspace = np.zeros((X, H, W, 2, COILS), np.complex64)
    box = (slice(None), slice(TOP, TOP + ACQUIRED[0]), slice(LEFT, LEFT + ACQUIRED[1]))
    kspace[box] = normal(X, *ACQUIRED, 2, COILS)
    axes = (1, 2)
    images = np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho")
    images = np.fft.fftshift(images, axes=axes)
    target = (images * maps.conj()[:, :, :, None]).sum(-1)  # (X, H, W, 2)
    return kspace, maps[..., None], target[..., None].astype(np.complex64)


@pytest.fixture
def scan_file(tmp_path):
    kspace, maps, target = volume()
    with h5py.File(tmp_path / "MTR_001.h5", "w") as file:
        file["kspace"], file["maps"], file["target"] = kspace, maps, target
        for acceleration in (4.0, 6.0):
            mask = np.random.default_rng(int(acceleration)).random(ACQUIRED) < 1 / acceleration
            file[f"masks/poisson_{acceleration}x"] = mask
    return tmp_path / "MTR_001.h5"


@pytest.mark.parametrize("echo", [0, 1])
def test_slices_are_the_phase_encode_planes_of_one_echo(scan_file, echo):
    kspace, maps, target = volume()
    assert recognise(scan_file) == "skm-tea"
    scan = read_scan(scan_file, contrast=echo)
    assert scan.kspace.shape == (X, COILS, H, W) and scan.transformed == ("readout",)
    np.testing.assert_array_equal(scan.kspace[2, 1], kspace[2, :, :, echo, 1])
    np.testing.assert_array_equal(scan.coil_maps[2, 1], maps[2, :, :, 1, 0])
    np.testing.assert_array_equal(scan.target[2], target[2, :, :, echo, 0])
    combined = combine(ifft2c(scan.kspace), scan.coil_maps)
    torch.testing.assert_close(combined, scan.target, rtol=1e-4, atol=1e-5)


def test_slices_are_read_alone(scan_file):
    full, part = read_skm_tea(scan_file), read_skm_tea(scan_file, slices=slice(3, 5))
    torch.testing.assert_close(part.kspace, full.kspace[3:5], rtol=0, atol=0)
    assert part.coil_maps.shape[0] == part.target.shape[0] == 2
    assert part.header["shape"] == (X, COILS, H, W)


def test_zero_padding_is_not_undersampling(scan_file):
    scan = read_scan(scan_file)
    assert scan.header["row_padding"] == (TOP, TOP + ACQUIRED[0])
    assert scan.header["padding"] == (LEFT, LEFT + ACQUIRED[1])
    assert scan.acceleration == 1 and scan.fully_sampled
    assert scan.mask.sum() == ACQUIRED[0] * ACQUIRED[1]


def test_without_stored_masks_the_padding_is_what_is_zero(scan_file):
    with h5py.File(scan_file, "r+") as file:
        del file["masks"]
    scan = read_scan(scan_file)
    assert scan.header["row_padding"] == (TOP, TOP + ACQUIRED[0]) and scan.acceleration == 1


def test_stored_masks_are_padded_to_the_centre(scan_file):
    mask = read_skm_tea_mask(scan_file, 4)
    with h5py.File(scan_file) as file:
        stored = file["masks/poisson_4.0x"][()]
    assert mask.shape == (H, W) and mask.sum() == stored.sum()
    inside = mask[TOP : TOP + ACQUIRED[0], LEFT : LEFT + ACQUIRED[1]]
    np.testing.assert_array_equal(inside, stored)
    scan = read_scan(scan_file)
    expected = ACQUIRED[0] * ACQUIRED[1] / stored.sum()
    assert scan.undersampled(mask).acceleration == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"masks/poisson_4.0x .*got 'masks/poisson_8.0x'"):
        read_skm_tea_mask(scan_file, 8)


def test_the_sizes_of_the_data_set(tmp_path):
    """A mask of (416, Nz - 80) goes to rows 48..464 and columns 40..Nz - 40 of (512, Nz)."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", (512, 512, 160, 2, 8), np.complex64)  # not on the disk
        file["masks/poisson_6.0x"] = np.ones((416, 80), bool)
    mask = read_skm_tea_mask(tmp_path / "a.h5", 6.0)
    assert mask.any(1).nonzero().flatten().tolist() == [*range(48, 464)]
    assert mask.any(0).nonzero().flatten().tolist() == [*range(40, 120)]


def test_describe(scan_file):
    found = describe_scan(scan_file)
    assert (found["format"], found["slices"], found["coils"]) == ("SKM-TEA", X, COILS)
    assert (found["matrix"], found["contrasts"]) == ((H, W), 2)
    assert found["transformed"] == ("readout",) and found["coil_maps"]
    assert found["reference"] == f"target {(X, H, W)}"
    assert found["masks"] == ["poisson_4.0x", "poisson_6.0x"]
    assert found["acceleration"] == 1 and found["fully_sampled"]


def test_bad_files(scan_file):
    with pytest.raises(ValueError, match=r"must be an echo in 0..1, got 2"):
        read_scan(scan_file, contrast=2)
    with h5py.File(scan_file, "r+") as file:
        del file["target"]
        file["target"] = np.zeros((X, H, W, 1, 1), np.complex64)
    with pytest.raises(
        ValueError, match=r"`target` of .* must have shape \(6, 32, 20, 2, 1\), got"
    ):
        read_scan(scan_file)
    data = scan_file.read_bytes()
    for share in (0.1, 0.5, 0.9):
        scan_file.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match="must be a complete HDF5 file"):
            read_scan(scan_file)


def test_masks_of_samples_are_drawn_where_the_plane_was_acquired(scan_file):
    sample = ScanDataset([scan_file], PoissonDiscMask(2.0, 4), coil_maps="stored")[0]
    box = sample["mask"][TOP : TOP + ACQUIRED[0], LEFT : LEFT + ACQUIRED[1]]
    assert box.sum() == sample["mask"].sum()
    assert achieved_acceleration(box) == pytest.approx(2, rel=0.05)
