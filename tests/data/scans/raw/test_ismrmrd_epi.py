"""EPI in ISMRMRD files: flagged reversed lines, navigators, readout gradients in the header."""

from pathlib import Path

import numpy as np
import pytest

from monarch_sciml.data import describe_scan, read_scan
from monarch_sciml.physics.images import ifft2c

N, COILS = 16, 2
CASES = Path(__file__).parents[4] / "../shared/cases/scans"
RAMPS = "".join(
    f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
    for name, value in {"rampUpTime": 60, "rampDownTime": 60, "flatTopTime": 80}.items()
)
RAMPS = (
    f"<trajectoryDescription><identifier>ConventionalEPI</identifier>{RAMPS}"
    "<userParameterDouble><name>acqDelayTime</name><value>4</value></userParameterDouble>"
    "<userParameterDouble><name>dwellTime</name><value>6</value></userParameterDouble>"
    "</trajectoryDescription>"
)
"""32 samples of 6 us under a trapezoid of 200 us."""


def phantom():
    """Coil images (c, x, y): a disc off the centre and smooth coils."""
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, N, endpoint=False)], indexing="ij")
    disc = ((x - 0.1) ** 2 + (y + 0.1) ** 2 < 0.3) * (1.0 + x)
    return np.stack([disc * np.exp(1j * x), disc * (1 + 0.3 * y) * np.exp(1j * y)])


def even():
    return np.arange(N) - N // 2


def ramped():
    """Positions of the samples in steps, by fine integration of the gradient of `RAMPS`."""
    fine = np.linspace(0, 200, 200001)
    gradient = np.interp(fine, [0, 60, 140, 200], [0, 1, 1, 0])
    area = np.concatenate([[0], np.cumsum((gradient[1:] + gradient[:-1]) / 2 * np.diff(fine))])
    moments = np.interp(4 + 6 * (np.arange(32) + 0.5), fine, area) - area[-1] / 2
    return moments / np.ptp(np.interp([4, 4 + 6 * 32], fine, area)) * N


