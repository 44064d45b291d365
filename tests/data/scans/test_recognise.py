import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.read import describe_scan, read_scan
from monarch_sciml.data.scans.recognise import recognise
from monarch_sciml.data.scans.scan import Scan, acquired_samples
from monarch_sciml.physics.sampling import PoissonDiscMask, UniformMask

SCANS = Path(__file__).parents[3] / "../shared/kspace"
needs_scans = pytest.mark.skipif(not SCANS.exists(), reason="no scanner data beside the checkout")


def random_kspace(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def files(tmp_path):
    """The same k-space (2, 3, 12, 10) in every format; the path of each."""
    kspace = random_kspace(2, 3, 12, 10)
    write_fastmri(tmp_path / "a.h5", Scan(kspace))
    write_bart(tmp_path / "b.cfl", kspace)
    np.save(tmp_path / "c.npy", kspace.numpy())
    scipy.io.savemat(tmp_path / "d.mat", {"k": kspace.numpy(), "scalar": 1.0})
    parts = np.zeros(kspace.shape[::-1], dtype=[("real", "<f4"), ("imag", "<f4")])
    parts["real"], parts["imag"] = kspace.numpy().T.real, kspace.numpy().T.imag
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["k"] = parts
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512)
    with h5py.File(tmp_path / "e.mat", "w", userblock_size=512) as file:
        file["k"] = parts
    with (tmp_path / "e.mat").open("r+b") as stream:
        stream.write(header)
    names = {"fastmri": "a.h5", "bart": "b.cfl", "npy": "c.npy", "mat": "d.mat", "mat73": "e.mat"}
    return kspace, {form: tmp_path / name for form, name in names.items()}


