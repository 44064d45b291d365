"""Scans of sequences that pypulseq wrote, simulated at its trajectory, come back as the object.

The signal is the plain Fourier sum over the object at the k-space positions that pypulseq computes,
written in the order of acquisition: nothing but the sequence file says where a readout belongs.
"""

import math
import re
import sys

import numpy as np
import pytest

from monarch_sciml.commands.info import info
from monarch_sciml.data import read_scan
from monarch_sciml.data.scans.raw.sequence import read_sequence
from monarch_sciml.physics.images import ifft2c

pp = pytest.importorskip("pypulseq")

N, FOV, COILS = 12, 0.24, 2
STEP = 1 / FOV
SYSTEM = pp.Opts(max_grad=80, grad_unit="mT/m", max_slew=400, slew_unit="T/m/s")


class Builder:
    """Write a sequence whose readouts, lines and slices run along three axes."""

    def __init__(self, *, fov=(FOV, FOV, 0.005), axes="xyz", samples=N, ramps=False):
        self.seq, self.axes, self.samples = pp.Sequence(SYSTEM), axes, samples
        if fov is not None:
            self.seq.set_definition("FOV", list(fov))
        flat = 2e-5 * N
        self.line = pp.make_trapezoid(
            axes[0], amplitude=N * STEP / flat, flat_time=flat, rise_time=8e-5, system=SYSTEM
        )
        whole = pp.calc_duration(self.line)
        if ramps:  # samples on the ramps as well: the gradient as a whole covers N steps
            self.line = pp.scale_grad(self.line, N * STEP / self.line.area)
            dwell = 1e-6 * int(1e6 * whole / samples)
            delay = 1e-6 * round(1e6 * (whole - samples * dwell) / 2)
            self.adc = pp.make_adc(samples, dwell=dwell, delay=delay)
        else:
            self.adc = pp.make_adc(samples, duration=flat, delay=8e-5)

    def excite(self, position=0.0):
        pulse, gradient, rephaser = pp.make_sinc_pulse(
            *(math.pi / 6,), duration=1e-3, slice_thickness=0.005, apodization=0.5,
            time_bw_product=4, return_gz=True, system=SYSTEM, use="excitation",
        )  # fmt: skip
        gradient.channel = rephaser.channel = self.axes[2]
        pulse.freq_offset = gradient.amplitude * position
        self.seq.add_block(pulse, gradient)
        self.seq.add_block(rephaser)

    def move(self, readout=0.0, line=0.0, partition=0.0):
        """Move through k-space, in steps."""
        parts = [
            pp.make_trapezoid(axis, area=steps * STEP, duration=1e-3, system=SYSTEM)
            for axis, steps in zip(self.axes, (readout, line, partition))
            if steps
        ]
        if parts:
            self.seq.add_block(*parts)

    def read(self, *labels, sign=1):
        self.seq.add_block(pp.scale_grad(self.line, sign), self.adc, *labels)

    @property
    def half(self):
        """Half of what the gradient of a readout moves, in steps."""
        return self.line.area / STEP / 2

    def gre(self, places, *, echoes=1, bipolar=False, slices=(0.0,)):
        """Excite for each line and partition in turn, and read echoes of it."""
        for line, partition in places:
            for position in slices:
                self.excite(position)
                # the middle sample of an even number is half a sample after the middle
                self.move(-self.half - 0.5 * N / self.samples, line, partition)
                for echo in range(echoes):
                    self.read(sign=-1 if bipolar and echo % 2 else 1)
                    self.move(0 if bipolar else -2 * self.half)
        return self

    def epi(self, lines, *, navigators=0, shift=0.0):
        """Excite once and read all lines forwards and backwards."""
        self.excite()
        self.move(-self.half + shift)
        sign = 1
        for _ in range(navigators):
            self.read(sign=sign)
            sign = -sign
        at = 0
        for line in lines:
            self.move(line=line - at)
            self.read(sign=sign)
            sign, at = -sign, line
        return self

    def write(self, folder, name="a.seq"):
        self.seq.write(str(folder / name), create_signature=False)
        return folder / name


