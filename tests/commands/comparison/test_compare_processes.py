"""Two processes, as torchrun starts them, train every network of a comparison together."""

import csv

import pytest
import yaml

from monarch_sciml.cli import main

NETWORK = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4], "n_layers": 1}}


@pytest.fixture
def folder(waves, tmp_path):
    """Float64, and 4 samples in batches of 3: one process has no sample of the last batch."""
    networks = {"FNO": {"network": NETWORK}, "Monarch-NO": {"network": NETWORK}}
    data = {**waves["data"], "init_args": {**waves["data"]["init_args"], "dtype": "float64"}}
    waves = {**waves, "data": data, "budget": {"epochs": 2, "batch_size": 3}}
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump({**waves, "networks": networks}))
    return tmp_path


def test_one_of_two_processes_writes_and_speaks_and_both_go_on_with_the_same_runs(
    folder, launch, capsys, monkeypatch
):
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    words = ["compare", "--config", "compare.yaml", "--output", "out", "--seeds", "[0]"]
    assert main([*words, "--only", "FNO"]) == 0, capsys.readouterr().err
    first = (folder / "out/FNO/seed-0/metrics.csv").read_bytes()
    (status, out, err), (other, *quiet) = launch([*words, "--options.resume", "true"])
    assert (status, other) == (0, 0), err + quiet[1]
    assert quiet[0] == "" and "Warning" not in err + quiet[1]
    with open("out/results.csv", newline="") as stream:
        rows = {row["network"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["FNO", "Monarch-NO"]
    assert (folder / "out/FNO/seed-0/metrics.csv").read_bytes() == first  # it was finished
    # the same network and seed: shared among two processes it learns the same
    for metric in ("relative_l2", "nrmse"):
        errors = [float(row[metric]) for row in rows.values()]
        assert errors[1] == pytest.approx(errors[0], rel=1e-10)
    assert out.count("report: ") == 1 and (folder / "out/report.html").is_file()
    assert (folder / "out/Monarch-NO/seed-0/spec.json").is_file()
    assert not list(folder.rglob("*.part*"))


def test_further_processes_train_and_evaluate_in_silence(folder, waves, capsys, monkeypatch):
    (folder / "train.yaml").write_text(yaml.safe_dump({**waves, "network": NETWORK}))
    for command in ("train", "evaluate", "compare"):
        monkeypatch.setattr(
            f"monarch_sciml.commands.comparison.{command}.is_main_process", lambda: False
        )
    assert main(["train", "--config", "train.yaml", "--output", "run"]) == 0
    assert main(["evaluate", "run", "--progress", "false"]) == 0
    assert main(["compare", "--config", "compare.yaml", "--output", "out", "--seeds", "[0]"]) == 0
    assert capsys.readouterr().out == ""
    assert not (folder / "out/results.csv").exists()
