"""Two processes, as torchrun starts them, train every network of a comparison together."""

import csv

import pytest
import torch
import yaml

from monarch_sciml.cli import main
from monarch_sciml.data.field_source import FieldLayout
from monarch_sciml.data.field_writer import FieldWriter

NETWORK = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4], "n_layers": 1}}
CONFIGURATION = {
    "data": {
        "class_path": "monarch_sciml.data.TrajectoryModule",
        "init_args": {
            "path": "waves.h5",
            "n_train": 4,
            "n_validation": 2,
            "n_test": 3,
            "n_steps_in": 2,
            "n_steps_out": 2,
        },
    },
    "objective": {"class_path": "monarch_sciml.training.RolloutObjective"},
    "budget": {"epochs": 2, "batch_size": 2},
    "options": {"progress": False},
    "networks": {"FNO": {"network": NETWORK}, "Monarch-NO": {"network": NETWORK}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = FieldLayout(
        fields=("u",), n_samples=9, n_times=4, grid_shape=(12,), domain_extent=(1.0,),
        boundary=("periodic",), times=(0.0, 0.5, 1.0, 1.5),
    )  # fmt: skip
    phases = 2 * torch.pi * torch.arange(12) / 12 + torch.arange(9).reshape(-1, 1, 1, 1)
    with FieldWriter("waves.h5", layout, generator="test", parameters={}, seed=0) as writer:
        writer.write(0, torch.cos(phases) * 0.8 ** torch.arange(4).reshape(-1, 1, 1))  # N, T, 1, n
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    return tmp_path


def test_one_of_two_processes_writes_and_speaks_and_both_go_on_with_the_same_runs(
    folder, launch, capsys, monkeypatch
):
    monkeypatch.setattr("monarch_sciml.commands.publish.gallery", lambda *_, **__: {})
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
    errors = [float(row["relative_l2"]) for row in rows.values()]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    assert out.count("report: ") == 1 and (folder / "out/report.html").is_file()
    assert (folder / "out/Monarch-NO/seed-0/spec.json").is_file()
    assert not list(folder.rglob("*.part*"))


def test_further_processes_train_and_evaluate_in_silence(folder, capsys, monkeypatch):
    values = {key: CONFIGURATION[key] for key in ("data", "objective", "budget", "options")}
    (folder / "train.yaml").write_text(yaml.safe_dump({**values, "network": NETWORK}))
    for command in ("train", "evaluate", "compare"):
        monkeypatch.setattr(f"monarch_sciml.commands.{command}.is_main_process", lambda: False)
    assert main(["train", "--config", "train.yaml", "--output", "run"]) == 0
    assert main(["evaluate", "run", "--progress", "false"]) == 0
    assert main(["compare", "--config", "compare.yaml", "--output", "out", "--seeds", "[0]"]) == 0
    assert capsys.readouterr().out == ""
    assert not (folder / "out/results.csv").exists()
