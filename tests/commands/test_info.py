import re

import h5py
import numpy as np
import pytest
import scipy.io

from monarch_sciml.commands.info import info
from monarch_sciml.data import generate_navier_stokes
from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.physics.sampling import UniformMask


def facts(path, **options):
    """The lines of `info` as a dictionary."""
    return dict(
        re.split(r"\s{2,}", line, maxsplit=1) for line in info(path, **options).splitlines()
    )


@pytest.fixture
def undersampled(make_scan):
    scan = make_scan()
    return scan.undersampled(UniformMask(2, 8)(scan.matrix))


def test_generated_fields(tmp_path):
    path = tmp_path / "a.h5"
    generate_navier_stokes(path, n_samples=2, grid=16, t_end=3, seed=7, progress=False)
    found = facts(path)
    assert found["format"] == "monarch_sciml/fields (PDE fields)"
    assert (found["fields"], found["samples"], found["frames"]) == ("vorticity", "2", "3")
    assert (found["grid"], found["domain"], found["dt"]) == ("16 x 16", "1 x 1", "1")
    assert (found["time"], found["boundary"]) == ("1 to 3", "periodic, periodic")
    assert (found["generator"], found["seed"]) == ("navier_stokes", "7")
    assert "viscosity = 0.001" in found["parameters"]
    assert (found["dtype"], found["size"]) == ("float32", f"{path.stat().st_size / 1000:.1f} kB")


def test_a_folder_of_fields_is_one_set(tmp_path):
    sizes = {"n_samples": 2, "grid": 8, "t_end": 3, "progress": False}
    for seed in (7, 8):
        generate_navier_stokes(tmp_path / f"{seed}.h5", seed=seed, **sizes)
    found = facts(tmp_path)
    assert found["format"] == "monarch_sciml/fields, 2 files (PDE fields)"
    assert (found["samples"], found["generator"]) == ("4", "navier_stokes")
    assert "seed" not in found  # the files differ in it
    with pytest.raises(ValueError, match=r"must hold files of fields .* Of scans name one file"):
        (tmp_path / "none").mkdir()
        info(tmp_path / "none")


def test_an_undersampled_scan(tmp_path, undersampled):
    write_bart(tmp_path / "a.cfl", undersampled.kspace)
    expected = 36 / (18 + 4)  # every second of 36 columns, and every other of the 8 central ones
    for name in ("a.cfl", "a.hdr", "a"):
        found = facts(tmp_path / name)
        assert found["format"] == "BART (k-space)"
        assert (found["slices"], found["coils"], found["matrix"]) == ("2", "4", "40 x 36")
        assert found["acceleration"] == f"{expected:.2f} (achieved)"
        assert found["calibration"] == "40 x 9"
        assert (found["reference"], found["coil maps"]) == ("none", "none")


def test_a_simulated_scan_tells_its_origin(tmp_path, make_scan):
    origin = {"generator": "somebody", "seed": "[3]", "parameters": '{"noise": 0.1}'}
    write_fastmri(tmp_path / "a.h5", make_scan(), attributes=origin)
    found = facts(tmp_path / "a.h5")
    assert found["format"] == "fastMRI (k-space)"
    assert found["acceleration"] == "1.00 (achieved), fully sampled"
    assert (found["reference"], found["coil maps"]) == ("target (2, 40, 36)", "stored")
    assert (found["generator"], found["seed"]) == ("somebody", "[3]")
    assert found["parameters"] == "noise = 0.1"


def test_axes_and_variable_of_arrays(tmp_path, undersampled):
    array = undersampled.kspace[0].numpy().transpose(1, 2, 0)  # (c, H, W) -> (H, W, c)
    np.save(tmp_path / "a.npy", array)
    scipy.io.savemat(tmp_path / "a.mat", {"k": array, "other": array})
    for path, options in ((tmp_path / "a.npy", {}), (tmp_path / "a.mat", {"variable": "k"})):
        found = facts(path, axes="height,width,coil", **options)
        assert (found["coils"], found["matrix"]) == ("4", "40 x 36")


def test_mat_files_of_fields_and_of_kspace_are_told_apart(tmp_path, undersampled):
    fields = np.random.default_rng(0).standard_normal((3, 8, 8, 5)).astype(np.float32)
    scipy.io.savemat(tmp_path / "u.mat", {"u": fields, "a": fields[..., 0], "t": np.arange(5.0)})
    scipy.io.savemat(tmp_path / "k.mat", {"k": undersampled.kspace.numpy()})
    found = facts(tmp_path / "u.mat")
    assert found["format"] == "FNO .mat (PDE fields)"
    assert (found["samples"], found["frames"], found["grid"]) == ("3", "5", "8 x 8")
    assert facts(tmp_path / "k.mat")["format"] == "MATLAB (k-space)"


def test_every_property_is_one_line(tmp_path, make_scan):
    write_fastmri(tmp_path / "a.h5", make_scan(), attributes={"generator": "two\nlines"})
    assert facts(tmp_path / "a.h5")["generator"] == "two lines"


def write_hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value


def test_bad_files_are_named_in_one_line(tmp_path, make_scan):
    good = tmp_path / "good.h5"
    write_fastmri(good, make_scan())
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:3000])
    write_bart(tmp_path / "cut.cfl", make_scan().kspace)
    (tmp_path / "cut.cfl").write_bytes((tmp_path / "cut.cfl").read_bytes()[:-8])
    write_hdf5(tmp_path / "foreign.h5", other=np.zeros(3))
    write_hdf5(tmp_path / "nan.h5", kspace=np.full((1, 2, 8, 8), np.nan, np.complex64))
    write_hdf5(tmp_path / "zero.h5", kspace=np.zeros((1, 2, 8, 8), np.complex64))
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty.npy").write_bytes(b"")
    expected = {
        "none.h5": (FileNotFoundError, "must exist"),
        ".": (ValueError, r"cut\.h5 must be a complete.* Of scans name one file\.$"),
        "cut.h5": (ValueError, "complete HDF5 file"),
        "cut.cfl": (ValueError, "bytes that cut.hdr states"),
        "foreign.h5": (ValueError, r"axes of its arrays are, got other \(3,\)"),
        "nan.h5": (ValueError, "must be finite"),
        "zero.h5": (ValueError, "must hold a signal, got zeros only"),
        "text.h5": (ValueError, "starts with b'not HDF5'"),
        "empty.npy": (ValueError, "got an empty file"),
    }
    for name, (kind, words) in expected.items():
        with pytest.raises(kind, match=words) as caught:
            info(tmp_path / name)
        assert "\n" not in str(caught.value), name
