"""A measured EPI on gradient ramps, 96 x 96, and its reference scan: how strong the ghost is."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from monarch_sciml.data import describe_scan, read_scan
from monarch_sciml.physics.images import ifft2c

pytest.importorskip("twixtools")
pp = pytest.importorskip("pypulseq")

FOLDER = Path(__file__).parents[4] / "../shared/kspace/pulseq"
SCAN, SEQUENCE = FOLDER / "ramp_epi_96_pe+.dat", FOLDER / "ramp_epi_96_pe+.seq"
REFERENCE, ECHOES = FOLDER / "ramp_epi_96_pe0.dat", FOLDER / "gre_3_echoes.dat"
pytestmark = pytest.mark.skipif(not SCAN.exists(), reason="no scanner data beside the checkout")

N = 96


def image_of(**options):
    return ifft2c(read_scan(SCAN, sequence=SEQUENCE, **options).kspace)[0, 0].abs().numpy()


@pytest.fixture(scope="module")
def corrected():
    return image_of(reference_scan=REFERENCE)


def regions(image):
    """The object, where its ghost would be (half a field of view away along the lines), the rest.

    Medians are taken: a second, smaller object beside the phantom is no ghost.
    """
    found = ndimage.binary_opening(image > 0.1 * np.quantile(image, 0.98))
    names, _ = ndimage.label(ndimage.binary_fill_holes(found))
    phantom = names == np.bincount(names[names > 0]).argmax()
    phantom = ndimage.binary_dilation(phantom, iterations=2)
    shifted = np.roll(phantom, N // 2, axis=1)
    return phantom, shifted & ~phantom, ~shifted & ~phantom


def ghost(image, at):
    """The ghost-to-signal ratio, and that of the background: medians of the magnitude."""
    signal, ghost_, background = (float(np.median(image[part])) for part in regions(at))
    return ghost_ / signal, background / signal


def test_the_reference_scan_takes_the_ghost_to_three_hundredths(corrected):
    before, after = ghost(image_of(), corrected), ghost(corrected, corrected)
    assert before[0] > 0.2
    assert after[0] < 0.04 and after[1] < 0.015
    phantom, _, _ = regions(corrected)
    assert np.abs(np.array(ndimage.center_of_mass(phantom)) - N / 2).max() < 3


def test_without_the_sequence_the_order_is_not_known():
    for path in (SCAN, ECHOES):
        (note,) = describe_scan(path)["notes"]
        assert "the order of the lines is not known" in note and "--sequence FILE.seq" in note
    found = describe_scan(SCAN, sequence=SEQUENCE)
    assert found["matrix"] == (N, N)
    assert found["voxel_size"] == pytest.approx((4.0, 220 / N, 220 / N), rel=1e-3)
    (note,) = found["notes"]
    assert "--reference_scan" in note  # the ghost is named
    assert describe_scan(SCAN, sequence=SEQUENCE, reference_scan=REFERENCE)["notes"] == []


def test_three_measured_echoes_come_apart_with_a_sequence_like_theirs(tmp_path):
    """256 lines from below, three echoes of each in one direction, and nothing in the labels."""
    n, fov = 256, 0.256
    seq = pp.Sequence()
    seq.set_definition("FOV", [fov, fov, 0.003])
    pulse, _, _ = pp.make_sinc_pulse(0.2, return_gz=True, slice_thickness=0.003, use="excitation")
    line = pp.make_trapezoid("x", flat_area=n / fov, flat_time=2.56e-3)
    back = pp.make_trapezoid("x", area=-line.area, duration=2e-3)
    first = pp.make_trapezoid("x", area=-line.area / 2 - 0.5 / fov, duration=2e-3)
    adc = pp.make_adc(n, duration=2.56e-3, delay=line.rise_time)
    for column in range(-n // 2, n // 2):
        phase = pp.make_trapezoid("y", area=column / fov, duration=2e-3)
        seq.add_block(pulse)
        seq.add_block(first, phase)
        for _ in range(3):
            seq.add_block(line, adc)
            seq.add_block(back)
    seq.write(str(tmp_path / "a.seq"), create_signature=False)
    raw = read_scan(ECHOES).kspace[0, 0]  # (256, 768): as acquired
    for echo in range(3):
        scan = read_scan(ECHOES, sequence=tmp_path / "a.seq", contrast=echo)
        assert scan.header["contrasts"] == 3 and scan.notes == []
        expected = raw[:, echo::3]
        error = (scan.kspace[0, 0] - expected).norm() / expected.norm()
        assert error < 1e-4
