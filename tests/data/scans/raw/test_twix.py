"""Real Siemens files, and files made of them with twixtools' own writer."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from monarch_sciml._reading import looks_like_twix
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.recognise import recognise
from monarch_sciml.physics.sense_operator import ifft2c, rss

twixtools = pytest.importorskip("twixtools")

SCANS = Path(__file__).parents[4] / "../shared/kspace"
GRE, PULSEQ = SCANS / "twixtools_gre.dat", SCANS / "pulseq_tut_GRE_prisma_1ch.dat"
pytestmark = pytest.mark.skipif(not GRE.exists(), reason="no scanner data beside the checkout")

N, SAMPLES, COILS = 160, 320, 2


def measurement(path=GRE):
    return twixtools.read_twix(
        str(path.resolve()), parse_pmu=False, parse_geometry=False, verbose=False
    )[-1]


@pytest.fixture(scope="module")
def original():
    """The measurement with its readouts in memory, every 8th line to keep files small."""
    found = measurement()
    found["mdb"] = [block.convert_to_local() for block in found["mdb"]][::8]
    return found


def block(template, data, *flags, **counters):
    """A readout of the samples (c, n) with these counters and flags."""
    made = twixtools.mdb.Mdb_local(data)
    keep = (made.mdh.SamplesInScan, made.mdh.UsedChannels)
    made.mdh = copy.deepcopy(template.mdh)
    made.channel_hdr = [copy.deepcopy(template.channel_hdr[0]) for _ in data]
    made.mdh.SamplesInScan, made.mdh.UsedChannels = keep
    made.data = data  # updates the length in the header
    for name, value in counters.items():
        target = made.mdh if hasattr(made.mdh, name) else made.mdh.Counter
        setattr(target, name, value)
    for flag in flags:
        made.add_flag(flag)
    return made


def write(path, original, blocks, *before, capsys=None):
    """Write measurements; the last holds `blocks`."""
    measurements = [{**original, "mdb": list(part)} for part in (*before, blocks)]
    twixtools.write_twix(measurements, str(path))
    return path


def expected_lines(blocks):
    """The lines of blocks (l, c, N) without oversampling, by twixtools.

    numpy's default norm there and back loses the square root of 2.
    """
    from twixtools.recon_helpers import remove_oversampling

    return np.stack([2**0.5 * remove_oversampling(block.data)[0] for block in blocks])


def test_a_product_sequence():
    assert recognise(GRE) == "twix"
    scan = read_scan(GRE)
    assert scan.kspace.shape == (1, COILS, N, N) and scan.fully_sampled and scan.notes == []
    assert scan.header["oversampling"] == 2 and scan.header["voxel_size"] == (4.0, 1.25, 1.25)
    theirs = expected_lines(measurement()["mdb"]).transpose(1, 2, 0)  # (l, c, n) -> (c, n, l)
    np.testing.assert_allclose(scan.kspace[0], theirs, rtol=1e-3, atol=1e-3 * abs(theirs).max())


def test_the_images_of_the_real_scans_are_centred_and_do_not_wrap():
    for path, size in ((GRE, N), (PULSEQ, 256)):
        scan = read_scan(path)
        image = rss(ifft2c(scan.kspace))[0]
        assert image.shape == (size, size)
        bright = image > 0.3 * image.quantile(0.98)
        rows, columns = (bright.sum(axis) / bright.sum() for axis in (1, 0))
        place = torch.arange(size, dtype=torch.float32)
        for weights in (rows, columns):
            assert abs((weights * place).sum() - size / 2) < 0.06 * size
        border = torch.cat([image[:2].flatten(), image[-2:].flatten()])
        assert border.mean() < 0.15 * image[bright].mean()  # nothing at the ends of the readout


def test_pulseq_states_no_oversampling_and_no_centre():
    scan = read_scan(PULSEQ)
    assert scan.kspace.shape == (1, 1, 256, 256) and scan.header["oversampling"] == 1
    assert divmod(int(scan.kspace[0, 0].abs().argmax()), 256) == (128, 128)


def test_describe():
    found = describe_scan(GRE)
    assert (found["format"], found["slices"], found["coils"]) == ("Siemens twix", 1, COILS)
    assert (found["matrix"], found["acceleration"]) == ((N, N), 1)
    assert found["readouts"] == {
        "imaging": N,
        "calibration": 0,
        "noise": 0,
        "other": 0,
        "navigator": 0,
    }
    assert found["acquisition"] == "gre"


def test_undersampled_slices_with_averages_and_reversed_readouts(tmp_path, original):
    blocks = []
    for i, first in enumerate(original["mdb"]):
        for number, scale in enumerate((1.0, 2.0)):
            for average, factor in enumerate((0.5, 1.5)):
                data = scale * factor * first.data
                flags = ("REFLECT",) if i % 2 else ()
                data = data[:, ::-1].copy() if flags else data
                blocks.append(block(first, data, *flags, Sli=number, Ave=average))
    scan = read_scan(write(tmp_path / "a.dat", original, blocks))
    lines = expected_lines(original["mdb"])
    assert scan.kspace.shape == (2, COILS, N, N) and scan.acceleration == 8
    assert scan.mask.any(0).nonzero().flatten().tolist() == [*range(0, N, 8)]
    for number in range(2):
        ours = scan.kspace[number][..., ::8].numpy().transpose(2, 0, 1)
        np.testing.assert_allclose(ours, (1 + number) * lines, rtol=1e-3, atol=1e-8)
    part = read_scan(tmp_path / "a.dat", slices=slice(1, 2))
    torch.testing.assert_close(part.kspace, scan.kspace[1:], rtol=0, atol=0)


def test_slices_are_ordered_by_position(tmp_path, original):
    blocks = []
    for first in original["mdb"]:
        for number, height in enumerate((20.0, -30.0, 5.0)):
            made = block(first, (1 + number) * first.data, Sli=number)
            made.mdh.SliceData.SlicePos.Tra = height
            blocks.append(made)
    scan = read_scan(write(tmp_path / "a.dat", original, blocks))
    energy = scan.kspace.abs().amax((1, 2, 3))
    torch.testing.assert_close(energy / energy.min(), torch.tensor([2.0, 3.0, 1.0]))


def test_slices_have_the_distance_of_their_positions(tmp_path, original):
    """The slices of the template are 4 mm thick; these are 7 mm apart."""
    blocks = []
    for first in original["mdb"]:
        for number, height in enumerate((7.0, -7.0, 0.0)):
            made = block(first, first.data, Sli=number)
            made.mdh.SliceData.SlicePos.Tra = height
            blocks.append(made)
    scan = read_scan(write(tmp_path / "a.dat", original, blocks))
    assert scan.header["voxel_size"] == pytest.approx((7.0, 1.25, 1.25))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tw_gap.dat", (6.0, 1.25, 1.25)),
        ("tw_phase_os.dat", (4.0, 1.25, 1.25)),
        ("tw_phase_res65.dat", (4.0, 1.25, 200 / 104)),
    ],
)
def test_voxels_with_gaps_oversampling_and_reduced_resolution(name, size):
    path = SCANS / "../cases/scans" / name
    if not path.exists():
        pytest.skip("no cases beside the checkout")
    assert describe_scan(path)["voxel_size"] == pytest.approx(size)


def test_echoes_and_repetitions(tmp_path, original):
    blocks = [
        block(first, (1 + echo) * 10**rep * first.data, Eco=echo, Rep=rep)
        for first in original["mdb"]
        for echo in range(2)
        for rep in range(2)
    ]
    path = write(tmp_path / "a.dat", original, blocks)
    one = read_scan(path).kspace
    torch.testing.assert_close(read_scan(path, contrast=1).kspace, 2 * one)
    torch.testing.assert_close(read_scan(path, repetition="average").kspace, 5.5 * one)
    found = describe_scan(path)
    assert (found["contrasts"], found["repetitions"]) == (2, 2)
    with pytest.raises(ValueError, match=r"`contrast` must be one of 0, 1 of a.dat, got 2"):
        read_scan(path, contrast=2)


def test_partial_fourier_and_asymmetric_echo(tmp_path, original):
    """Lines count from 0 with the centre at 60 of 80; the first 64 of 320 samples are missing."""
    blocks = [
        block(first, first.data[:, 64:].copy(), Lin=first.mdh.Counter.Lin - 20)
        for first in original["mdb"][3:]
    ]
    for made in blocks:
        made.mdh.CenterLin, made.mdh.CenterCol = 60, 96
    scan = read_scan(write(tmp_path / "a.dat", original, blocks))
    assert scan.matrix == (N, N)
    assert scan.mask.any(0).nonzero().flatten().tolist() == [*range(24, N, 8)]
    assert not scan.mask[:32].any() and scan.mask[32:, 24].all()


def test_calibration_and_other_readouts(tmp_path, original):
    some = original["mdb"]
    blocks = [
        *(block(first, 99 * first.data, "PHASCOR") for first in some[:2]),
        *(block(first, first.data) for first in some),
        *(block(some[0], some[9].data, "PATREFSCAN", Lin=line) for line in (79, 81)),
        block(some[0], some[9].data, "NOISEADJSCAN"),
    ]
    scan = read_scan(write(tmp_path / "a.dat", original, blocks))
    kinds = {"imaging": 20, "calibration": 2, "noise": 1, "other": 0, "navigator": 2}
    assert scan.header["readouts"] == kinds
    assert scan.notes == []  # all lines run in one direction
    merged = scan.with_calibration()
    columns = merged.mask.any(0).nonzero().flatten().tolist()
    assert columns == sorted([*range(0, N, 8), 79, 81])
    torch.testing.assert_close(merged.kspace[..., 79], merged.kspace[..., 81], rtol=0, atol=0)


def test_noise_of_an_earlier_measurement_whitens(tmp_path, original):
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0], [0.8j, 0.5]])
    noises, lines = [], []
    for i, first in enumerate(original["mdb"]):
        white = rng.standard_normal((2, 2, COILS, SAMPLES)) / 2**0.5
        white = mixing @ (white[:, 0] + 1j * white[:, 1])
        noises.append(block(first, white[0].astype(np.complex64), "NOISEADJSCAN", Lin=i))
        lines.append(block(first, white[1].astype(np.complex64)))
    path = write(tmp_path / "a.dat", original, lines, noises)
    samples = read_scan(path, prewhiten=True).kspace[0][..., ::8].reshape(COILS, -1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    # the receiver's noise bandwidth is 0.793 / dwell time; the made noise has all of it
    torch.testing.assert_close(0.793 * covariance, torch.eye(COILS) + 0j, rtol=0, atol=0.08)


def test_three_dimensions_become_slices_of_hybrid_space(tmp_path, original):
    blocks = []
    for first in original["mdb"]:
        for partition in range(4):
            made = block(first, first.data * (partition == 2), Par=partition)
            made.mdh.CenterPar = 2
            blocks.append(made)
    path = write(tmp_path / "a.dat", original, blocks)
    scan = read_scan(path, slices=slice(70, 72))
    # the protocol of the template states 16 partitions of which 4 were acquired
    assert scan.transformed == ("readout",) and scan.kspace.shape == (2, COILS, N, 16)
    assert scan.mask.any(0).nonzero().flatten().tolist() == [6, 7, 8, 9]
    assert not scan.kspace[..., 7].any() and scan.kspace[..., 8].any()


def ramped(original, mode=2):
    """The header of an EPI readout: 320 samples of 1 us under a trapezoid of 340 us."""
    header = copy.deepcopy(original["hdr"])
    times = {"Rampup": 90, "Flattop": 160, "Rampdown": 90, "DelaySamples": 10}
    header["Meas"] |= {f"alRegrid{name}Time": [time, 0] for name, time in times.items()}
    header["Meas"] |= {"alRegridMode": [mode, 1], "aflRegridADCDuration": [320.0, 0.0]}
    return header


def test_readouts_on_ramps_are_regridded_by_the_header(monkeypatch, original):
    """The samples that a readout on the ramps would have, at the positions that twixtools finds."""
    header = ramped(original)
    positions = twixtools.recon_helpers.calc_regrid_traj(header | {
        "MeasYaps": {"sKSpace": {"lBaseResolution": N},
                     "sSliceArray": {"asSlice": [{"dReadoutFOV": 1.0}]}}}, SAMPLES)  # fmt: skip
    lines = expected_lines(original["mdb"])  # (l, c, N)
    images = np.fft.ifft(np.fft.ifftshift(lines, axes=-1), norm="ortho")
    pixels = np.fft.ifftshift(np.arange(N) - N // 2)
    waves = np.exp(-2j * np.pi * np.outer(pixels, positions) / N) / N**0.5
    samples = (images @ waves).astype(np.complex64)
    blocks = []
    for first, data in zip(original["mdb"], samples):
        blocks.append(block(first, data))
    measurements = [{**original, "hdr": header, "mdb": blocks}]
    name = "monarch_sciml.data.scans.raw.twix.measurements_of"
    monkeypatch.setattr(name, lambda path: measurements)
    scan = read_scan(GRE)
    found = scan.kspace[0][..., ::8].numpy().transpose(2, 0, 1)  # (c, N, l) -> (l, c, N)
    factor = np.vdot(found, lines) / np.vdot(found, found)
    assert np.linalg.norm(factor * found - lines) < 1e-3 * np.linalg.norm(lines)


@pytest.mark.parametrize("path", [GRE, PULSEQ])
@pytest.mark.parametrize("share", [0.003, 0.02, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path, path, share, capsys):
    data = path.read_bytes()
    (tmp_path / "a.dat").write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="must be a complete twix file, got") as caught:
        read_scan(tmp_path / "a.dat")
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""  # twixtools prints its warnings


@pytest.mark.parametrize("fill", [0x00, 0x07, 0xFF])
@pytest.mark.parametrize("share", [0.55, 0.8])
def test_damage_inside_is_noticed(tmp_path, fill, share):
    """The header of a readout is overwritten; 0x07 happens to set the flag that ends all."""
    data = bytearray(GRE.read_bytes())
    start = int(share * len(data))
    data[start : start + 6000] = bytes([fill]) * 6000
    (tmp_path / "a.dat").write_bytes(bytes(data))
    with pytest.raises(
        ValueError, match=r"complete twix file|what it says it holds|must have one|must be finite"
    ) as caught:
        read_scan(tmp_path / "a.dat")
    assert "\n" not in str(caught.value)


def test_nan_and_no_image(tmp_path, original):
    blocks = [block(first, first.data * np.nan) for first in original["mdb"]]
    with pytest.raises(ValueError, match="must be finite"):
        read_scan(write(tmp_path / "b.dat", original, blocks))
    noise = [block(first, first.data, "NOISEADJSCAN") for first in original["mdb"]]
    with pytest.raises(ValueError, match="must hold imaging readouts, got 20 noise readouts"):
        read_scan(write(tmp_path / "c.dat", original, noise))


def test_without_twixtools_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "twixtools", None)
    with pytest.raises(ValueError, match=r'pip install "monarch_sciml\[scanners\]"') as caught:
        read_scan(GRE)
    assert "\n" not in str(caught.value)


def test_other_files_do_not_look_like_twix(tmp_path):
    assert looks_like_twix(GRE.read_bytes()[:64])
    for start in (b"", b"\0" * 64, b"\x93NUMPY" + b"\0" * 60, b"\0\1twix".ljust(64), b"P" * 64):
        assert not looks_like_twix(start)
    old = (b"\x00\x50\x01\x00\x05\x00\x00\x00" + b"Config\0").ljust(64, b"x")
    assert looks_like_twix(old)  # VB: the length of the header, five buffers, the first's name
    (tmp_path / "a.dat").write_bytes(b"\0\0\0\0" + b"x" * 99)
    with pytest.raises(ValueError, match="Siemens raw-data file"):
        read_scan(tmp_path / "a.dat", format="twix")


def test_a_file_without_suffix_is_not_taken_for_another(tmp_path):
    (tmp_path / "meas").write_bytes(GRE.read_bytes())
    with pytest.raises(ValueError, match=r"must have a suffix, got meas. Rename it to end in .dat"):
        read_scan(tmp_path / "meas")