def epi(positions, *, phase=(0.0, 0.0), navigators=0, field=0.0):
    """Readouts (c, n) in the order of acquisition, odd lines backwards, with flags and counters."""
    image, pixels = phantom(), np.arange(N) - N // 2
    readouts, flags, counters = [], [], []
    lines = [None] * navigators + [*range(N)]
    for i, line in enumerate(lines):
        # so that line 0 of the image is forward whatever the number of navigators
        reverse = (i - navigators) % 2 == 1
        k = positions[::-1] if reverse else positions
        turned = image * np.exp(1j * (phase[0] + phase[1] * pixels))[:, None] if reverse else image
        turned = turned * np.exp(1j * field * i)
        ky = 0 if line is None else line - N // 2
        projected = turned @ np.exp(-2j * np.pi * ky * pixels / N)  # (c, x)
        readouts.append(projected @ np.exp(-2j * np.pi * np.outer(pixels, k) / N))
        kinds = ["REVERSE"] * reverse + ["PHASECORR_DATA"] * (line is None)
        flags.append(kinds)
        counters.append({"kspace_encode_step_1": N // 2 if line is None else line})
    return readouts, {"flags": flags, "counters": counters, "y": N}


def error(scan):
    found, image = np.abs(ifft2c(scan.kspace).numpy()[0]), np.abs(phantom())
    factor = (found * image).sum() / (found**2).sum()
    return np.linalg.norm(factor * found - image) / np.linalg.norm(image)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("phase", [(0.6, 0.0), (-1.1, 0.2)])
def test_navigators_correct_the_phase_of_reversed_lines(tmp_path, write_readouts, count, phase):
    readouts, options = epi(even(), phase=phase, navigators=count)
    scan = read_scan(write_readouts(tmp_path / "a.h5", readouts, **options))
    assert scan.notes == [] and scan.header["readouts"]["navigator"] == count
    constant, slope = scan.header["phase_correction"][0]
    assert (constant, slope) == pytest.approx(phase, abs=0.01)
    assert error(scan) < 0.01


def test_samples_on_ramps_are_regridded_by_the_times_in_the_header(tmp_path, write_readouts):
    readouts, options = epi(ramped(), phase=(0.6, -0.1), navigators=3)
    path = write_readouts(tmp_path / "a.h5", readouts, h=N, x=2 * N, more=RAMPS, **options)
    scan = read_scan(path)
    assert scan.kspace.shape == (1, COILS, N, N) and scan.notes == []
    assert error(scan) < 0.01
    plain = write_readouts(tmp_path / "b.h5", readouts, h=N, x=2 * N, **options)
    assert error(read_scan(plain)) > 0.1


def test_a_reference_scan_that_is_flagged_itself(tmp_path, write_readouts):
    readouts, options = epi(even(), phase=(0.6, -0.1))
    scan = write_readouts(tmp_path / "a.h5", readouts, **options)
    readouts, options = epi(even(), phase=(0.6, -0.1), navigators=4)
    options = {name: options[name][:4] for name in ("flags", "counters")}
    options["flags"] = [[f for f in kinds if f == "REVERSE"] for kinds in options["flags"]]
    reference = write_readouts(tmp_path / "r.h5", readouts[:4], **options)
    assert error(read_scan(scan, reference_scan=reference)) < 0.01
    (note,) = read_scan(scan).notes
    assert "the image suggests 0.6 rad and -0.1" in note and "--reference_scan FILE" in note


def test_lines_of_both_directions_that_agree_need_no_note(tmp_path, write_readouts):
    readouts, options = epi(even())
    scan = read_scan(write_readouts(tmp_path / "a.h5", readouts, **options))
    assert scan.notes == [] and error(scan) < 1e-5


def test_a_reference_scan_of_a_scan_in_one_direction_is_not_used(tmp_path, write_readouts):
    readouts, options = epi(even())
    path = write_readouts(tmp_path / "a.h5", readouts, **options | {"flags": None})
    (note,) = read_scan(path, reference_scan=path).notes
    assert note == "a.h5 was not used: all lines run in the same direction"


def test_a_header_with_two_partitions_of_which_one_was_acquired(tmp_path, write_readouts):
    readouts, options = epi(even())
    options["flags"] = None
    path = write_readouts(tmp_path / "a.h5", readouts, z=2, **options)
    scan = read_scan(path)
    assert scan.kspace.shape == (1, COILS, N, N) and scan.transformed == ()
    assert scan.notes == ["the header states 2 partitions, of which 1 was acquired: 2-D"]


def test_lines_beyond_the_matrix_of_the_header_make_it_larger(tmp_path, write_readouts):
    """A header of 12 lines with the centre 8 of 16 lines that were acquired."""
    readouts, options = epi(even())
    sizes = {"y": 12, "last": 15, "center": 8}
    scan = read_scan(write_readouts(tmp_path / "a.h5", readouts, **options | sizes))
    assert scan.kspace.shape == (1, COILS, N, N) and scan.fully_sampled
    note = "lines 0 to 15 lie beyond the encoded matrix of 12: read with one of 16"
    assert scan.notes == [note] and error(scan) < 1e-5
    assert scan.header["voxel_size"] == pytest.approx((5.0, 15.0, 15.0))


def test_slices_have_the_distance_of_their_positions_and_their_order(tmp_path, write_readouts):
    """Interleaved slices of 5 mm, 8 mm apart."""
    readouts, options = epi(even())
    heights, many, counters, positions = [0.0, 16.0, 8.0], [], [], []
    for number, height in enumerate(heights):
        many += [(1 + number) * samples for samples in readouts]
        counters += [counter | {"slice": number} for counter in options["counters"]]
        positions += [(0.0, 0.0, height)] * len(readouts)
    path = write_readouts(tmp_path / "a.h5", many, counters=counters, positions=positions, y=N)
    scan = read_scan(path)
    assert scan.header["voxel_size"] == pytest.approx((8.0, 15.0, 15.0))
    energy = scan.kspace.abs().amax((1, 2, 3))
    assert (energy / energy[0]).tolist() == pytest.approx([1.0, 3.0, 2.0], rel=1e-5)


def test_pulseq_without_labels_says_that_the_order_is_not_known(tmp_path, write_readouts):
    readouts, options = epi(even())
    name = "<parallelImaging/><!-- %CustomerSeq%/Pulseq -->"
    path = write_readouts(tmp_path / "a.h5", readouts, more=name, **options | {"flags": None})
    (note,) = describe_scan(path)["notes"]
    assert "the order of the lines is not known" in note and "--sequence FILE.seq" in note


@pytest.mark.skipif(not CASES.exists(), reason="no cases beside the checkout")
@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("pulseq_z2.h5", (1, 8, 128, 128), "the header states 2 partitions"),
        ("beyond_matrix.h5", (1, 8, 128, 140), "lines 0 to 139 lie beyond the encoded matrix"),
        ("epi_rev128.h5", (1, 8, 128, 128), None),
        ("epi_rev128_phase.h5", (1, 8, 128, 128), "the image suggests 0.6 rad and 0.00 rad"),
    ],
)
def test_files_of_other_programs(name, shape, words):
    scan = read_scan(CASES / name)
    assert tuple(scan.kspace.shape) == shape and scan.fully_sampled
    assert [words in note for note in scan.notes] == [True] * (words is not None)
