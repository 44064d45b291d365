"""From calibration scans to a reconstruction with the learned encoding, on the command line."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from monarch_sciml._checks import UsageError
from monarch_sciml.cli import main
from monarch_sciml.commands.calibrate import calibrate
from monarch_sciml.data.scans.encoding_files import read_encoding
from monarch_sciml.data.scans.formats.fastmri import read_fastmri

GRID = (32, 28)
ERRORS = ["--readout_errors.ramp", 0.1, "--readout_errors.delay", 0.5]
ERRORS += ["--readout_errors.nonlinearity", 1.5, "--readout_errors.off_resonance", 1]
SIZES = ["--n_scans", 1, "--n_coils", 6, "--grid_shape", "[32,28]", "--progress", "false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Calibration scans of a phantom and a scan of another one, by one scanner."""
    root = tmp_path_factory.mktemp("calibration")
    for name, seed, n_slices in (("phantom", 0, 6), ("object", 1, 2)):
        words = [
            "generate",
            "scans",
            "--output",
            root / name,
            "--seed",
            seed,
            "--n_slices",
            n_slices,
            "--subject",
            "phantom",
            *SIZES,
            *ERRORS,
        ]
        assert main([str(word) for word in words]) == 0
    return root


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("phantom", "object"):
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


@pytest.fixture
def call(capsys):
    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    def run(*words):
        status, out, err = call(*words)
        assert (status, out) == (1, "") or status == 2, (status, out, err)
        assert err.count("\n") == 1 and err.startswith("monarch-sciml: error: "), err
        assert "Traceback" not in err and "Namespace" not in err
        return err

    return run


def nmse(text):
    return {name: float(x) for name, x in re.findall(r"^(\w+) +([\d.e-]+) +[\d.]+ +", text, re.M)}


def test_a_learned_encoding_reconstructs_what_the_fft_does_not(here, call):
    status, out, err = call("calibrate", "phantom", "--output", "e.safetensors", "--n_bands", 4)
    assert (status, err) == (0, "")
    assert "32 x 28, 4 bands, rank 4, learned from 6 slices" in out
    after, before = map(
        float, re.findall(r"([\d.e-]+) of the signal, ([\d.e-]+) by the FFT", out)[0]
    )
    assert after < 0.1 * before
    assert "note:" not in out
    scan = ["reconstruct", "object/scan_0000.h5", "--acceleration", 2, "--calibration", 8]
    scan += ["--coil_maps", "stored"]
    plain = nmse(call(*scan)[1])
    status, out, err = call(*scan, "--encoding", "e.safetensors", "--output", "o.h5")
    assert (status, err) == (0, "")
    assert "measured by e.safetensors: 32 x 28, 4 bands, rank 4, learned from 6 slices" in out
    learned = nmse(out)
    assert set(learned) == {"zero_filled", "cg_sense", "l1_wavelet"}
    for name in ("cg_sense", "l1_wavelet"):
        assert learned[name] < 0.3 * plain[name], name
    with h5py.File("o.h5") as file, h5py.File("object/scan_0000.h5") as original:
        kept = np.asarray(file["kspace"])
        lines = (kept != 0).any((0, 1, 2))
        assert np.array_equal(kept[..., lines], np.asarray(original["kspace"])[..., lines])
    status, out, err = call(*scan[:-2], "--encoding", "e.safetensors", "--method", "cg_sense")
    assert status == 0 and "ESPIRiT" in out  # maps from k-space that the encoding regrids
    assert nmse(out)["cg_sense"] < 0.1


def test_dense_matrices_and_few_slices(here, call):
    options = ["--structure", "dense", "--n_bands", 28, "--n_slices", 1]
    status, out, _ = call("calibrate", "phantom", "--output", "d.safetensors", *options)
    assert status == 0 and "a matrix for every column, dense, learned from 1 slices" in out
    assert re.search(r"26 equations are missing: .* the ridge keeps the Fourier transform", out)
    found = read_encoding("d.safetensors")
    assert found.learned["slices"] == 1 and found.learned["ridge"] == 0.01


