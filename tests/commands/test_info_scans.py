"""What `info` says of each format of k-space; the readers have tests of their own."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from monarch_sciml.commands.info import info
from monarch_sciml.data.scans.formats.fastmri import write_fastmri

SCANS = Path(__file__).parents[2] / "../shared/kspace"
needs_scans = pytest.mark.skipif(not SCANS.exists(), reason="no scanner data beside the checkout")


def facts(path, **options):
    """The lines of `info` as a dictionary."""
    return dict(
        re.split(r"\s{2,}", line, maxsplit=1) for line in info(path, **options).splitlines()
    )


def write_raw(path, kspace):
    """An ISMRMRD file of k-space (s, c, H, W) without oversampling, and a noise scan."""
    ismrmrd = pytest.importorskip("ismrmrd")
    _, n_coils, height, width = kspace.shape
    size = f"<matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>"
    fov = "<fieldOfView_mm><x>240</x><y>180</y><z>4</z></fieldOfView_mm>"
    spaces = "".join(f"<{n}Space>{size}{fov}</{n}Space>" for n in ("encoded", "recon"))
    xml = f'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>{spaces}'
    dataset = ismrmrd.Dataset(str(path))
    dataset.write_xml_header(f"{xml}</encoding></ismrmrdHeader>".encode())
    noise = ismrmrd.Acquisition.from_array(np.ones((n_coils, 64), np.complex64))
    noise.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    dataset.append_acquisition(noise)
    for number, volume in enumerate(kspace):
        for column in range(0, width, 2):
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(volume[..., column]))
            line.center_sample = height // 2
            line.idx.kspace_encode_step_1, line.idx.slice = column, number
            dataset.append_acquisition(line)
    dataset.close()


def test_ismrmrd_and_fastmri(tmp_path, make_scan):
    write_raw(tmp_path / "raw.h5", make_scan().kspace.numpy())
    found = facts(tmp_path / "raw.h5")
    assert found["format"] == "ISMRMRD (k-space)"
    assert (found["slices"], found["coils"], found["matrix"]) == ("2", "4", "40 x 36")
    assert found["acceleration"] == "2.00 (achieved)"
    assert found["readouts"] == "imaging = 36, noise = 1"
    assert found["voxel (mm)"] == "4 x 6 x 5"
    write_fastmri(tmp_path / "fast.h5", make_scan())
    assert facts(tmp_path / "fast.h5")["format"] == "fastMRI (k-space)"


def test_hybrid_space_is_said(tmp_path):
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((4, 32, 20, 2, 3)) + 0j
    kspace[:, :3] = kspace[:, -3:] = kspace[:, :, :4] = kspace[:, :, -4:] = 0
    with h5py.File(tmp_path / "skm.h5", "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
    found = facts(tmp_path / "skm.h5")
    assert found["format"] == "SKM-TEA (k-space)" and found["contrasts"] == "2"
    assert found["image axes"] == "readout (hybrid space: slices along it)"
    assert (found["row padding"], found["padding"]) == ("3 to 29", "4 to 16")
    assert found["acceleration"] == "1.00 (achieved), fully sampled"
    with h5py.File(tmp_path / "cc.h5", "w") as file:
        file["kspace"] = rng.standard_normal((4, 16, 20, 6)).astype(np.float32)
    found = facts(tmp_path / "cc.h5")
    assert found["format"] == "Calgary-Campinas (k-space)"
    assert found["dtype"] == "float32 (real, imaginary)" and found["coils"] == "3"


def test_what_looks_wrong_is_said(tmp_path, make_scan):
    kspace = make_scan().kspace[0].numpy().copy()
    kspace[2] = 0
    np.save(tmp_path / "a.npy", kspace.astype(np.complex128))
    found = facts(tmp_path / "a.npy")
    assert found["note 1"] == "dead coil 2 of 4 (counted from 0): no signal"
    assert found["dtype"] == "complex128" and "note 2" not in found
    found = facts(tmp_path / "a.npy", axes="coil,width,height")
    assert found["matrix"] == "36 x 40"
    np.save(tmp_path / "b.npy", kspace.transpose(1, 2, 0))
    assert "read as height,width,coil" in facts(tmp_path / "b.npy")["note 1"]


@needs_scans
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("twixtools_gre.dat", ("Siemens twix (k-space)", "2", "160 x 160", "160 x 160")),
        ("pulseq_tut_GRE_prisma_1ch.dat", ("Siemens twix (k-space)", "1", "256 x 256", None)),
        ("sigpy_cartesian_ksp.npy", ("NumPy (k-space)", "8", "230 x 180", "24 x 24")),
        ("larson_se_t1_sag.mat", ("MATLAB (k-space)", "1", "256 x 256", None)),
        ("brain8ch_230x180_full.cfl", ("BART (k-space)", "8", "230 x 180", "230 x 180")),
    ],
)
def test_real_scans(name, expected):
    if name.endswith(".dat"):
        pytest.importorskip("twixtools")
    found = facts(SCANS / name)
    form, coils, matrix, calibration = expected
    assert (found["format"], found["coils"], found["matrix"]) == (form, coils, matrix)
    assert calibration in (None, found["calibration"])
    notes = [value for key, value in found.items() if key.startswith("note")]
    pulseq = ["the order of the lines is not known"] if name.startswith("pulseq") else []
    assert [note.split(" (")[0] for note in notes] == pulseq
    assert (found["acceleration"] == "not known") == bool(pulseq)  # nor is it fully sampled
    assert found["dtype"] == ("complex128" if name.endswith(".mat") else "complex64")


@needs_scans
def test_the_phase_correction_of_epi_is_said():
    pytest.importorskip("twixtools")
    pytest.importorskip("pypulseq")
    folder = SCANS / "pulseq"
    epi, reference = folder / "ramp_epi_96_pe+.dat", folder / "ramp_epi_96_pe0.dat"
    options = {"sequence": epi.with_suffix(".seq"), "reference_scan": reference}
    found = facts(epi, **options)
    assert found["matrix"] == "96 x 96" and "rad a pixel between lines" in found["EPI phase"]
    assert "EPI phase" not in facts(epi)


def test_another_contrast_is_described(tmp_path):
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((4, 32, 20, 2, 3)) + 0j
    kspace[..., ::2, :, 1, :] = 0  # the second echo is undersampled
    with h5py.File(tmp_path / "hybrid.h5", "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
    assert facts(tmp_path / "hybrid.h5", contrast=0)["acceleration"].startswith("1.00")
    # the first row has no sample and counts as padding: 31 rows, 16 of them acquired
    assert facts(tmp_path / "hybrid.h5", contrast=1)["acceleration"] == "1.94 (achieved)"
    with pytest.raises(ValueError, match="contrast"):
        facts(tmp_path / "hybrid.h5", contrast=2)


def test_other_names_of_axes_of_scans(tmp_path, make_scan):
    np.save(tmp_path / "k.npy", make_scan(noise=0.02).kspace.numpy())
    text = info(tmp_path / "k.npy", axes="slices,coils,rows,columns")
    assert "k-space" in text