FORMATS = ["fastmri", "bart", "npy", "mat", "mat73"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_recognised_and_read(files, form):
    kspace, paths = files
    assert recognise(paths[form]) == form.removesuffix("73")
    scan = read_scan(paths[form])
    torch.testing.assert_close(scan.kspace, kspace, rtol=0, atol=0)
    assert (scan.n_slices, scan.n_coils, scan.matrix) == (2, 3, (12, 10))
    assert scan.fully_sampled and scan.mask.dtype == torch.bool
    part = read_scan(paths[form], slices=slice(1, 2))
    torch.testing.assert_close(part.kspace, kspace[1:], rtol=0, atol=0)


@pytest.mark.parametrize("form", ["fastmri", "npy", "mat", "mat73"])
def test_the_content_decides_not_the_name(files, form):
    kspace, paths = files
    renamed = paths[form].rename(paths[form].with_name("scan.dat"))
    torch.testing.assert_close(read_scan(renamed).kspace, kspace, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["b.cfl", "b.hdr", "b"])
def test_bart_by_either_name(files, name):
    kspace, paths = files
    scan = read_scan(paths["bart"].with_name(name))
    torch.testing.assert_close(scan.kspace, kspace, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMATS)
def test_describe(files, form):
    _, paths = files
    facts = describe_scan(paths[form])
    names = {"fastmri": "fastMRI", "bart": "BART", "npy": "NumPy"}
    assert facts["format"] == names.get(form, "MATLAB")
    assert (facts["slices"], facts["coils"], facts["matrix"]) == (2, 3, (12, 10))
    assert facts["acceleration"] == 1.0 and facts["fully_sampled"]
    assert facts["calibration"] == (12, 10)
    assert facts["dtype"] == "complex64"
    assert facts["reference"] == ("reconstruction_rss (2, 12, 10)" if form == "fastmri" else None)


def test_describe_gives_the_achieved_acceleration(tmp_path):
    mask = UniformMask(3, 24)((20, 180))
    write_bart(tmp_path / "a", random_kspace(1, 2, 20, 180) * mask)
    facts = describe_scan(tmp_path / "a.hdr")
    assert facts["acceleration"] == round(180 / mask[0].sum().item(), 3) == 2.368
    assert facts["calibration"] == (20, 25)
    assert not facts["fully_sampled"]


def test_a_mask_is_derived_for_each_slice_where_they_differ():
    masks = torch.stack([PoissonDiscMask(3, 8)((24, 24), seed=i) for i in range(2)]) != 0
    kspace = random_kspace(2, 3, 24, 24) * masks[:, None]
    scan = Scan(kspace).validate()
    assert torch.equal(scan.mask, masks) and torch.equal(scan.slice_mask(1), masks[1])
    assert scan.acceleration == pytest.approx(2 * 24 * 24 / masks.sum().item())
    assert torch.equal(acquired_samples(kspace[:1]), masks[0])


def test_undersampling_a_scan():
    full = Scan(random_kspace(2, 3, 12, 10), target=torch.ones(2, 12, 10), name="x")
    mask = UniformMask(3, 2)((12, 10))
    scan = full.undersampled(mask).validate()
    torch.testing.assert_close(scan.kspace, full.kspace * mask, rtol=0, atol=0)
    assert torch.equal(scan.mask, mask != 0) and scan.target is full.target
    assert full.fully_sampled and scan.acceleration == pytest.approx(10 / mask[0].sum().item())
    masks = torch.stack([mask, torch.ones(12, 10)])
    torch.testing.assert_close(full.undersampled(masks).kspace[1], full.kspace[1])
    assert torch.equal(scan.undersampled(torch.ones(12, 10)).mask, scan.mask)
    with pytest.raises(ValueError, match=r"must have the shape \(12, 10\) .* got \(10, 12\)"):
        full.undersampled(mask.T)
    with pytest.raises(ValueError, match="must keep acquired samples of x, got none"):
        scan.undersampled(1 - mask)


def test_a_sample_that_is_zero_in_one_coil_only_was_acquired():
    kspace = random_kspace(1, 3, 8, 8)
    kspace[0, 1] = 0
    assert acquired_samples(kspace).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda k: k[0], "must be complex of shape"),
        (lambda k: k.abs(), "must be complex of shape"),
        (lambda k: k[:0], "must be complex of shape"),
        (lambda k: k * 0, "must hold a signal, got zeros only"),
        (lambda k: k * float("nan"), "must be finite, got 288 NaN or infinite values of 288"),
        (lambda k: k.index_fill(0, torch.tensor(1), float("inf")), "got 144 NaN"),
    ],
)
def test_bad_kspace_is_refused(change, text):
    with pytest.raises(ValueError, match=text) as error:
        Scan(change(random_kspace(2, 3, 8, 6)), name="x").validate()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"mask": torch.ones(6, 8)}, r"`mask` of x must fit .* shape \(8, 6\) or \(2, 8, 6\)"),
        ({"mask": torch.zeros(8, 6)}, "must acquire samples"),
        ({"coil_maps": random_kspace(2, 4, 8, 6)}, r"`coil_maps` .* \(2, 3, 8, 6\), got"),
        ({"target": torch.ones(8, 6)}, "for each of 2 slices"),
        ({"target": torch.ones(3, 8, 6)}, "for each of 2 slices"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(parts, text):
    with pytest.raises(ValueError, match=text):
        Scan(random_kspace(2, 3, 8, 6), name="x", **parts).validate()


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("form", ["fastmri", "bart", "npy"])
def test_files_of_zeros_or_nan_are_refused(files, form, value):
    kspace, paths = files
    bad = kspace * value
    if form == "fastmri":
        with h5py.File(paths[form], "r+") as file:
            file["kspace"][...] = bad.numpy()
    elif form == "bart":
        write_bart(paths[form], bad, overwrite=True)
    else:
        np.save(paths[form], bad.numpy())
    for read in (read_scan, describe_scan):
        with pytest.raises(ValueError, match=r"must hold a signal|must be finite"):
            read(paths[form])


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"\x00\x01twix")
    with pytest.raises(
        ValueError, match=r"must be a fastMRI, ISMRMRD, .*, BART .cfl/.hdr, .npy or .mat file"
    ):
        read_scan(tmp_path / "a.dat")
    (tmp_path / "b.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="got an empty file"):
        read_scan(tmp_path / "b.h5")
    for name in ("c.h5", "c.cfl", "c.hdr", "c"):
        with pytest.raises(FileNotFoundError, match="the file must exist"):
            read_scan(tmp_path / name)
    with pytest.raises(ValueError, match="`format` must be one of"):
        read_scan(tmp_path / "a.dat", format="dicom")


@pytest.mark.parametrize("form", ["npy", "mat", "mat73"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.6, 0.95])
def test_truncated_arrays_are_refused(files, form, share):
    _, paths = files
    data = paths[form].read_bytes()
    paths[form].write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"must be a complete .*file, got") as error:
        read_scan(paths[form])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((12, 10), None, (1, 1, 12, 10)),
        ((3, 12, 10), None, (1, 3, 12, 10)),
        ((12, 10, 3), "height,width,coil", (1, 3, 12, 10)),
        ((10, 12, 1, 3), "width, height, 1, coil", (1, 3, 12, 10)),
        ((12, 10, 2), "height,width,slice", (2, 1, 12, 10)),
        ((1, 12, 10, 3, 2), "1,height,width,coil,slice", (2, 3, 12, 10)),
    ],
)
def test_named_axes(tmp_path, shape, axes, expected):
    array = random_kspace(*shape).numpy()
    np.save(tmp_path / "a.npy", array)
    kspace = read_scan(tmp_path / "a.npy", axes=axes).kspace
    assert tuple(kspace.shape) == expected
    names = (axes or ",".join(["slice", "coil", "height", "width"][-len(shape) :])).split(",")
    where = dict(zip(("slice", "coil", "height", "width"), (0, expected[1] - 1, 11, 4)))
    index = tuple(where.get(name.strip(), 0) for name in names)
    assert kspace[tuple(where.values())].item() == array[index].item()