def positions(path):
    """The trajectory (n, 3) of each readout, by pypulseq."""
    sequence = pp.Sequence()
    sequence.read(str(path), detect_rf_use=None)
    k = sequence.calculate_kspace()[0].T
    counts = [b.adc.num_samples for b in map(sequence.get_block, sequence.block_events) if b.adc]
    return np.split(k, np.cumsum(counts)[:-1])


def signal(image, k, axes="xyz"):
    """The samples (c, n) of an image (c, x, y, z) at k (n, 3): a Fourier sum over its voxels."""
    order = ["xyz".index(axis) for axis in axes]
    places = [(np.arange(size) - size // 2) * FOV / size for size in image.shape[1:]]
    places = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 3)  # (v, 3)
    waves = np.exp(-2j * np.pi * places @ k[:, order].T)
    return image.reshape(len(image), -1) @ waves / len(places) ** 0.5


def objects(count=1, depth=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, COILS, N, N, depth)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


SINGLE = 100 * float(np.finfo(np.float32).eps)


def same(scan, expected, *, bound=SINGLE):
    """The images (s, c, x, y) of the scan are the expected ones, to single precision."""
    found = ifft2c(scan.kspace).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < bound, error


LINES = range(-N // 2, N // 2)


@pytest.mark.parametrize("axes", ["xyz", "yxz", "zxy", "xzy"])
def test_lines_in_any_order_and_along_any_gradient(tmp_path, write_readouts, axes):
    order = np.random.default_rng(1).permutation(LINES)
    build = Builder(axes=axes, fov=(FOV,) * 3).gre([(line, 0) for line in order])
    path = build.write(tmp_path)
    image = objects()[0]
    data = write_readouts(tmp_path / "a.h5", [signal(image, k, axes) for k in positions(path)])
    scan = read_scan(data, sequence=path)
    expected = image[None, ..., 0]
    # lines run along the first gradient but the readout, which may turn the image round
    same(scan, expected)
    assert scan.fully_sampled and scan.notes == []
    assert scan.header["voxel_size"][1:] == pytest.approx((20.0, 20.0), rel=1e-3)
    wrong = ifft2c(read_scan(data).kspace).numpy()
    assert np.linalg.norm(wrong - expected) > 0.5 * np.linalg.norm(expected)


def test_bipolar_echoes_are_contrasts_and_reversed_ones_are_turned_round(tmp_path, write_readouts):
    path = Builder().gre([(line, 0) for line in LINES], echoes=3, bipolar=True).write(tmp_path)
    images = objects(3)
    readouts = [signal(images[i % 3], k) for i, k in enumerate(positions(path))]
    data = write_readouts(tmp_path / "a.h5", readouts)
    for echo in range(3):
        scan = read_scan(data, sequence=path, contrast=echo)
        same(scan, images[echo, None, ..., 0])
        assert scan.header["contrasts"] == 3 and scan.notes == []
    assert "contrasts" in info(data, sequence=path)


def test_slices_are_sorted_by_the_frequency_of_their_pulses(tmp_path, write_readouts):
    places, heights = [(line, 0) for line in LINES], (0.012, -0.012, 0.0)
    path = Builder().gre(places, slices=heights).write(tmp_path)
    images = objects(3)
    readouts = [signal(images[i % 3], k) for i, k in enumerate(positions(path))]
    scan = read_scan(write_readouts(tmp_path / "a.h5", readouts), sequence=path)
    same(scan, images[[1, 2, 0], ..., 0])
    assert scan.header["voxel_size"] == pytest.approx((12.0, 20.0, 20.0), rel=1e-3)


def test_lines_that_come_again_are_repetitions(tmp_path, write_readouts):
    path = Builder().gre([(line, 0) for line in LINES] * 2).write(tmp_path)
    images = objects(2)
    readouts = [signal(images[i // N], k) for i, k in enumerate(positions(path))]
    data = write_readouts(tmp_path / "a.h5", readouts)
    same(read_scan(data, sequence=path, repetition=1), images[1, None, ..., 0])
    same(read_scan(data, sequence=path, repetition="average"), images.mean(0)[None, ..., 0])
    # the same sequence run twice
    path = Builder().gre([(line, 0) for line in LINES]).write(tmp_path)
    same(read_scan(data, sequence=path, repetition=1), images[1, None, ..., 0])


@pytest.mark.parametrize("turned", [0.0, 0.5])
def test_three_dimensions(tmp_path, write_readouts, turned):
    """Partitions inside, lines outside, both from the top down; the volume may lie obliquely."""
    depth = 4
    places = [(line, partition) for line in LINES[::-1] for partition in (1, 0, -1, -2)]
    build = Builder(fov=(FOV, FOV, FOV)).gre(places)
    path = build.write(tmp_path)
    image = objects(depth=depth)[0]
    readouts = [signal(image, k) for k in positions(path)]
    if turned:
        sequence = pp.Sequence(SYSTEM)
        sequence.set_definition("FOV", [FOV] * 3)
        for number in build.seq.block_events:
            block = build.seq.get_block(number)
            events = [e for e in vars(block).values() if hasattr(e, "type")]
            gradients = [e for e in events if e.type == "trap"]
            others = [e for e in events if e.type in ("rf", "adc")]
            sequence.add_block(*others, *pp.rotate(*gradients, angle=turned, axis="z"))
        sequence.write(str(path), create_signature=False)
    scan = read_scan(write_readouts(tmp_path / "a.h5", readouts), sequence=path)
    assert scan.transformed == ("readout",) and scan.kspace.shape == (N, COILS, N, depth)
    expected = image.transpose(1, 0, 2, 3)  # (c, x, y, z) -> (x, c, y, z)
    # gradients that are no round numbers are written with six digits
    same(scan, expected, **({"bound": 1e-4} if turned else {}))
    assert scan.header["voxel_size"] == pytest.approx((20.0, 20.0, 60.0), rel=1e-3)


def test_undersampled_and_partial_fourier_lines(tmp_path, write_readouts):
    """Every third line from -4 on and the centre: the FOV says that lines between are missing."""
    lines = [-4, -1, 0, 2, 5]
    path = Builder().gre([(line, 0) for line in lines]).write(tmp_path)
    image = objects()[0]
    data = write_readouts(tmp_path / "a.h5", [signal(image, k) for k in positions(path)])
    scan = read_scan(data, sequence=path)
    columns = [line + N // 2 for line in lines]
    assert scan.kspace.shape == (1, COILS, N, N)
    assert scan.mask.any(0).nonzero().flatten().tolist() == columns
    axes = (1, 2)
    kspace = np.fft.fft2(np.fft.ifftshift(image[..., 0], axes=axes), norm="ortho", axes=axes)
    kspace = np.fft.fftshift(kspace, axes=axes)[..., columns]
    error = np.linalg.norm(scan.kspace[0][..., columns].numpy() - kspace) / np.linalg.norm(kspace)
    assert error < 100 * np.finfo(np.float32).eps


@pytest.mark.parametrize("fov", [(FOV, FOV, 0.005), None])
def test_oversampled_readouts(tmp_path, write_readouts, fov):
    """With FOV the image is cropped to it; without it all pixels are kept and that is said."""
    path = Builder(samples=2 * N, fov=fov).gre([(line, 0) for line in LINES]).write(tmp_path)
    image = objects()[0]
    data = write_readouts(tmp_path / "a.h5", [signal(image, k) for k in positions(path)])
    scan = read_scan(data, sequence=path)
    found, expected = ifft2c(scan.kspace).numpy(), 2**0.5 * image[None, ..., 0]
    if fov is None:
        assert scan.kspace.shape[2] == 2 * N and len(scan.notes) == 1
        assert "a.seq defines no FOV" in scan.notes[0]
        found = found[:, :, N // 2 : N // 2 + N]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 100 * np.finfo(np.float32).eps


def epi(
    tmp_path, write_readouts, *, navigators=0, phase=(0.0, 0.0), field=0.0, ramps=True, image=None
):
    """An EPI scan on ramps, and one without phase encoding.

    The echo of reversed lines is shifted and their phase another: `phase` in rad and rad a pixel;
    the field adds the phase `field` from line to line.
    """
    image = objects()[0] if image is None else image
    samples = 2 * N if ramps else N
    files = {}
    for name, lines in (("a", LINES), ("reference", [0] * N)):
        build = Builder(samples=samples, ramps=ramps)
        path = build.epi(lines, navigators=navigators if name == "a" else 0).write(
            tmp_path, f"{name}.seq"
        )
        pixels = np.arange(N) - N // 2
        ramp = np.exp(1j * (phase[0] + phase[1] * pixels))[:, None, None]
        readouts = []
        for i, k in enumerate(positions(path)):
            seen = image * ramp if k[-1, 0] < k[0, 0] else image
            readouts.append(np.exp(1j * field * i) * signal(seen, k))
        files[name] = write_readouts(tmp_path / f"{name}.h5", readouts)
    return image[None, ..., 0], files["a"], tmp_path / "a.seq", files["reference"]


def test_samples_on_ramps_are_regridded_exactly(tmp_path, write_readouts):
    image, data, path, _ = epi(tmp_path, write_readouts)
    k = positions(path)[0][:, 0] / STEP
    assert np.ptp(np.diff(k)) > 0.5 * np.diff(k).max()  # far from evenly spaced
    scan = read_scan(data, sequence=path)
    found = ifft2c(scan.kspace).numpy()
    factor = np.vdot(found, image) / np.vdot(found, found)
    error = np.linalg.norm(factor * found - image) / np.linalg.norm(image)
    assert error < 1000 * np.finfo(np.float32).eps, error
    assert scan.fully_sampled


@pytest.mark.parametrize("phase", [(0.6, 0.0), (-1.2, 0.15), (2.8, -0.3)])
@pytest.mark.parametrize("field", [0.0, 0.4])
def test_a_reference_scan_corrects_the_phase_of_reversed_lines(
    tmp_path, write_readouts, phase, field
):
    image, data, path, reference = epi(tmp_path, write_readouts, phase=phase, field=field)
    scan = read_scan(data, sequence=path, reference_scan=reference)
    assert scan.notes == []
    constant, slope = scan.header["phase_correction"][0]
    # determined up to pi, which is half a field of view where the field adds much
    assert math.remainder(constant - phase[0], np.pi) == pytest.approx(0, abs=0.02)
    assert slope == pytest.approx(phase[1], abs=0.02)
    if not field:
        same_magnitude(scan, image)
    plain = read_scan(data, sequence=path)
    assert any("--reference_scan" in note for note in plain.notes)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_navigators_before_the_lines_correct_their_phase(tmp_path, write_readouts, count):
    image, data, path, _ = epi(tmp_path, write_readouts, navigators=count, phase=(0.6, 0.1))
    scan = read_scan(data, sequence=path)
    assert scan.header["readouts"]["navigator"] == count and scan.notes == []
    same_magnitude(scan, image)


def same_magnitude(scan, image):
    """The magnitudes agree up to a factor and to what the estimated phase is off."""
    found, image = np.abs(ifft2c(scan.kspace).numpy()), np.abs(image)
    factor = (found * image).sum() / (found**2).sum()
    assert np.linalg.norm(factor * found - image) < 0.01 * np.linalg.norm(image)


def test_labels_name_navigators_calibration_lines_echoes_and_noise(tmp_path, write_readouts):
    """Two shots: noise and a navigator of other readouts, then a labelled calibration line."""
    build = Builder()
    label = pp.make_label
    build.read(label("NOISE", "SET", 1))
    for line in LINES:
        build.excite()
        build.move(-build.half - 0.5, line)
        build.read(label("NOISE", "SET", 0), label("REF", "SET", 0), label("NAV", "SET", 0))
        build.move(-2 * build.half)
        build.read(label("NAV", "SET", 1))
        if abs(line) < 2:
            build.move(-2 * build.half)
            build.read(label("REF", "SET", 1), label("NAV", "SET", 0))
    path = build.write(tmp_path)
    image = objects()[0]
    data = write_readouts(tmp_path / "a.h5", [signal(image, k) for k in positions(path)])
    scan = read_scan(data, sequence=path)
    kinds = {"imaging": N, "calibration": 3, "noise": 1, "other": 0, "navigator": N}
    assert scan.header["readouts"] == kinds
    same(scan, image[None, ..., 0])
    assert scan.calibration_kspace.any((0, 1, 2)).nonzero().flatten().tolist() == [5, 6, 7]


def test_a_sequence_of_another_scan_is_refused(tmp_path, write_readouts):
    path = Builder().gre([(line, 0) for line in LINES]).write(tmp_path)
    data = write_readouts(tmp_path / "a.h5", [np.ones((COILS, N + 2))] * N)
    words = (
        rf"a.seq must be the sequence of a.h5, got {N} readouts of {N} samples for {N} of {N + 2}"
    )
    with pytest.raises(ValueError, match=words):
        read_scan(data, sequence=path)
    with pytest.raises(FileNotFoundError, match="must exist, got"):
        read_scan(data, sequence=tmp_path / "none.seq")
    (tmp_path / "b.seq").write_bytes(b"nonsense\n" * 9)
    with pytest.raises(ValueError, match=r"b.seq must be a Pulseq sequence file"):
        read_scan(data, sequence=tmp_path / "b.seq")
    text = path.read_text()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "b.seq").write_text(text[: int(share * len(text))])
        with pytest.raises(ValueError, match=r"b\.seq must ") as caught:
            read_scan(data, sequence=tmp_path / "b.seq")
        assert "\n" not in str(caught.value)


def test_a_sequence_cut_off_anywhere_within_its_shapes_is_refused(tmp_path):
    """Where no number follows a shape's count of samples, pypulseq would read the end for ever."""
    text = Builder().gre([(0, 0)]).write(tmp_path).read_text()
    shapes = text.index("[SHAPES]")
    counts = [m.end() for m in re.finditer(r"num_samples \d+", text[shapes:])]
    ends = {*range(shapes, len(text), 97), *(shapes + end for end in counts)}
    for end in sorted(ends):
        (tmp_path / "b.seq").write_text(text[:end])
        with pytest.raises(ValueError, match=r"b\.seq must be a complete Pulseq") as caught:
            read_sequence(tmp_path / "b.seq")
        assert "\n" not in str(caught.value)


def test_a_radial_sequence_is_refused(tmp_path, write_readouts):
    build = Builder()
    for angle in np.linspace(0, np.pi, N, endpoint=False):
        build.excite()
        for event in (build.line,):
            back = pp.make_trapezoid("x", area=-event.area / 2, duration=1e-3, system=SYSTEM)
            build.seq.add_block(*pp.rotate(back, angle=angle, axis="z"))
            build.seq.add_block(*pp.rotate(event, angle=angle, axis="z"), build.adc)
    path = build.write(tmp_path)
    data = write_readouts(tmp_path / "a.h5", [np.ones((COILS, N))] * N)
    with pytest.raises(ValueError, match=r"a.seq must acquire a Cartesian grid, got samples"):
        read_scan(data, sequence=path)


def test_scans_that_do_not_fit_as_a_reference(tmp_path, write_readouts):
    image = np.zeros((COILS, N, N, 1))
    image[:, 3:9, 2:8] = 1
    _, data, path, reference = epi(tmp_path, write_readouts, phase=(0.6, 0.0), image=image)
    with pytest.raises(ValueError, match=r"a.h5 must not encode phase .*, got a first line"):
        read_scan(data, sequence=path, reference_scan=data)
    with pytest.raises(ValueError, match="must encode phase for an image, got one line only"):
        read_scan(reference, sequence=tmp_path / "reference.seq")
    short = write_readouts(tmp_path / "b.h5", [np.ones((COILS, 2 * N))] * 5)
    with pytest.raises(ValueError, match=r"b.h5 must have the readouts of a.h5 .*, got 5 of 24"):
        read_scan(data, sequence=path, reference_scan=short)


def test_without_pypulseq_the_remedy_is_named(tmp_path, write_readouts, monkeypatch):
    path = Builder().gre([(line, 0) for line in LINES]).write(tmp_path)
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    with pytest.raises(ValueError, match=r'pypulseq.*pip install "monarch_sciml\[scanners\]"'):
        read_sequence(path)
