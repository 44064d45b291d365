from dataclasses import replace

import pytest
import torch

from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.formats.m4raw import read_m4raw, repetition_files
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.scan import Scan

NAMES = [f"2022061003_T1{number:02}.h5" for number in (1, 2, 3)]


def random_scan(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return Scan(torch.randn(*(shape or (3, 4, 16, 16)), dtype=torch.complex64, generator=generator))


@pytest.fixture
def series(tmp_path):
    """Three repetitions of one contrast, and files of other contrasts and subjects beside them."""
    scans = [random_scan(number) for number in range(3)]
    for name, scan in zip(NAMES, scans):
        write_fastmri(tmp_path / name, scan)
    for name in ("2022061003_T201.h5", "2022061004_T101.h5", "2022061003_T1.h5", "other.h5"):
        write_fastmri(tmp_path / name, random_scan(9))
    return tmp_path, scans


def test_repetitions_of_a_series(series):
    folder, _ = series
    assert [file.name for file in repetition_files(folder / NAMES[1])] == NAMES
    assert repetition_files(folder / "other.h5") == [folder / "other.h5"]


def test_files_of_a_series_go_by_their_own_name(series):
    folder, _ = series
    assert describe_scan(folder / NAMES[0])["format"] == "M4Raw"
    assert describe_scan(folder / "other.h5")["format"] == "fastMRI"


def test_one_repetition_and_the_average(series):
    folder, scans = series
    one = read_scan(folder / NAMES[1])
    torch.testing.assert_close(one.kspace, scans[1].kspace, rtol=0, atol=0)
    assert one.header["repetitions"] == 3 and one.target is not None
    mean = read_scan(folder / NAMES[1], repetition="average")
    expected = torch.stack([scan.kspace for scan in scans]).mean(0)
    torch.testing.assert_close(mean.kspace, expected)
    assert mean.header["averaged"] == 3 and mean.target is None
    part = read_m4raw(folder / NAMES[0], slices=slice(1, 2), average=True)
    torch.testing.assert_close(part.kspace, expected[1:2])


def test_what_one_repetition_lacks_the_average_lacks(series):
    folder, scans = series
    kspace = scans[2].kspace.clone()
    kspace[..., :4] = 0
    write_fastmri(
        folder / NAMES[2], replace(scans[2], kspace=kspace, mask=kspace[0, 0] != 0), overwrite=True
    )
    mean = read_scan(folder / NAMES[0], repetition="average")
    assert not mean.mask[:, :4].any() and mean.mask[:, 4:].all()
    assert not mean.kspace[..., :4].any()


def test_description_and_errors(series):
    folder, _ = series
    assert describe_scan(folder / NAMES[0])["repetitions"] == 3
    assert describe_scan(folder / "other.h5")["repetitions"] == 1
    with pytest.raises(ValueError, match="must be 'average' or left out, got 1"):
        read_scan(folder / NAMES[0], repetition=1)
    write_fastmri(folder / NAMES[2], random_scan(5, 3, 4, 16, 12), overwrite=True)
    with pytest.raises(ValueError, match=r"all repetitions of .*T101.h5 must .* in .*T103.h5"):
        read_scan(folder / NAMES[0], repetition="average")
