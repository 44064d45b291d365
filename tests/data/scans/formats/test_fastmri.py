import h5py
import numpy as np
import pytest
import torch

from monarch_sciml.data.scans.formats.fastmri import (
    read_fastmri,
    read_header,
    read_slice,
    write_fastmri,
)
from monarch_sciml.data.scans.formats.ismrmrd_header import minimal_header, padding_from_header
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.sampling import RandomMask
from monarch_sciml.physics.sense_operator import center_crop, ifft2c, rss

# the layout of a file of the challenge, as far as its readers look at it; knee: 640 x 368 encoded,
# 320 x 320 reconstructed, limits 0 to 321 around 184 - 2
XML = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <studyInformation><studyDate>1970-01-01</studyDate></studyInformation>
 <encoding>
  <encodedSpace><matrixSize><x>12</x><y>{columns}</y><z>1</z></matrixSize></encodedSpace>
  <reconSpace><matrixSize><x>6</x><y>6</y><z>1</z></matrixSize></reconSpace>
  <encodingLimits><kspace_encoding_step_1>
   <minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
  </kspace_encoding_step_1></encodingLimits>
 </encoding>
</ismrmrdHeader>"""


def random_kspace(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def write_challenge_file(path, *, singlecoil=False, split="val", padding=(1, 9)):
    """Write a tiny file as the challenge's: 3 slices, 4 coils, 12 x 10, reconstruction 6 x 6."""
    full = random_kspace(3, 1 if singlecoil else 4, 12, 10)
    full[..., : padding[0]] = full[..., padding[1] :] = 0
    reference = center_crop(rss(ifft2c(full), dim=1), (6, 6))
    with h5py.File(path, "w") as file:
        columns = np.zeros(10, dtype=bool)
        columns[[2, 4, 5, 6, 8]] = True
        kspace = full[:, 0] if singlecoil else full
        if split == "test":
            kspace = kspace * torch.from_numpy(columns)
            file["mask"] = columns.astype(np.uint8)
            file.attrs["acceleration"] = 4
            file.attrs["num_low_frequency"] = 3
        else:
            if singlecoil:
                file["reconstruction_esc"] = reference.numpy()
            file["reconstruction_rss"] = 2 * reference.numpy() if singlecoil else reference.numpy()
            file.attrs["max"] = float(reference.max())
            file.attrs["norm"] = float(torch.linalg.vector_norm(reference))
        file["kspace"] = kspace.numpy()
        left, right = padding
        header = XML.format(columns=10, maximum=right - left - 1, center=5 - left)
        file["ismrmrd_header"] = header
        file.attrs["acquisition"] = "CORPD_FBK"
        file.attrs["patient_id"] = "0beef"
    return full, reference


def test_multicoil_validation_file(tmp_path):
    full, reference = write_challenge_file(tmp_path / "file1000000.h5")
    scan = read_fastmri(tmp_path / "file1000000.h5").validate()
    torch.testing.assert_close(scan.kspace, full, rtol=0, atol=0)
    torch.testing.assert_close(scan.target, reference, rtol=0, atol=0)
    assert scan.header["acquisition"] == "CORPD_FBK"
    assert scan.header["reference"] == "reconstruction_rss"
    assert scan.header["attributes"]["patient_id"] == "0beef"
    assert scan.name == "file1000000.h5" and scan.path == tmp_path / scan.name


def test_padding_columns_count_neither_as_acquired_nor_as_missing(tmp_path):
    write_challenge_file(tmp_path / "a.h5", padding=(1, 9))
    scan = read_fastmri(tmp_path / "a.h5")
    assert scan.header["padding"] == (1, 9)
    assert not scan.mask[:, 0].any() and not scan.mask[:, 9].any() and scan.mask[:, 1:9].all()
    assert scan.acceleration == 1.0 and scan.fully_sampled


