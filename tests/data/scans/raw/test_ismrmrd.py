"""Files are written with the package `ismrmrd`, as a converter would; images are compared."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

ismrmrd = pytest.importorskip("ismrmrd")

from monarch_sciml.commands.info import info  # noqa: E402
from monarch_sciml.data.scans.formats.fastmri import write_fastmri  # noqa: E402
from monarch_sciml.data.scans.raw.ismrmrd import read_ismrmrd  # noqa: E402
from monarch_sciml.data.scans.read import describe_scan, read_scan  # noqa: E402
from monarch_sciml.data.scans.recognise import recognise  # noqa: E402
from monarch_sciml.data.scans.scan import Scan  # noqa: E402
from monarch_sciml.physics.sense_operator import ifft2c  # noqa: E402

H, W, COILS = 24, 20, 3


def phantom(n_slices=2, *, height=H, width=W, n_coils=COILS):
    """Coil images (s, c, H, W): discs of another place in every slice, smooth complex coils."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    images = []
    for number in range(n_slices):
        disc = ((x - 0.1 * number) ** 2 + (y + 0.3) ** 2 < 0.3) * (1.0 + number)
        images.append(
            [disc * np.exp(1j * (c + x * c - y)) * (1 + 0.2 * c * y) for c in range(n_coils)]
        )
    return np.array(images).astype(np.complex64)


def fourier(images):
    """Centred orthonormal k-space of the last two axes, by numpy."""
    axes = (-2, -1)
    shifted = np.fft.ifftshift(images, axes=axes)
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho", axes=axes), axes=axes)


def header(height, width, depth=1, *, oversampling=2, center=None, maximum=None, trajectory=None):
    """The XML header of a scan of `height` readout pixels, `width` lines, `depth` partitions."""
    xsd = ismrmrd.xsd
    field = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63500000)
    h = xsd.ismrmrdHeader(experimentalConditions=field)
    h.acquisitionSystemInformation = xsd.acquisitionSystemInformationType(
        relativeReceiverNoiseBandwidth=0.8
    )

    def space(x, fov):
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=width, z=depth),
            fieldOfView_mm=xsd.fieldOfViewMm(x=fov, y=200.0, z=5.0 * depth),
        )

    limits = xsd.encodingLimitsType()
    limits.kspace_encoding_step_1 = xsd.limitType(
        minimum=0,
        maximum=width - 1 if maximum is None else maximum,
        center=width // 2 if center is None else center,
    )
    if depth > 1:
        limits.kspace_encoding_step_2 = xsd.limitType(
            minimum=0, maximum=depth - 1, center=depth // 2
        )
    h.encoding.append(
        xsd.encodingType(
            encodedSpace=space(oversampling * height, oversampling * 240.0),
            reconSpace=space(height, 240.0),
            encodingLimits=limits,
            trajectory=trajectory or xsd.trajectoryType.CARTESIAN,
        )
    )
    return xsd.ToXML(h)


def readout(samples, *flags, center=None, dwell=5.0, **counters):
    """One acquisition of the samples (c, n)."""
    acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples, np.complex64))
    acquisition.center_sample = samples.shape[1] // 2 if center is None else center
    acquisition.sample_time_us = dwell
    for name, value in counters.items():
        setattr(acquisition.idx, name, value)
    for flag in flags:
        acquisition.setFlag(flag)
    return acquisition


