"""What `reconstruct` does with raw data: options that are refused before the work, proportions."""

import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from monarch_sciml.cli import main

ROOT = Path(__file__).parents[3]
EPI, CASES = ROOT / "../shared/kspace/pulseq", ROOT / "../shared/cases/scans"
needs_scans = pytest.mark.skipif(not EPI.exists(), reason="no scanner data beside the checkout")


def run(capsys, *words):
    status = main([*map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@needs_scans
def test_epi_with_its_sequence_and_reference_scan(tmp_path, capsys):
    pytest.importorskip("pypulseq")
    sequence, reference = EPI / "ramp_epi_96_pe+.seq", EPI / "ramp_epi_96_pe0.dat"
    words = ["reconstruct", EPI / "ramp_epi_96_pe+.dat", "--method", "zero_filled"]
    words += ["--output", tmp_path / "a.png"]
    status, said = run(capsys, *words, "--sequence", sequence, "--reference_scan", reference)
    assert status == 0 and "96 x 96" in said and "note" not in said
    assert imread(tmp_path / "a.png").shape[:2] == (96, 96)
    status, said = run(capsys, *words, "--overwrite", "true")
    assert status == 0 and "the order of the lines is not known" in said
    assert "acceleration: not known, as the order of the lines" in said


@needs_scans
def test_the_sequence_and_the_reference_scan_in_a_folder_are_no_scans(tmp_path, capsys):
    pytest.importorskip("pypulseq")
    names = ("ramp_epi_96_pe+.dat", "ramp_epi_96_pe0.dat", "ramp_epi_96_pe+.seq")
    folder = tmp_path / "scans"
    folder.mkdir()
    scan, reference, sequence = (shutil.copy(EPI / name, folder / name) for name in names)
    words = ["--sequence", sequence, "--reference_scan", reference, "--method", "zero_filled"]
    status, said = run(capsys, "reconstruct", folder, *words, "--output", tmp_path / "images")
    assert status == 0 and "1 of 1 scans reconstructed" in said and "skipped" not in said
    assert (tmp_path / "images" / f"{scan.stem}.h5").exists()


@needs_scans
def test_a_png_of_reduced_phase_resolution_is_as_wide_as_high(tmp_path, capsys):
    words = ["--method", "zero_filled", "--output", tmp_path / "a.png"]
    status, _ = run(capsys, "reconstruct", CASES / "tw_phase_res65.dat", *words)
    assert status == 0 and imread(tmp_path / "a.png").shape[:2] == (160, 160)


@pytest.mark.parametrize("option", ["--sequence", "--reference_scan"])
def test_a_file_that_is_missing_is_named_before_the_work(tmp_path, capsys, option):
    status, said = run(capsys, "reconstruct", tmp_path / "a.h5", option, tmp_path / "none.seq")
    assert status == 1 and len(said.strip().splitlines()) == 1
    assert "the file must exist" in said and "none.seq" in said


def test_a_missing_package_is_named_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    status, said = run(capsys, "reconstruct", tmp_path / "a.h5", "--output", tmp_path / "a.nii.gz")
    assert status == 1 and 'pip install "monarch_sciml[scanners]"' in said
    assert len(said.strip().splitlines()) == 1 and not [*tmp_path.iterdir()]