@pytest.mark.parametrize(
    ("encoded", "center", "maximum", "expected"),
    [(368, 182, 363, (2, 366)), (372, 186, 371, (0, 372)), (640, 161, 321, (159, 481))],
)
def test_padding_formula(encoded, center, maximum, expected):
    xml = XML.format(columns=encoded, center=center, maximum=maximum)
    assert padding_from_header(xml.encode()) == expected


@pytest.mark.parametrize("padding", [None, (1, 9), (0, 10), (2, 7)])
def test_header_that_is_written_is_read(padding):
    xml = minimal_header((12, 10), (6, 6), padding)
    assert padding_from_header(xml) == (padding or (0, 10))


@pytest.mark.parametrize("xml", ["", "<a", "<a/>", XML.format(columns="x", center=1, maximum=2)])
def test_malformed_header_is_refused(tmp_path, xml):
    with pytest.raises(ValueError, match=r"`ismrmrd_header` must give the encoded matrix size"):
        padding_from_header(xml)


def test_singlecoil_takes_the_emulated_reference(tmp_path):
    full, reference = write_challenge_file(tmp_path / "a.h5", singlecoil=True)
    scan = read_fastmri(tmp_path / "a.h5").validate()
    assert scan.kspace.shape == (3, 1, 12, 10)
    torch.testing.assert_close(scan.kspace, full, rtol=0, atol=0)
    assert scan.header["reference"] == "reconstruction_esc"
    torch.testing.assert_close(scan.target, reference, rtol=0, atol=0)


@pytest.mark.parametrize("singlecoil", [False, True])
def test_test_file_has_a_mask_and_no_reference(tmp_path, singlecoil):
    write_challenge_file(tmp_path / "a.h5", split="test", singlecoil=singlecoil)
    scan = read_fastmri(tmp_path / "a.h5").validate()
    assert scan.target is None and scan.header["reference"] is None
    assert scan.mask.shape == (12, 10)
    assert scan.mask.any(0).nonzero().flatten().tolist() == [2, 4, 5, 6, 8]
    assert scan.acceleration == pytest.approx(8 / 5)  # 8 encoded columns, 5 acquired
    assert scan.calibration == (12, 3)
    assert not scan.fully_sampled
    assert scan.header["attributes"]["num_low_frequency"] == 3


def test_slices_are_read_one_by_one_and_the_file_is_closed(tmp_path):
    full, reference = write_challenge_file(tmp_path / "a.h5")
    for i in range(3):
        scan = read_slice(tmp_path / "a.h5", i)
        torch.testing.assert_close(scan.kspace, full[i : i + 1], rtol=0, atol=0)
        torch.testing.assert_close(scan.target, reference[i : i + 1], rtol=0, atol=0)
        with h5py.File(tmp_path / "a.h5", "r+"):  # fails while the file is open for reading
            pass
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=rf"must lie in 0..2, got {wrong}"):
            read_slice(tmp_path / "a.h5", wrong)


def test_a_range_of_slices(tmp_path):
    full, _ = write_challenge_file(tmp_path / "a.h5")
    scan = read_fastmri(tmp_path / "a.h5", slices=slice(1, None))
    torch.testing.assert_close(scan.kspace, full[1:], rtol=0, atol=0)
    assert read_header(tmp_path / "a.h5")["shape"] == (3, 4, 12, 10)


