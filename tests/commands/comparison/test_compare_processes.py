"""Two processes, as torchrun starts them, train every network of a comparison together."""

import ast
import csv

import pytest
import yaml

from monarch_sciml.cli import main
from monarch_sciml.commands.comparison import evaluate

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


EVALUATE = """
import sys
from monarch_sciml.cli import main
from monarch_sciml.commands.comparison import evaluate

evaluate.metrics_text = lambda metrics: str({k: v.tolist() for k, v in metrics.items()})
sys.exit(main())
"""
"""The command with all digits of all samples in place of its table."""


def all_digits(metrics):
    return str({name: values.tolist() for name, values in metrics.items()})


def test_two_processes_evaluate_as_one(folder, waves, launch, capsys, monkeypatch):
    """Three samples in batches of 2: one process has more of them than the other."""
    recipe = yaml.safe_load((folder / "compare.yaml").read_text())
    network = recipe.pop("networks")["FNO"]
    (folder / "train.yaml").write_text(yaml.safe_dump({**recipe, **network}))
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    assert main(["train", "--config", "train.yaml", "--output", "run"]) == 0
    capsys.readouterr()
    words = ["evaluate", "run", "--progress", "false", "--batch_size", "2"]
    words += ["--objective.metrics", "[relative_l2, nrmse, vrmse, fourier_rmse]"]
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "metrics_text", all_digits)
        assert main(words) == 0
    one = ast.literal_eval(capsys.readouterr().out)
    (status, out, err), (other, *quiet) = launch(words, program=("-c", EVALUATE))
    assert (status, other) == (0, 0), err + quiet[1]
    two = ast.literal_eval(out)
    assert quiet[0] == "" and two.keys() == one.keys()
    for name, values in one.items():
        assert len(values) == 3
        assert two[name] == pytest.approx(values, rel=1e-10)


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
