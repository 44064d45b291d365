"""Equal runs give equal files, byte for byte, except for the times that were measured."""

import itertools
import time

import pytest
import yaml

from monarch_sciml.cli import main

FNO = {"n_modes": [4], "hidden_channels": 4, "n_layers": 1, "transform": "monarch"}
NETWORK = {"network": {"class_path": "monarch_sciml.models.FNO", "init_args": FNO}}
WITH_TIMES = {
    "metrics.csv", "results.csv", "table.csv", "table.md", "report.html", "state.pt",
    "checksums.json", "training.png", "cost.png",
}  # fmt: skip
"""Files that state seconds, and checksums of files that do."""


def files_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def differing(one, two):
    assert one.keys() == two.keys()
    return {path for path in one if one[path] != two[path]}


@pytest.fixture
def made(waves, tmp_path, monkeypatch):
    """Run a command in a folder of its own, with one output; the bytes of its files."""
    sizes = {**waves["data"]["init_args"], "path": str(tmp_path / "waves.h5")}
    waves = {**waves, "data": {**waves["data"], "init_args": sizes}}
    networks = {"networks": {"Monarch-NO": NETWORK}, "seeds": [0]}
    for command, more in (("train", NETWORK), ("compare", networks)):
        (tmp_path / f"{command}.yaml").write_text(
            yaml.safe_dump({**waves, **more, "budget": {"epochs": 1, "batch_size": 4}})
        )

    def run(command, folder, *, clock=False):
        with monkeypatch.context() as patch:
            if clock:
                ticks = itertools.count()
                patch.setattr(time, "perf_counter", lambda: float(next(ticks)))
            (tmp_path / folder).mkdir()
            patch.chdir(tmp_path / folder)
            assert main([command, "--config", f"../{command}.yaml", "--output", "run"]) == 0
        return files_of(tmp_path / folder)

    return run


@pytest.mark.parametrize("command", ["train", "compare"])
def test_runs_of_equal_times_are_equal_byte_for_byte(made, command):
    one, two = (made(command, folder, clock=True) for folder in "ab")
    assert sorted(map(str, differing(one, two))) == []
    assert any(path.suffix == ".png" for path in one)
    assert any(path.name == "model.safetensors" for path in one)


def test_two_runs_differ_in_nothing_but_times(made, monkeypatch):
    publish = "monarch_sciml.commands.comparison.outputs"
    monkeypatch.setattr(f"{publish}.draw_figures", lambda *_, **__: {})  # compared above
    one, two = (made("train", folder) for folder in "ab")
    different = differing(one, two)
    assert {path.name for path in different} <= WITH_TIMES
    best = {path: data for path, data in one.items() if "best" in path.parts}
    assert len(best) == 2 and not best.keys() & different  # weights and their checksums