def test_round_trip_of_a_full_scan_with_maps_and_target(tmp_path):
    kspace = random_kspace(2, 3, 8, 7)
    maps, target = random_kspace(2, 3, 8, 7, seed=1), random_kspace(2, 8, 7, seed=2)
    header = {"acquisition": "AXT2", "attributes": {"generator": "test", "answer": 42}}
    write_fastmri(
        tmp_path / "a.h5",
        Scan(kspace, coil_maps=maps, target=target, header=header),
        attributes={"settings": {"noise": 0.5}},
    )
    back = read_fastmri(tmp_path / "a.h5").validate()
    for got, expected in ((back.kspace, kspace), (back.coil_maps, maps), (back.target, target)):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert back.header["reference"] == "target" and back.header["acquisition"] == "AXT2"
    attributes = back.header["attributes"]
    assert (attributes["generator"], attributes["answer"]) == ("test", 42)
    assert attributes["settings"] == '{"noise": 0.5}'
    with h5py.File(tmp_path / "a.h5") as file:
        expected = np.sqrt((np.abs(ifft2c(kspace).numpy()) ** 2).sum(1))
        np.testing.assert_allclose(file["reconstruction_rss"], expected, rtol=1e-5)
        assert file["reconstruction_rss"].dtype == np.float32
        assert file.attrs["max"] == pytest.approx(expected.max(), rel=1e-5)
        assert file.attrs["norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-5)
        assert "mask" not in file


@pytest.mark.parametrize("columns_only", [True, False])
def test_round_trip_of_an_undersampled_scan(tmp_path, columns_only):
    mask = RandomMask(0.2, 2)((12, 10), seed=1) != 0
    if not columns_only:
        mask[3] = False
    kspace = random_kspace(2, 3, 12, 10) * mask
    reconstruction = random_kspace(2, 12, 10)
    write_fastmri(tmp_path / "a.h5", Scan(kspace), reconstruction=reconstruction)
    back = read_fastmri(tmp_path / "a.h5")
    assert torch.equal(back.mask, mask)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["mask"].shape == ((10,) if columns_only else (12, 10))
        assert "reconstruction_rss" not in file
        np.testing.assert_array_equal(file["reconstruction"], reconstruction.numpy())
        assert file.attrs["acceleration"] == pytest.approx(120 / mask.sum().item())


def test_round_trip_of_a_scan_in_hybrid_space(tmp_path):
    kspace = random_kspace(3, 2, 12, 10)
    kspace[:, :, :3] = kspace[:, :, 9:] = 0
    header = {"row_padding": (3, 9), "padding": (0, 10), "voxel_size": (0.5, 0.75, 1.25)}
    scan = Scan(kspace, header=header, transformed=("readout",))
    write_fastmri(tmp_path / "a.h5", scan)
    back = read_fastmri(tmp_path / "a.h5")
    assert back.transformed == ("readout",) and back.acceleration == scan.acceleration == 1
    for key, value in header.items():
        assert back.header[key] == pytest.approx(value), key
    # a copy that is no longer in hybrid space does not inherit the flags
    back.transformed, back.header["row_padding"] = (), None
    write_fastmri(tmp_path / "b.h5", back)
    assert read_fastmri(tmp_path / "b.h5").transformed == ()
    assert read_fastmri(tmp_path / "b.h5").header["row_padding"] is None
    with h5py.File(tmp_path / "b.h5", "a") as file:  # attributes of others stay what they are
        file.attrs["transformed"] = "yes"
    other = read_fastmri(tmp_path / "b.h5")
    assert other.transformed == () and other.header["attributes"]["transformed"] == "yes"


def test_voxel_size_of_a_challenge_file(tmp_path):
    write_challenge_file(tmp_path / "a.h5")
    assert read_header(tmp_path / "a.h5")["voxel_size"] is None  # no field of view
    with h5py.File(tmp_path / "a.h5", "a") as file:
        text = file["ismrmrd_header"][()].decode()
        fov = "</matrixSize><fieldOfView_mm><x>24</x><y>15</y><z>4.5</z></fieldOfView_mm></encoded"
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = text.replace("</matrixSize></encoded", fov)
    assert read_header(tmp_path / "a.h5")["voxel_size"] == (4.5, 2.0, 1.5)
    with h5py.File(tmp_path / "a.h5", "a") as file:  # a copy with the oversampling cut off
        kspace = file["kspace"][:, :, :6]
        del file["kspace"]
        file["kspace"] = kspace
    assert read_header(tmp_path / "a.h5")["voxel_size"] is None


@pytest.mark.parametrize("singlecoil", [False, True])
def test_copy_of_a_challenge_file(tmp_path, singlecoil):
    write_challenge_file(tmp_path / "a.h5", singlecoil=singlecoil)
    scan = read_fastmri(tmp_path / "a.h5")
    write_fastmri(tmp_path / "b.h5", scan)
    back = read_fastmri(tmp_path / "b.h5")
    torch.testing.assert_close(back.kspace, scan.kspace, rtol=0, atol=0)
    torch.testing.assert_close(back.target, scan.target, rtol=0, atol=0)
    for key in ("shape", "singlecoil", "acquisition", "padding", "reference"):
        assert back.header[key] == scan.header[key], key


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path):
    with pytest.raises(ValueError, match="must be finite"):
        write_fastmri(tmp_path / "a.h5", Scan(random_kspace(1, 2, 4, 4) * float("nan")))
    with pytest.raises(TypeError):
        write_fastmri(
            tmp_path / "a.h5", Scan(random_kspace(1, 2, 4, 4)), attributes={"x": object()}
        )
    assert list(tmp_path.iterdir()) == []
    write_fastmri(tmp_path / "a.h5", Scan(random_kspace(1, 2, 4, 4)))
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write_fastmri(tmp_path / "a.h5", Scan(random_kspace(1, 2, 4, 4, seed=1)))
    assert (tmp_path / "a.h5").read_bytes() == before


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_challenge_file(tmp_path / "a.h5", split="test")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["mask"]
        file["mask"] = np.ones(11)
    with pytest.raises(ValueError, match=r"`mask` of .* must have shape \(W,\) or \(H, W\)"):
        read_fastmri(tmp_path / "a.h5")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, share):
    write_challenge_file(tmp_path / "a.h5")
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[: int(share * len(data))])
    for read in (read_fastmri, read_header):
        with pytest.raises(ValueError, match="must be a complete HDF5 file, got") as error:
            read(tmp_path / "a.h5")
        assert "\n" not in str(error.value)


