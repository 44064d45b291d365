import json
import re
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread
from skimage.metrics import structural_similarity

from monarch_sciml._checks import UsageError
from monarch_sciml.commands import reconstruct as command
from monarch_sciml.commands.reconstruct.methods import scale_of
from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import read_fastmri, write_fastmri
from monarch_sciml.data.scans.samples import ScanDataset
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.spec import FieldSpec
from monarch_sciml.models import SENSE
from monarch_sciml.physics import UniformMask, center_crop, combine, ifft2c, rss
from monarch_sciml.training import save_checkpoint


def reconstruct(path, **options):
    return command.reconstruct(path, command.Settings(**options))


SCANS = Path(__file__).parents[3] / "../shared/kspace"
needs_scans = pytest.mark.skipif(not SCANS.exists(), reason="no scanner data beside the checkout")
QUIET = {"progress": False, "calibration": 12}


def table(text):
    """The numbers of each method."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("method"))
    names = re.split(r"\s{2,}", lines[start].strip())
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[start + 2 :]]
    rows = [row for row in rows if len(row) == len(names)]
    return {row[0]: dict(zip(names[1:], map(float, row[1:]))) for row in rows}


@pytest.fixture
def path(tmp_path, make_scan):
    """A fully sampled scan with maps and target."""
    write_fastmri(tmp_path / "scan.h5", make_scan(noise=0.02))
    return tmp_path / "scan.h5"


@needs_scans
def test_the_brain_has_the_errors_found_with_bart(tmp_path):
    text = reconstruct(
        SCANS / "brain8ch_230x180_full.cfl",
        method="zero_filled,cg_sense",
        acceleration=3,
        output=tmp_path / "o.h5",
        progress=False,
    )
    assert "2.37 achieved, fully sampled centre 230 x 25" in text
    found = {name: row["NMSE"] for name, row in table(text).items()}
    assert found["zero_filled"] == pytest.approx(0.0253, abs=5e-5)
    assert found["cg_sense"] == pytest.approx(0.0039, abs=5e-5)
    picture = imread(tmp_path / "o.png")
    assert min(picture.shape[:2]) > 500 and picture.std() > 0.1


@needs_scans
def test_an_undersampled_scan_gets_no_invented_numbers(tmp_path):
    text = reconstruct(
        SCANS / "sigpy_cartesian_ksp.npy",
        axes="coil,height,width",
        method="zero_filled",
        output=tmp_path / "o.h5",
        progress=False,
    )
    assert "8.04 achieved" in text and "none: no errors can be given" in text
    assert table(text).keys() == {"zero_filled"} and table(text)["zero_filled"].keys() == {
        "s per slice"
    }
    assert "NMSE" not in text and "PSNR" not in text
    with h5py.File(tmp_path / "o.h5") as file:
        assert "target" not in file and file.attrs["reference"] == "none"
        assert set(file["reconstructions/zero_filled"].attrs) == {"seconds_per_slice"}
    assert (tmp_path / "o.png").stat().st_size > 10_000


def test_errors_are_those_of_others_on_the_images_written(path, tmp_path):
    output = tmp_path / "o.h5"
    text = reconstruct(path, method="cg_sense,zero_filled", mask="uniform", acceleration=2,
                       output=output, **QUIET)  # fmt: skip
    found = table(text)
    assert list(found) == ["zero_filled", "cg_sense"]
    with h5py.File(output) as file:
        target = file["target"][()].astype(np.float64)
        images = {name: file["reconstructions"][name][()].astype(np.float64) for name in found}
        np.testing.assert_array_equal(file["reconstruction"][()], images["cg_sense"])
        assert file.attrs["method"] == "cg_sense" and file.attrs["source"] == "scan.h5"
        assert file.attrs["acceleration"] == pytest.approx(36 / 24)
        stored = file["reconstructions/zero_filled"].attrs["nmse"]
    for name, image in images.items():
        nmse = ((image - target) ** 2).sum() / (target**2).sum()
        psnr = 10 * np.log10(target.max() ** 2 / ((image - target) ** 2).mean())
        ssim = [structural_similarity(t, i, data_range=target.max()) for t, i in zip(target, image)]
        assert found[name]["NMSE"] == pytest.approx(nmse, rel=1e-3)
        assert found[name]["PSNR (dB)"] == pytest.approx(psnr, abs=0.006)
        assert found[name]["SSIM"] == pytest.approx(np.mean(ssim), abs=6e-5)
    assert stored == pytest.approx(found["zero_filled"]["NMSE"], rel=1e-3)


def test_the_file_written_is_a_scan_again(path, tmp_path):
    output = tmp_path / "o.h5"
    first = reconstruct(path, method="cg_sense", acceleration=2, output=output, **QUIET)
    scan, original = read_fastmri(output), read_fastmri(path)
    mask = UniformMask(2, 12)(scan.matrix)
    torch.testing.assert_close(scan.kspace, original.kspace * mask, rtol=0, atol=0)
    assert torch.equal(scan.mask, mask != 0) and scan.coil_maps is not None
    again = reconstruct(output, method="cg_sense", coil_maps="stored", **QUIET)
    assert "target in the file" in again
    assert table(again)["cg_sense"]["NMSE"] == table(first)["cg_sense"]["NMSE"]


def test_stored_maps_and_target_solve_the_exact_problem(tmp_path, make_scan):
    write_fastmri(tmp_path / "a.h5", make_scan())
    text = reconstruct(tmp_path / "a.h5", method="cg_sense", regularization=0.0, acceleration=2,
                       coil_maps="stored", **QUIET)  # fmt: skip
    assert "the coil-combined target in the file" in text
    assert table(text)["cg_sense"]["NMSE"] < 1e-6


def test_maps_from_a_file_are_used(tmp_path, make_scan):
    scan = make_scan()
    write_bart(tmp_path / "k.cfl", scan.kspace)
    write_bart(tmp_path / "maps.cfl", scan.coil_maps)
    options = {"method": "cg_sense", "regularization": 0.0, "acceleration": 2, **QUIET}
    text = reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "maps.cfl", **options)
    assert table(text)["cg_sense"]["NMSE"] < 1e-6 and "maps.cfl" in text
    write_bart(tmp_path / "other.cfl", scan.coil_maps[:, :3])
    with pytest.raises(ValueError, match=r"maps in .*other\.cfl must have .* \(2, 1, 4, 40, 36\)"):
        reconstruct(tmp_path / "k.cfl", coil_maps=tmp_path / "other.cfl", **options)


def test_nothing_left_out_is_reconstructed_as_it_is(path):
    text = reconstruct(path, method="zero_filled", **QUIET)
    assert "as acquired" in text and "1.00 achieved" in text
    assert table(text)["zero_filled"]["NMSE"] < 1e-10


def test_images_have_the_size_of_the_reference_in_the_file(tmp_path, make_scan):
    scan = make_scan(noise=0.02)
    target = center_crop(rss(ifft2c(scan.kspace)), (24, 20))
    header = {"reference": "reconstruction_rss"}
    write_fastmri(tmp_path / "a.h5", Scan(scan.kspace, target=target, header=header))
    with h5py.File(tmp_path / "a.h5", "r+") as file:  # write_fastmri stores the whole image
        del file["reconstruction_rss"]
        file["reconstruction_rss"] = target.numpy()
    output = tmp_path / "o.h5"
    reconstruct(tmp_path / "a.h5", acceleration=2, method="zero_filled", output=output, **QUIET)
    with h5py.File(output) as file:
        assert file["reconstruction"].shape == file["target"].shape == (2, 24, 20)
        assert file["kspace"].shape == (2, 4, 40, 36)
        # the reference is the coil combination, close to the root of the sum of squares
        np.testing.assert_allclose(file["target"][()], target, atol=0.1 * float(target.max()))


def test_an_empty_slice_stays_empty(tmp_path, make_scan):
    scan = make_scan(n_slices=3)
    scan.kspace[2] = 0
    write_bart(tmp_path / "a.cfl", scan.kspace)
    output = tmp_path / "o.h5"
    text = reconstruct(tmp_path / "a.cfl", acceleration=2, output=output, **QUIET)
    assert "3 slices" in text and table(text)["l1_wavelet"]["NMSE"] < 0.05
    with h5py.File(output) as file:
        for image in file["reconstructions"].values():
            assert not image[2].any() and image[1].any()


def test_a_single_coil_needs_no_calibration(tmp_path, make_scan):
    scan = make_scan()
    np.save(tmp_path / "a.npy", scan.kspace[:, :1].numpy())
    text = reconstruct(tmp_path / "a.npy", mask=UniformMask(2, 0), method="zero_filled", **QUIET)
    assert "one coil, map 1" in text and table(text)["zero_filled"]["NMSE"] > 0.1


def test_some_slices(path):
    text = reconstruct(path, method="zero_filled", slices=(1, 2), **QUIET)
    assert "1 slice, 4 coils" in text


# Trained networks


def trained(run, make_scan, *, options, shape=(40, 36), data=None, kind="ScanSpec"):
    """Write a run directory of a SENSE network with other weights than at the start."""
    torch.manual_seed(0)
    model = SENSE(shape, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_checkpoint(run / "checkpoints" / "best", model)
    values = {
        "data": data or {"class_path": "monarch_sciml.data.ScanModule", "init_args": {}},
        "network": {"class_path": "monarch_sciml.models.SENSE", "init_args": options},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    sizes = {"grid_shape": list(shape), "n_coils": 4, "acceleration": 2.0}
    if kind == "FieldSpec":
        sizes = asdict(FieldSpec(("u",), shape, 1, 1, 1, 1, (1.0, 1.0), ("periodic",) * 2))
    spec = {"kind": kind, "network_arguments": {"grid_shape": list(shape)}, **sizes}
    (run / "spec.json").write_text(json.dumps(spec))
    return model


@pytest.mark.parametrize("normalization", ["p95", "max"])
def test_a_trained_network_sees_what_it_was_trained_on(path, tmp_path, make_scan, normalization):
    data = {"class_path": "monarch_sciml.data.ScanModule",
            "init_args": {"normalization": normalization}}  # fmt: skip
    options = {"transform": "monarch"}
    model = trained(tmp_path / "net", make_scan, options=options, data=data)
    output = tmp_path / "o.h5"
    text = reconstruct(path, method="none", run=tmp_path / "net", mask="random", acceleration=2,
                       coil_maps="stored", output=output, **QUIET)  # fmt: skip
    assert list(table(text)) == ["net"]
    mask = {"center_fraction": 12 / 36, "acceleration": 2.0}
    from monarch_sciml.physics import RandomMask

    samples = ScanDataset([path], RandomMask(**mask), normalization=normalization)
    with h5py.File(output) as file:
        for sample, image in zip(samples, file["reconstruction"][()]):
            batch = [sample[key][None] for key in ("masked_kspace", "mask", "coil_maps")]
            with torch.no_grad():
                expected = model(*batch)[0].abs() * sample["scale"]
            np.testing.assert_allclose(image, expected.numpy(), rtol=1e-4, atol=1e-5)
    scan = read_fastmri(path).undersampled(samples[0]["mask"])
    scale = scale_of(scan, scan.coil_maps, normalization)
    assert scale == pytest.approx(float(samples[0]["scale"]), rel=1e-6)


def test_a_network_of_another_matrix_is_resampled(path, tmp_path, make_scan):
    options = {"transform": "monarch"}
    model = trained(tmp_path / "net" / "seed-0", make_scan, options=options, shape=(32, 32))
    output = tmp_path / "o.h5"
    text = reconstruct(path, method="none", run=tmp_path / "net" / "seed-0", acceleration=2,
                       coil_maps="stored", output=output, **QUIET)  # fmt: skip
    assert list(table(text)) == ["net"]
    scan = read_fastmri(output)
    with torch.no_grad():
        batch = (scan.kspace, scan.mask.float().expand(2, -1, -1), scan.coil_maps)
        expected = model(*batch).abs()
    untrained = combine(ifft2c(scan.kspace), scan.coil_maps).abs()
    assert (expected - untrained).norm() > 0.01 * untrained.norm()
    with h5py.File(output) as file:
        np.testing.assert_allclose(file["reconstruction"][()], expected, rtol=1e-3, atol=1e-4)


def test_a_comparison_gives_its_trained_networks(path, tmp_path, make_scan):
    folder = tmp_path / "comparison"
    trained(folder / "mSENSE" / "seed-3", make_scan, options={"transform": "monarch"})
    trained(folder / "zero-filled" / "seed-3", make_scan, options={})
    weighting = {"kspace_weighting": True, "resampling": "frequency"}
    trained(folder / "weighting" / "seed-3", make_scan, options=weighting, shape=(32, 32))
    names = {"zero-filled": {}, "weighting": {}, "mSENSE": {}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"networks": names}, sort_keys=False))
    options = {"acceleration": 2, "method": "zero_filled", **QUIET}
    text = reconstruct(path, run=folder, **options)
    assert list(table(text)) == ["zero_filled", "mSENSE"]
    assert "weighting left out: a learned k-space weighting needs its training matrix" in text
    with pytest.raises(ValueError, match=r"weighting.seed-3: a learned k-space weighting"):
        reconstruct(path, run=folder / "weighting" / "seed-3", **options)
    with pytest.raises(ValueError, match="must be the run of a network that has learned"):
        reconstruct(path, run=folder / "zero-filled" / "seed-3", **options)
    twice = reconstruct(path, run=[folder, folder / "mSENSE" / "seed-3"], **options)
    assert list(table(twice))[2].endswith("seed-3")


def test_runs_that_cannot_be_used(path, tmp_path, make_scan):
    run = tmp_path / "net"
    trained(run, make_scan, options={"transform": "monarch"}, kind="FieldSpec")
    with pytest.raises(ValueError, match=r"must be the run of an MRI network, got .* FieldSpec"):
        reconstruct(path, run=run, **QUIET)
    for name in ("torch.nn.Identity", "os.system"):
        values = {"network": {"class_path": name}}
        (run / "config.yaml").write_text(yaml.safe_dump(values))
        with pytest.raises(ValueError, match=f"classes of monarch_sciml only, got {name}"):
            reconstruct(path, run=run, **QUIET)
        (run / "config.yaml").write_text(yaml.safe_dump({"network": name}))
        with pytest.raises(ValueError, match=r"`network` must be a mapping with a class_path"):
            reconstruct(path, run=run, **QUIET)
    for content in ("a: [", "text"):
        (run / "config.yaml").write_text(content)
        with pytest.raises(ValueError, match=r"must be (the configuration of a run|a YAML file)"):
            reconstruct(path, run=run, **QUIET)
    with pytest.raises(FileNotFoundError, match="a run must be a directory"):
        reconstruct(path, run=tmp_path / "none", **QUIET)


# Bad input


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"method": "msense"}, ValueError, "`method` must be all, none, .* got msense"),
        ({"method": "none"}, ValueError, "there must be a method or a run"),
        (
            {"output": "o.txt"},
            ValueError,
            r"`output` must end in \.h5, \.nii, .* or be a folder, got 'o\.txt'",
        ),
        ({"figure": "o.gif"}, ValueError, r"`figure.suffix` must be one of '\.png'"),
        ({"output": "there.h5"}, FileExistsError, "must not exist yet.*--overwrite true"),
        ({"figure": "there.png"}, FileExistsError, "must not exist yet.*--overwrite true"),
        ({"output": "scan.h5", "overwrite": True}, FileExistsError, "must not be the scan itself"),
        ({"mask": UniformMask(3, 0)}, ValueError, "at least 6 x 6 samples"),
        ({"mask": UniformMask(2), "mask_file": Path("m")}, ValueError, "drawn or read from a file"),
        ({"calibration": 3, "acceleration": 4}, ValueError, "at least 6 x 6 samples, got 24 x 5"),
        ({"calibration": -1}, UsageError, "`calibration` must be at least 0, got -1"),
        ({"slices": (0, 3)}, ValueError, "of 2 slices"),
        ({"axes": "height,width"}, ValueError, "for .npy and .mat files only"),
        ({"device": "tpu"}, ValueError, "`device` must be one of 'cpu', 'cuda'"),
        ({"coil_maps": Path("none.cfl")}, FileNotFoundError, "must exist"),
    ],
)
def test_bad_options(path, tmp_path, options, kind, words):
    (tmp_path / "there.h5").touch()
    (tmp_path / "there.png").touch()
    before = sorted(tmp_path.iterdir())
    placed = {
        key: tmp_path / value if key in ("output", "figure", "coil_maps") else value
        for key, value in options.items()
    }
    with pytest.raises(kind, match=words) as caught:
        reconstruct(path, **{**QUIET, **placed})
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_mask_for_every_slice_is_written_and_read_again(tmp_path, make_scan):
    scan = make_scan()
    masks = torch.stack([UniformMask(n, 12)(scan.matrix) for n in (2, 3)])
    np.save(tmp_path / "a.npy", (scan.kspace * masks[:, None]).numpy())
    np.save(tmp_path / "masks.npy", masks.numpy())
    options = {"method": "zero_filled", **QUIET}
    text = reconstruct(tmp_path / "a.npy", output=tmp_path / "o.h5", **options)
    assert "none: no errors" in text
    assert torch.equal(read_fastmri(tmp_path / "o.h5").mask, masks != 0)
    assert torch.equal(read_fastmri(tmp_path / "o.h5", slices=slice(1, 2)).mask[0], masks[1] != 0)
    np.save(tmp_path / "full.npy", scan.kspace.numpy())
    text = reconstruct(tmp_path / "full.npy", mask_file=tmp_path / "masks.npy", **options)
    assert "mask masks.npy" in text and table(text)["zero_filled"]["NMSE"] > 0


def test_complex_images_are_written(path, tmp_path):
    reconstruct(path, output=tmp_path / "o.h5", method="zero_filled", acceleration=2, **QUIET)
    with h5py.File(tmp_path / "o.h5") as file:
        image = file["complex_images/zero_filled"][()]
        assert image.dtype == np.complex64 and np.angle(image).std() > 0.01
        np.testing.assert_allclose(np.abs(image), file["reconstructions/zero_filled"], rtol=1e-6)


def test_partial_fourier(tmp_path, make_scan):
    scan = make_scan(shape=(40, 48), noise=0.0)
    scan.kspace[..., :14] = 0
    np.save(tmp_path / "a.npy", scan.kspace.numpy())
    text = reconstruct(tmp_path / "a.npy", method="homodyne,pocs,zero_filled", **QUIET)
    assert {"homodyne", "pocs", "zero_filled"} <= set(text.split())
    scan.kspace[..., 42:44] = 0
    np.save(tmp_path / "a.npy", scan.kspace.numpy())
    with pytest.raises(ValueError, match="homodyne needs k-space that lacks lines on one side"):
        reconstruct(tmp_path / "a.npy", method="homodyne", coil_maps="walsh", **QUIET)


def test_overwrite_replaces_both_files(path, tmp_path):
    for name in ("o.h5", "o.png"):
        (tmp_path / name).write_text("old")
    options = {"method": "zero_filled", "acceleration": 2, **QUIET}
    reconstruct(path, output=tmp_path / "o.h5", overwrite=True, **options)
    assert (tmp_path / "o.png").stat().st_size > 1000
    assert read_fastmri(tmp_path / "o.h5").n_slices == 2
    assert not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize("name", ["k.hdr", "k", "k.cfl"])
def test_a_bart_pair_is_not_overwritten_whichever_half_is_named(tmp_path, make_scan, name):
    write_bart(tmp_path / "k.cfl", make_scan().kspace)
    before = (tmp_path / "k.cfl").read_bytes()
    with pytest.raises(FileExistsError, match="must not be the scan itself"):
        reconstruct(tmp_path / name, method="zero_filled", output=tmp_path / "k.cfl",
                    overwrite=True, **QUIET)  # fmt: skip
    assert (tmp_path / "k.cfl").read_bytes() == before


def test_a_network_left_out_changes_no_file_names(path, tmp_path, make_scan):
    folder = tmp_path / "comparison"
    weighting = {"kspace_weighting": True, "resampling": "frequency"}
    trained(folder / "weighting" / "seed-0", make_scan, options=weighting, shape=(32, 32))
    (folder / "config.yaml").write_text(yaml.safe_dump({"networks": {"weighting": {}}}))
    options = {"run": folder, "method": "zero_filled", "output": tmp_path / "o.nii", **QUIET}
    text = reconstruct(path, **options)
    assert "weighting left out" in text and (tmp_path / "o_zero_filled.nii").exists()
    assert not (tmp_path / "o.nii").exists()