def lines(kspace, *flags, oversampling=2, only=None, shift=0, first=0, **counters):
    """The acquisitions of k-space (s, c, H, W), slices interleaved, with oversampled readouts."""
    images = np.fft.ifftshift(kspace, axes=-2)
    images = np.fft.fftshift(np.fft.ifft(images, axis=-2, norm="ortho"), axes=-2)
    height = kspace.shape[2]
    big = oversampling * height
    top = big // 2 - height // 2
    padded = np.zeros((*kspace.shape[:2], big, kspace.shape[3]), complex)
    padded[:, :, top : top + height] = images
    full = np.fft.fft(np.fft.ifftshift(padded, axes=-2), axis=-2, norm="ortho")
    full = np.fft.fftshift(full, axes=-2)
    for column in range(kspace.shape[3]) if only is None else only:
        for number, volume in enumerate(full):
            samples = volume[:, first:, column]
            place = {"slice": number, "kspace_encode_step_1": column + shift}
            yield readout(samples, *flags, center=big // 2 - first, **place | counters)


def write(path, xml, acquisitions):
    dataset = ismrmrd.Dataset(str(path), "dataset")
    dataset.write_xml_header(xml if isinstance(xml, bytes) else xml.encode())
    for acquisition in acquisitions:
        dataset.append_acquisition(acquisition)
    dataset.close()
    return path


def noise(n_coils=COILS, n=4000, seed=0, *, mixing=None, dwell=5.0):
    rng = np.random.default_rng(seed)
    white = (rng.standard_normal((n_coils, n)) + 1j * rng.standard_normal((n_coils, n))) / 2**0.5
    mixing = np.eye(n_coils) if mixing is None else mixing
    return readout(mixing @ white, ismrmrd.ACQ_IS_NOISE_MEASUREMENT, dwell=dwell)


def same(scan, images, tolerance=2e-5):
    torch.testing.assert_close(
        ifft2c(scan.kspace), torch.from_numpy(images), rtol=tolerance, atol=tolerance
    )


@pytest.fixture
def images():
    return phantom()


def test_oversampled_slices_with_noise_scans(tmp_path, images):
    path = write(tmp_path / "a.h5", header(H, W), [noise(), *lines(fourier(images))])
    assert recognise(path) == "ismrmrd"
    scan = read_scan(path)
    assert scan.kspace.shape == (2, COILS, H, W) and scan.fully_sampled and scan.notes == []
    same(scan, images)
    same(read_scan(path, slices=slice(1, 2)), images[1:])
    assert scan.header["oversampling"] == 2 and scan.header["voxel_size"] == (5.0, 10.0, 10.0)
    assert scan.header["readouts"] == {
        "imaging": 40,
        "calibration": 0,
        "noise": 1,
        "other": 0,
        "navigator": 0,
    }
    assert scan.transformed == () and scan.calibration_kspace is None


def test_the_reader_of_the_package_itself_gives_the_same_lines(tmp_path, images):
    path = write(
        tmp_path / "a.h5", header(H, W, oversampling=1), lines(fourier(images), oversampling=1)
    )
    scan = read_scan(path)
    dataset = ismrmrd.Dataset(str(path), create_if_needed=False)
    for i in range(dataset.number_of_acquisitions()):
        line = dataset.read_acquisition(i)
        number, column = line.idx.slice, line.idx.kspace_encode_step_1
        np.testing.assert_allclose(scan.kspace[number, :, :, column], line.data, atol=1e-5)
    dataset.close()


def test_an_odd_matrix_without_limits(tmp_path):
    images = phantom(1, height=15, width=13)
    xml = header(15, 13)
    start, end = xml.index("<encodingLimits>"), xml.index("</encodingLimits>")
    xml = xml[:start] + "<encodingLimits>" + xml[end:]
    same(read_scan(write(tmp_path / "a.h5", xml, lines(fourier(images)))), images)


def test_partial_fourier_lines_are_placed_by_the_limits(tmp_path, images):
    """5 of 20 lines before the centre were left out: counters start at 0, the centre is 5."""
    kspace = fourier(images)
    measured = lines(kspace, only=range(5, W), shift=-5)
    xml = header(H, W, center=W // 2 - 5, maximum=W - 6)
    scan = read_scan(write(tmp_path / "a.h5", xml, measured))
    expected = kspace.copy()
    expected[..., :5] = 0
    np.testing.assert_allclose(scan.kspace, expected, atol=2e-5)
    assert scan.mask.shape == (H, W) and not scan.mask[:, :5].any() and scan.mask[:, 5:].all()
    assert scan.acceleration == pytest.approx(20 / 15) and "padding" not in scan.header


def test_what_a_converter_left_unset_is_centred(tmp_path, images):
    """No centre sample and the centre line 0, though lines fill the matrix."""
    measured = list(lines(fourier(images)))
    for line in measured:
        line.center_sample = 0
    scan = read_scan(write(tmp_path / "a.h5", header(H, W, center=0), measured))
    same(scan, images)
    assert scan.notes == ["the header gives no centre line: lines are taken to be centred"]


def test_half_fourier_with_the_centre_line_0(tmp_path, images):
    kspace = fourier(images)
    measured = lines(kspace, only=range(W // 2, W), shift=-(W // 2))
    xml = header(H, W, center=0, maximum=W // 2 - 1)
    scan = read_scan(write(tmp_path / "a.h5", xml, measured))
    assert scan.mask.any(0).nonzero().flatten().tolist() == [*range(W // 2, W)]
    np.testing.assert_allclose(scan.kspace[..., W // 2 :], kspace[..., W // 2 :], atol=2e-5)


def test_lines_that_no_scan_acquired_at_both_ends_are_padding(tmp_path, images):
    kspace = fourier(images)
    measured = lines(kspace, only=range(3, W - 3), shift=-3)
    xml = header(H, W, center=W // 2 - 3, maximum=W - 7)
    scan = read_scan(write(tmp_path / "a.h5", xml, measured))
    assert scan.header["padding"] == (3, W - 3) and scan.acceleration == 1


def test_asymmetric_echo_is_shifted_by_center_sample(tmp_path, images):
    """The first 12 of 48 samples are missing: 6 of 24 rows once oversampling is removed."""
    kspace = fourier(images)
    scan = read_scan(write(tmp_path / "a.h5", header(H, W), lines(kspace, first=12)))
    rows = scan.mask[:, 0]
    assert not rows[:6].any() and rows[6:].all()
    measured = torch.from_numpy(kspace[:, :, 6:])
    error = (scan.kspace[:, :, 6:] - measured).abs().square().sum() / measured.abs().square().sum()
    assert error < 0.01  # the missing samples ring into their neighbours
    without = read_scan(
        write(
            tmp_path / "b.h5",
            header(H, W, oversampling=1),
            lines(kspace, oversampling=1, first=6),
        )
    )
    np.testing.assert_allclose(without.kspace[:, :, 6:], kspace[:, :, 6:], atol=1e-5)
    assert not without.kspace[:, :, :6].any()


def test_reversed_readouts_are_turned_round(tmp_path, images):
    measured = []
    for i, line in enumerate(lines(fourier(images))):
        if i % 2:
            line.setFlag(ismrmrd.ACQ_IS_REVERSE)
            line.data[:] = line.data[:, ::-1].copy()
        measured.append(line)
    same(read_scan(write(tmp_path / "a.h5", header(H, W), measured)), images)


def test_discarded_samples_stay_out(tmp_path, images):
    measured = list(lines(fourier(images), oversampling=1))
    for line in measured:
        line.data[:, :2] = line.data[:, -3:] = 1e6
        line.discard_pre, line.discard_post = 2, 3
    scan = read_scan(write(tmp_path / "a.h5", header(H, W, oversampling=1), measured))
    assert not scan.mask[:2].any() and scan.mask[2:-3].all() and not scan.mask[-3:].any()
    assert scan.kspace.abs().max() < 1e4


def test_missing_lines_are_in_the_mask(tmp_path, images):
    only = [*range(0, W, 3), *range(8, 13)]
    path = write(tmp_path / "a.h5", header(H, W), lines(fourier(images), only=sorted({*only})))
    scan = read_scan(path)
    assert scan.mask.any(0).nonzero().flatten().tolist() == sorted({*only})
    assert not scan.kspace[..., ~scan.mask[0]].any()
    found = describe_scan(path)
    assert found["format"] == "ISMRMRD" and found["slices"] == 2
    assert found["acceleration"] == round(W / len({*only}), 3) and found["calibration"] == (H, 5)


def test_contrasts_repetitions_and_averages(tmp_path, images):
    kspace = fourier(images)
    measured = []
    for contrast in range(2):
        for repetition in range(3):
            scale = 10.0**contrast * (1 + repetition)
            for average in range(2):  # their mean is the line itself
                factor = scale * (0.5 + average)
                place = {"contrast": contrast, "repetition": repetition, "average": average}
                measured += lines(factor * kspace, **place)
    path = write(tmp_path / "a.h5", header(H, W), measured)
    same(read_scan(path), images)
    same(read_scan(path, contrast=1, repetition=2), 30 * images, 1e-4)
    same(read_scan(path, repetition="average"), 2 * images)
    found = describe_scan(path, contrast=1)
    assert (found["contrasts"], found["repetitions"]) == (2, 3)
    for name in ("contrast", "repetition"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of 0, 1.* of a.h5, got 7"):
            read_scan(path, **{name: 7})


def test_of_cardiac_phases_the_first_is_read_and_that_is_said(tmp_path, images):
    kspace = fourier(images)
    measured = [*lines(kspace, phase=0), *lines(5 * kspace, phase=1)]
    scan = read_scan(write(tmp_path / "a.h5", header(H, W), measured))
    same(scan, images)
    assert scan.notes == ["phase 0 of 2 was read: the others were left out"]


def test_calibration_lines_are_told_from_imaging_lines(tmp_path, images):
    kspace = fourier(images)
    image, both = range(0, W, 4), [8, 12]
    measured = [
        *lines(kspace, only=[i for i in image if i not in both]),
        *lines(kspace, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING, only=both),
        *lines(kspace, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, only=[9, 10, 11]),
        *lines(1e3 * kspace, ismrmrd.ACQ_IS_NAVIGATION_DATA, only=[10]),
    ]
    path = write(tmp_path / "a.h5", header(H, W), measured)
    scan = read_scan(path)
    assert scan.mask.any(0).nonzero().flatten().tolist() == [*image]
    assert scan.header["readouts"]["calibration"] == 6 and scan.header["readouts"]["other"] == 2
    np.testing.assert_allclose(scan.calibration_kspace[..., 9:12], kspace[..., 9:12], atol=2e-5)
    merged = scan.with_calibration().validate()
    assert merged.mask.any(0).nonzero().flatten().tolist() == [0, 4, 8, 9, 10, 11, 12, 16]
    np.testing.assert_allclose(merged.kspace[..., 8:13], kspace[..., 8:13], atol=2e-5)
    assert merged.with_calibration() is merged
    found = describe_scan(path)
    assert (found["calibration"], found["separate_calibration"]) == ((0, 0), (H, 5))
    assert info(path).count(f"0 x 0, {H} x 5 with separate lines") == 1


def test_calibration_of_another_matrix_is_left_out_and_that_is_said(tmp_path, images):
    kspace = fourier(images)
    small = np.ones((COILS, 10), complex)
    wrong = readout(small, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, kspace_encode_step_1=90)
    scan = read_scan(write(tmp_path / "a.h5", header(H, W), [wrong, *lines(kspace)]))
    same(scan, images)
    assert scan.calibration_kspace is None and "were left out" in scan.notes[0]


def test_three_dimensions_become_slices_of_hybrid_space(tmp_path):
    depth = 6
    volume = np.stack([phantom(1)[0] * (1 + z) for z in range(depth)], axis=-1)  # (c, x, y, z)
    axes = (1, 2, 3)
    kspace = np.fft.fftn(np.fft.ifftshift(volume, axes=axes), axes=axes, norm="ortho")
    kspace = np.fft.fftshift(kspace, axes=axes)
    measured = []
    for z in range(depth):
        measured += lines(kspace[None, ..., z], kspace_encode_step_2=z)
    path = write(tmp_path / "a.h5", header(H, W, depth), measured)
    scan = read_scan(path)
    assert scan.transformed == ("readout",) and scan.kspace.shape == (H, COILS, W, depth)
    same(scan, volume.transpose(1, 0, 2, 3))
    part = read_scan(path, slices=slice(7, 9))
    same(part, volume.transpose(1, 0, 2, 3)[7:9])
    found = describe_scan(path)
    assert (found["slices"], found["matrix"]) == (H, (W, depth))
    assert found["acceleration"] == 1 and found["transformed"] == ("readout",)


def test_description_reads_few_readouts(tmp_path, images, monkeypatch):
    path = write(tmp_path / "a.h5", header(H, W), lines(fourier(images)))
    monkeypatch.setattr("monarch_sciml.data.scans.read.PROBE", 4)
    seen = []
    load = __import__("monarch_sciml.data.scans.raw.ismrmrd", fromlist=["_load"])._load
    monkeypatch.setattr(
        "monarch_sciml.data.scans.raw.ismrmrd._load",
        lambda p, n, r: seen.extend(n) or load(p, n, r),
    )
    found = describe_scan(path)
    assert found["acceleration"] == 1 and len(seen) == 4  # the mask still counts all lines


def test_prewhitening(tmp_path, images):
    mixing = np.array([[2, 0, 0], [1, 1, 0], [0.5j, 0, 3]])
    kspace = fourier(images)
    rng = np.random.default_rng(1)
    grain = rng.standard_normal((2, 2, COILS, H, W))
    grain = (grain[0] + 1j * grain[1]) / 2**0.5
    noisy = np.einsum("dc,schw->sdhw", mixing, grain)  # noise only
    scans = [noise(n=40000, mixing=mixing), *lines(noisy)]
    xml = header(H, W).replace("0.8", "1.0", 1)
    scan = read_ismrmrd(write(tmp_path / "a.h5", xml, scans), prewhiten=True)
    samples = scan.kspace.transpose(0, 1).reshape(COILS, -1)
    covariance = samples @ samples.conj().T / samples.shape[1]
    torch.testing.assert_close(covariance, torch.eye(COILS) + 0j, rtol=0, atol=0.15)
    # the same matrix, by numpy from the noise itself, for the image
    path = write(tmp_path / "b.h5", header(H, W), [noise(mixing=mixing, dwell=2.5), *lines(kspace)])
    psi = np.cov(noise(mixing=mixing).data, bias=True)
    white = np.linalg.inv(np.linalg.cholesky(psi * 0.8 * 2.5 / 5.0))
    expected = np.einsum("dc,schw->sdhw", white, images).astype(np.complex64)
    same(read_scan(path, prewhiten=True), expected, 5e-3)
    plain = write(tmp_path / "c.h5", header(H, W), lines(kspace))
    with pytest.raises(ValueError, match="needs noise samples of its 3 coils, got 0 samples"):
        read_scan(plain, prewhiten=True)


def test_a_dead_coil_is_named(tmp_path, images):
    images[:, 1] = 0
    scan = read_scan(write(tmp_path / "a.h5", header(H, W), lines(fourier(images))))
    assert scan.notes == ["dead coil 1 of 3 (counted from 0): no signal"]


BAD = ["outside", "counts", "coils", "center", "noise", "nan", "radial", "xml", "text", "zeros"]


def bad_files(images):
    """Name, XML, acquisitions and the words of the error, for each way to be wrong."""
    kspace = fourier(images)
    full = list(lines(kspace))
    nan = list(lines(kspace))
    nan[7].data[0, 0] = np.nan
    radial = header(H, W, trajectory=ismrmrd.xsd.trajectoryType.RADIAL)
    return {
        "outside": (header(H, W), lines(kspace, shift=40), r"every line .* matrix of 20, got 40"),
        "counts": (
            header(H, W),
            [*full, readout(np.ones((COILS, 40)), kspace_encode_step_1=3)],
            r"must have one number of samples, got 40, 48",
        ),
        "coils": (
            header(H, W),
            [*full, readout(np.ones((2, 48)))],
            "one number of coils, got 2, 3",
        ),
        "center": (
            header(H, W),
            [readout(np.ones((COILS, 48)), center=9)],
            r"readouts .* must lie within its matrix of 48, got samples 15 to 62",
        ),
        "noise": (header(H, W), [noise()], "must hold imaging readouts, got 1 noise readouts"),
        "nan": (header(H, W), nan, "must be finite"),
        "radial": (radial, full, "must be a Cartesian scan, got trajectory 'radial'"),
        "xml": ("<a/>", full, "must describe an encoding, got none"),
        "text": ("nonsense", full, "must give encoded and reconstructed matrix sizes"),
        "zeros": (header(H, W), lines(0 * kspace), "must hold a signal"),
    }


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, images, name):
    xml, acquisitions, words = bad_files(images)[name]
    path = write(tmp_path / "a.h5", xml, acquisitions)
    with pytest.raises(ValueError, match=words) as caught:
        read_scan(path)
    assert "\n" not in str(caught.value)


def test_truncated_files_are_refused(tmp_path, images):
    path = write(tmp_path / "a.h5", header(H, W), lines(fourier(images)))
    data = path.read_bytes()
    refused = 0
    for share in np.linspace(0.05, 0.99, 12):
        path.write_bytes(data[: int(share * len(data))])
        for read in (read_scan, describe_scan):
            with pytest.raises(ValueError) as caught:
                read(path)
            assert "\n" not in str(caught.value)
            refused += 1
    assert refused == 24


def test_fastmri_and_ismrmrd_are_told_apart_in_both_directions(tmp_path, images):
    """A fastMRI file has an ISMRMRD header, and both are called .h5."""
    raw = write(tmp_path / "raw.h5", header(H, W), lines(fourier(images)))
    scan = read_scan(raw)
    write_fastmri(tmp_path / "fast.h5", replace(scan, header={}))
    assert (recognise(raw), recognise(tmp_path / "fast.h5")) == ("ismrmrd", "fastmri")
    with pytest.raises(ValueError, match=r"must be a fastMRI file .*, got an ISMRMRD"):
        read_scan(raw, format="fastmri")
    with pytest.raises(ValueError, match=r"must be an ISMRMRD .*, got a fastMRI file"):
        read_scan(tmp_path / "fast.h5", format="ismrmrd")


def test_a_group_of_another_name_and_no_acquisitions(tmp_path, images):
    path = write(tmp_path / "a.h5", header(H, W), lines(fourier(images)))
    with h5py.File(path, "r+") as file:
        file.move("dataset", "scan_3")
    same(read_scan(path), images)
    with h5py.File(path, "r+") as file:
        del file["scan_3/data"]
        file["scan_3/data"] = np.zeros(3)
    with pytest.raises(ValueError, match="must hold ISMRMRD acquisitions, got"):
        read_scan(path)
    with h5py.File(path, "r+") as file:
        del file["scan_3/data"]
    with pytest.raises(ValueError, match="must hold the data set `kspace`"):
        read_scan(path)


def test_calibration_must_fit():
    kspace = torch.ones(1, 2, 8, 8, dtype=torch.complex64)
    with pytest.raises(ValueError, match="`calibration_kspace` of scan must fit k-space"):
        Scan(kspace, calibration_kspace=kspace[:, :1]).validate()


def test_where_slices_lie_in_the_patient(tmp_path, images):
    acquisitions = list(lines(fourier(images)))
    directions = ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0])
    for acquisition in acquisitions:
        head = acquisition.getHead()
        head.position[:] = [1.0, 2.0, 6.0 * acquisition.idx.slice]
        head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = directions
        acquisition.setHead(head)
    path = write(tmp_path / "a.h5", header(H, W), acquisitions)
    found = read_scan(path).header["orientation"]
    assert found["positions"] == [[1.0, 2.0, 6.0 * i] for i in range(len(images))]
    np.testing.assert_allclose(found["directions"], directions)
    assert read_scan(path, slices=slice(1, 2)).header["orientation"]["positions"] == [[1.0, 2.0, 6]]
    plain = write(tmp_path / "b.h5", header(H, W), lines(fourier(images)))
    assert read_scan(plain).header["orientation"] is None