def test_damaged_bytes_never_give_another_error(tmp_path):
    write_challenge_file(tmp_path / "a.h5")
    data = bytearray((tmp_path / "a.h5").read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = data.copy()
        start = rng.integers(0, 3000)
        damaged[start : start + 64] = rng.bytes(64)
        (tmp_path / "b.h5").write_bytes(damaged)
        try:
            read_fastmri(tmp_path / "b.h5").validate()
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 10


def test_other_hdf5_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "fields.h5", "w") as file:
        file["u"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"must hold the data set `kspace` .*, got u"):
        read_fastmri(tmp_path / "fields.h5")
    with h5py.File(tmp_path / "skm.h5", "w") as file:
        file["kspace"] = np.zeros((4, 4, 2, 2, 3), dtype=np.complex64)
    with pytest.raises(ValueError, match=r"must be a fastMRI file .*, got an SKM-TEA file"):
        read_fastmri(tmp_path / "skm.h5")
    with h5py.File(tmp_path / "real.h5", "w") as file:
        file["kspace"] = np.zeros((4, 4, 4))
    with pytest.raises(ValueError, match="float64"):
        read_fastmri(tmp_path / "real.h5")
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("kspace")
    with pytest.raises(ValueError, match="must hold the data set `kspace`"):
        read_fastmri(tmp_path / "group.h5")


def test_an_ismrmrd_file_is_named(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["dataset/xml"] = [XML.format(columns=10, center=5, maximum=9)]
        file["dataset/data"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"got an ISMRMRD \(MRD\) raw-data file\. Use `read_scan`"):
        read_fastmri(tmp_path / "raw.h5")


def test_wrong_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="the file must exist, got"):
        read_fastmri(tmp_path / "nothing.h5")
    with pytest.raises(IsADirectoryError, match="a file is needed"):
        read_fastmri(tmp_path)