@pytest.mark.parametrize(
    "axes",
    [
        "height,width",
        "height,width,hue",
        "coil,coil,width",
        "coil,slice,width",
        "1,height,width",
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    np.save(tmp_path / "a.npy", random_kspace(3, 12, 10).numpy())
    with pytest.raises(ValueError, match=r"`axes` must name each axis of the array of shape"):
        read_scan(tmp_path / "a.npy", axes=axes)


def test_arrays_that_need_more_information(tmp_path):
    np.save(tmp_path / "coils_last.npy", random_kspace(230, 18, 8).numpy())
    with pytest.raises(ValueError, match="must have at most 128 coils along axis -3"):
        read_scan(tmp_path / "coils_last.npy")
    np.save(tmp_path / "deep.npy", random_kspace(2, 2, 2, 4, 4).numpy())
    with pytest.raises(ValueError, match="must have 2, 3 or 4 axes of more than one point"):
        read_scan(tmp_path / "deep.npy")
    np.save(tmp_path / "real.npy", np.ones((3, 4)))
    with pytest.raises(ValueError, match="must hold complex k-space, got float64"):
        read_scan(tmp_path / "real.npy")
    scipy.io.savemat(tmp_path / "two.mat", {"a": np.ones((3, 3)) * 1j, "b": np.ones((4, 4)) * 1j})
    with pytest.raises(ValueError, match=r"one of the arrays of .*: a \(3, 3\), b .*, got None"):
        read_scan(tmp_path / "two.mat")
    assert read_scan(tmp_path / "two.mat", variable="b").matrix == (4, 4)


def test_options_of_another_format_are_refused(files):
    _, paths = files
    with pytest.raises(
        ValueError, match=r"`axes` is for .npy and .mat files only, got a bart file"
    ):
        read_scan(paths["bart"], axes="height,width")


def test_a_pickle_in_a_npy_file_is_never_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="must be a complete"):
        read_scan(tmp_path / "a.npy")


@needs_scans
def test_real_scans():
    brain = read_scan(SCANS / "brain8ch_230x180_full.cfl")
    assert brain.kspace.shape == (1, 8, 230, 180) and brain.fully_sampled
    facts = describe_scan(SCANS / "sigpy_cartesian_ksp.npy")
    assert (facts["coils"], facts["matrix"]) == (8, (230, 180))
    assert facts["acceleration"] > 6 and min(facts["calibration"]) >= 24
    spine = read_scan(SCANS / "larson_se_t1_sag.mat")
    assert spine.kspace.shape == (1, 1, 256, 256) and spine.header["dtype"] == "complex128"
    with pytest.raises(ValueError, match="`variable` must name one of the arrays"):
        read_scan(SCANS / "alignedSENSE_xGT_sens32.mat")


@needs_scans
@pytest.mark.skipif(not shutil.which("bart"), reason="BART is not installed")
def test_real_scan_through_a_fastmri_file(tmp_path):
    brain = read_scan(SCANS / "brain8ch_230x180_full.hdr")
    write_fastmri(tmp_path / "brain.h5", brain)
    back = read_scan(tmp_path / "brain.h5")
    torch.testing.assert_close(back.kspace, brain.kspace, rtol=0, atol=0)
    assert describe_scan(tmp_path / "brain.h5")["reference"] == "reconstruction_rss (1, 230, 180)"