def test_what_cannot_be_calibrated_is_refused(here, refused):
    for option in ("rank", "n_steps"):
        words = ["calibrate", "phantom", "--structure", "dense", f"--{option}", 2]
        text = refused(*words, "--output", "d.safetensors")
        assert f"`{option}` is an option of structure 'corrected', got structure 'dense'" in text
    scan = read_fastmri(next(Path("phantom").iterdir()))
    torch.manual_seed(0)

    def write(name, **changes):
        parts = {"kspace": scan.kspace, "coil_maps": scan.coil_maps, "target": scan.target}
        with h5py.File(name, "w") as file:
            for key, value in (parts | changes).items():
                if value is not None:
                    file[key] = np.asarray(value)
        return name

    half = scan.kspace.clone()
    half[..., ::2] = 0
    words = ["--output", "bad.safetensors"]
    for name, text in {
        write("half.h5", kspace=half): "half.h5 must be fully sampled to calibrate on, got 50% of",
        write("maps.h5", coil_maps=None): "must hold the known object.*, got no coil_maps. Write",
        write("image.h5", target=None): "must hold the known object.*, got no complex target",
        "none.h5": "the file must exist",
    }.items():
        assert re.search(text, refused("calibrate", name, *words)), name
    Path("empty").mkdir()
    expected = {
        ("phantom", "--ridge", 0, "--n_slices", 1, "--n_bands", 28): (
            "without a ridge, 28 bands need 32 equations for each sample, got 6 from 1 slices, "
            "26 missing. Calibrate on more slices, or set `ridge` above 0: it keeps the Fourier"
        ),
        ("phantom", "--ridge", -1): "`ridge` must be zero or positive",
        ("phantom", "--n_bands", 29): "`n_bands` must be at most the 28 columns",
        ("phantom", "--rank", 100): "`rank` must be at most",
        ("phantom", "--n_slices", 7): "`n_slices` must be at most the 6 of the scans, got 7",
        ("phantom", "--n_slices", 0): "`n_slices` must be at least 1",
        ("phantom", "--n_steps", -1): "`n_steps` must be at least 0",
        ("phantom", "--rank", 0): "`rank` must be at least 1",
        ("empty",): "empty must hold scans that end in",
    }
    for (path, *options), text in expected.items():
        assert re.search(text, refused("calibrate", path, *words, *options)), text
    assert not Path("bad.safetensors").exists()
    for option in ("n_bands", "rank", "n_slices"):  # known before any scan is read
        with pytest.raises(UsageError, match=f"`{option}` must be at least 1"):
            calibrate([Path("phantom")], output=Path("e.safetensors"), **{option: 0})
    wrong = refused("calibrate", "phantom", "--output", "bad.h5")
    assert "must end in .safetensors, got bad.h5" in wrong
    Path("there.safetensors").touch()
    assert "must not exist yet" in refused("calibrate", "phantom", "--output", "there.safetensors")


def test_a_folder_is_searched_as_reconstruct_does(here, call):
    """Hidden files, folders and the header of a .cfl are no scans of their own."""
    mixed = here / "mixed"
    (mixed / "inner.h5").mkdir(parents=True)
    (mixed / "a.h5").symlink_to(here / "phantom" / "scan_0000.h5")
    for name in (".hidden.h5", "b.txt"):
        (mixed / name).write_text("nothing")
    status, said, wrong = call("calibrate", "mixed", "--output", "e.safetensors")
    assert (status, wrong) == (0, "") and "equations" in said


def test_encodings_that_do_not_fit_a_scan_are_refused(here, call, refused):
    assert call("calibrate", "phantom", "--output", "e.safetensors")[0] == 0
    np.save("other.npy", torch.randn(1, 4, 16, 16, dtype=torch.complex64).numpy())
    scan = ["reconstruct", "object/scan_0000.h5", "--encoding"]
    Path("text.safetensors").write_text("no encoding")
    for words, text in {
        (
            "object/scan_0000.h5",
        ): "must be an encoding file, as `monarch-sciml calibrate` writes it",
        ("text.safetensors",): "text.safetensors must be an encoding file",
        ("none.safetensors",): "the file must exist, got none.safetensors",
        ("e.safetensors", "--compress_coils", 2): "got --compress_coils. Leave out",
        (
            "e.safetensors",
            "--method",
            "homodyne",
        ): "got homodyne. Leave out homodyne, or --encoding",
    }.items():
        assert text in refused(*scan, *words), text
    other = refused("reconstruct", "other.npy", "--encoding", "e.safetensors")
    assert "e.safetensors must be of the scan's matrix 16 x 16, got 32 x 28. Calibrate" in other


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("ramp", 0.7, "`ramp`, a share of the readout, must lie between 0 and 0.5, got 0.7"),
        ("nonlinearity", -1, "`nonlinearity` must be zero or positive and finite, got -1"),
        ("off_resonance", ".nan", "`off_resonance` must be zero or positive and finite, got nan"),
        ("seed", -2, "`seed` must be at least 0, got -2"),
    ],
)
def test_bad_readout_errors_are_refused(tmp_path, refused, option, value, text):
    words = ["generate", "scans", "--output", tmp_path / "s", *SIZES]
    assert text in refused(*words, f"--readout_errors.{option}", value)
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_written_is_refused_before_any_scan_is_read(tmp_path):
    missing = tmp_path / "scan.h5"
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got enc\.pt"):
        calibrate([missing], output=tmp_path / "enc.pt")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="must be writable in the folder"):
        calibrate([missing], output=tmp_path / "file" / "enc.safetensors")
