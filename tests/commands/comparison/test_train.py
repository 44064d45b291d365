"""`monarch-sciml train`: the report of one run, made again without training."""

import csv

import pytest
import yaml

from monarch_sciml.cli import main

NETWORK = {
    "class_path": "monarch_sciml.models.FNO",
    "init_args": {"n_modes": [4], "n_layers": 1, "transform": "monarch"},
}
TRAIN = ["train", "--config", "train.yaml", "--output", "runs/waves"]
AGAIN = [*TRAIN, "--options.resume", "true"]


@pytest.fixture
def run(waves, tmp_path):
    """The directory that a run will have."""
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**waves, "network": NETWORK}))
    return tmp_path / "runs/waves"


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    monkeypatch.setattr("monarch_sciml.commands.comparison.outputs.metrics_figure", lambda *_: None)


def test_a_finished_run_gets_its_report_again_without_training(run, capsys, undrawn):
    assert main(TRAIN) == 0
    out = capsys.readouterr().out
    assert out.endswith("run: runs/waves\nreport: runs/waves/report.html\n")
    with (run / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["network"], row["seed"], row["epochs"]) for row in rows] == [("waves", "0", "2")]
    kept = ["metrics.csv", "checkpoints/best/model.safetensors", "checkpoints/last/state.pt"]
    before = [(run / name).stat().st_mtime_ns for name in kept]
    report = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert main(AGAIN) == 0
    assert capsys.readouterr().out == out
    assert (run / "report.html").read_text() == report.replace("resume: false", "resume: true")
    assert [(run / name).stat().st_mtime_ns for name in kept] == before


def test_a_report_that_fails_leaves_the_run_to_be_resumed(run, capsys, monkeypatch, undrawn):
    def full(*_, **__):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("monarch_sciml.commands.comparison.outputs.write_report", full)
        assert main(TRAIN) == 1
    assert capsys.readouterr().err == "monarch-sciml: error: No space left on device\n"
    assert (run / "checkpoints/best/model.safetensors").is_file()
    assert main(AGAIN) == 0
    assert (run / "report.html").is_file()


def test_a_comparison_is_not_written_over(run, capsys):
    run.mkdir(parents=True)
    (run / "results.csv").write_text("network\n")
    for words in (TRAIN, AGAIN):
        assert main(words) == 1
        assert "must not hold a comparison, got runs/waves. Name" in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == ["results.csv"]
