"""Run directories of earlier versions load, evaluate and resume after classes have moved."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import monarch_sciml
from monarch_sciml import models, solvers
from monarch_sciml.cli import main
from monarch_sciml.metrics import relative_l2

OLD = Path(__file__).parents[2] / "fixtures/runs_before_the_house"
ROUNDED = 2e-3
"""Relative. The tables of these runs hold four digits, and another processor rounds differently."""


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old run directories and their data, as the current folder."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def evaluated(capsys, run):
    """Evaluate a run; the mean of every metric."""
    capsys.readouterr()
    assert main(["evaluate", str(run), "--progress", "false"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:] if line]
    return {row[0]: float(row[1]) for row in rows}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("fields", {"relative_l2": 1.026, "nrmse": 1.021}),
        ("comparison/FNO/seed-0", {"relative_l2": 1.023, "nrmse": 1.018}),
        ("reconstruction/mSENSE/seed-0", {"nmse": 0.02473, "psnr": 21.49, "ssim": 0.9303}),
        ("reconstruction/CG-SENSE/seed-0", {"nmse": 0.0001617, "psnr": 43.34, "ssim": 0.9997}),
    ],
)
def test_an_old_run_evaluates_to_the_errors_of_its_time(old, capsys, run, expected):
    assert evaluated(capsys, run) == pytest.approx(expected, rel=ROUNDED)


def test_an_old_run_is_loaded_into_python(old):
    run = monarch_sciml.load_run("fields")
    sample = run.data.test[0]
    error = relative_l2(run.predict(0)[None], sample["target"][None])
    assert 0.9 < float(error) < 1.2 and not run.model.training
    last = monarch_sciml.load_run("fields", checkpoint="last")
    assert last.model.state_dict().keys() == run.model.state_dict().keys()
    scan = monarch_sciml.load_run("reconstruction/mSENSE/seed-0")
    assert scan.predict(0).shape == scan.data.test[0]["target"].shape
    with pytest.raises(ValueError, match="one of its runs"):
        monarch_sciml.load_run("comparison")


def test_an_old_training_resumes_where_it_stopped(old):
    weights = "checkpoints/last/model.safetensors"
    whole, before = load_file(f"fields/{weights}"), load_file(f"interrupted/{weights}")
    assert any(not torch.equal(whole[name], before[name]) for name in whole)
    arguments = ["--config", "train.yaml", "--output", "interrupted", "--options.resume", "true"]
    assert main(["train", *arguments]) == 0
    resumed = load_file(f"interrupted/{weights}")
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-4)


def test_an_old_comparison_resumes_without_training_again(old):
    before = Path("comparison/results.csv").read_text()
    configuration = yaml.safe_load(Path("comparison/config.yaml").read_text())
    configuration["output"] = "comparison"
    Path("again.yaml").write_text(yaml.safe_dump(configuration))
    assert main(["compare", "--config", "again.yaml", "--options.resume", "true"]) == 0
    old_rows, new_rows = (list(csv.DictReader(text.splitlines())) for text in
                          (before, Path("comparison/results.csv").read_text()))  # fmt: skip
    assert [row["relative_l2"] for row in new_rows] == [row["relative_l2"] for row in old_rows]


def test_names_that_moved_are_the_same_classes():
    assert solvers.CGSENSE is models.CGSENSE and solvers.L1Wavelet is models.L1Wavelet
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = solvers.Missing
