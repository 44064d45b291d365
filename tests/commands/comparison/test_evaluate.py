"""`monarch-sciml evaluate`: other metrics, other grids, and what is refused."""

import re
from pathlib import Path

import h5py
import pytest
import torch

from monarch_sciml.cli import main
from monarch_sciml.commands.comparison.evaluate import evaluate_run
from monarch_sciml.commands.comparison.saved import load_model, read_recipe, saved_spec
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.models import Normalized
from monarch_sciml.training import evaluate_model

TRAIN = """
data:
  class_path: monarch_sciml.data.TrajectoryModule
  init_args: {path: 24.h5, n_train: 4, n_validation: 2, n_test: 3, n_steps_in: 2, n_steps_out: 2}
objective: {class_path: monarch_sciml.training.RolloutObjective}
budget: {epochs: 2, batch_size: 2}
options: {progress: false}
network:
  class_path: monarch_sciml.models.FNO
  init_args: {n_modes: [6, 6], hidden_channels: 4, n_layers: 1, transform: TRANSFORM}
"""


def write(path, n, *, boundary="periodic", fields=("u",), dt=0.5, n_samples=9):
    """Write the same functions of space and time on a grid of n x n points."""
    layout = FieldLayout(
        fields=fields,
        n_samples=n_samples,
        n_times=5,
        grid_shape=(n, n),
        domain_extent=(1.0, 1.0),
        boundary=(boundary, boundary),
        times=tuple(dt * k for k in range(5)),
    )
    x = 2 * torch.pi * torch.arange(n) / n
    phase = torch.arange(n_samples)[:, None, None, None] + 0.3 * torch.arange(5)[:, None, None]
    waves = torch.cos(x[:, None] + phase) * torch.sin(x) + 0.3 * torch.cos(2 * x + phase)
    values = torch.stack([waves] * len(fields), dim=2)  # F of (N, T, n, n)
    writer = FieldWriter(path, layout, generator="test", parameters={}, seed=0)
    with writer:
        writer.write(0, values)


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """Draw no figures of the runs: other tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for n in (24, 48):
            write(f"{n}.h5", n)
        for transform in ("fourier", "monarch"):
            (folder / "train.yaml").write_text(TRAIN.replace("TRANSFORM", transform))
            assert main(["train", "--config", "train.yaml", "-o", transform]) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def table(text):
    """Return metric -> (mean, number of samples) of a printed table."""
    lines = [line.split() for line in text.split("\n\n")[0].splitlines()[2:]]
    return {words[0]: (float(words[1]), int(words[-1])) for words in lines}


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_a_network_is_evaluated_on_a_grid_it_was_not_trained_on(here, transform, capsys):
    assert main(["evaluate", transform, "--progress", "false"]) == 0
    coarse = table(capsys.readouterr().out)
    assert main(["evaluate", transform, "--data.path", "48.h5", "--progress", "false"]) == 0
    text = capsys.readouterr().out
    fine = table(text)
    assert text.rstrip().endswith("grid: 48 x 48, trained on 24 x 24")
    assert fine["relative_l2"][0] == pytest.approx(coarse["relative_l2"][0], rel=0.05)
    assert fine["relative_l2"][1] == coarse["relative_l2"][1] == 3
    # the same numbers by hand: weights into the network of the training grid, run on the fine one
    made = read_recipe(here / transform, data={"path": "48.h5", "n_train": 0, "n_validation": 0})
    model = load_model(made.network, here / transform)
    assert saved_spec(here / transform).grid_shape == model.grid_shape == (24, 24)
    values = evaluate_model(model, made.objective, made.data.test, batch_size=1)["relative_l2"]
    assert fine["relative_l2"][0] == pytest.approx(float(values.mean()), rel=1e-3)


def test_a_subsampled_grid_and_other_metrics(here):
    run = here / "monarch"
    text = evaluate_run(
        run,
        data={"subsample": 2, "n_test": 2},
        objective={"metrics": ["max_error", "fourier_rmse"]},
        progress=False,
    )
    expected = ["relative_l2", "max_error", "fourier_rmse_low", "fourier_rmse_middle"]
    assert list(table(text)) == expected and table(text)["max_error"][1] == 2
    assert "grid: 12 x 12, trained on 24 x 24" in text


def test_a_file_of_test_samples_alone_is_enough(here):
    write(here / "few.h5", 48, n_samples=3)
    text = evaluate_run(here / "fourier", data={"path": "few.h5"}, progress=False)
    assert table(text)["nrmse"][1] == 3
    (here / "few.h5").unlink()


def test_another_objective_class_replaces_the_whole(here):
    name = "monarch_sciml.training.OneStepObjective"
    change = {"class_path": name, "init_args": {"noise": 0.1, "metrics": ["rmse"]}}
    assert list(table(evaluate_run(here / "fourier", objective=change, progress=False))) == [
        "relative_l2",
        "rmse",
    ]


def test_a_prediction_that_is_not_finite_is_said(here, monkeypatch):
    def broken(*_, **__):
        network = torch.nn.Conv2d(2, 1, 1)
        torch.nn.init.constant_(network.bias, float("nan"))
        return network

    monkeypatch.setattr("monarch_sciml.commands.comparison.evaluate.load_model", broken)
    text = evaluate_run(here / "fourier", progress=False)
    assert "relative_l2: not finite for 3 of 3 samples: the predictions diverged" in text


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data.path", "none.h5"], 1, "the data file must exist, got none.h5"),
        (["--data.pth", "48.h5"], 1, "changes of `data` must be options of .*'pth' is not accept"),
        (["--data.n_test", "many"], 1, "changes of `data` .* got many"),
        (["--data.n_test", "0"], 1, "`n_test` must be at least 1 to use the test samples, got 0"),
        (["--data.n_steps_in", "3"], 1, "the n_steps_in of the training data, 2, got 3"),
        (["--data.n_steps_out", "9"], 1, "must hold 11 frames for these steps, got 5"),
        (["--data.path", "wall.h5"], 1, "wall.h5 must have the boundary of the training data"),
        (["--data.path", "other.h5"], 1, "other.h5 must have the fields of the training data"),
        (["--data.path", "slow.h5"], 1, "slow.h5 must have the dt of the training data, 0.5, got"),
        (["--objective.metrics", "[l2]"], 1, "changes of `objective` .*expected one of 'relative"),
        (["--batch_size", "0"], 1, "`batch_size` must be at least 1, got 0"),
        (["--metrics", "[rmse]"], 2, "--metrics"),
    ],
)
def test_refusals(here, arguments, status, words, capsys):
    for name, change in {
        "wall": {"boundary": "neumann"},
        "other": {"fields": ("v",)},
        "slow": {"dt": 1.0},
    }.items():
        if f"{name}.h5" in arguments and not (here / f"{name}.h5").exists():
            write(here / f"{name}.h5", 24, **change)
    assert main(["evaluate", "monarch", *arguments, "--progress", "false"]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and re.search(words, err), err
    assert "<class" not in err and "typing." not in err


def test_a_damaged_spec_is_named(here, tmp_path):
    for content in ("{", "[]", '{"kind": "FieldSpec"}'):
        run = tmp_path / f"run{len(content)}"
        run.mkdir()
        (run / "config.yaml").write_text((here / "fourier/config.yaml").read_text())
        (run / "spec.json").write_text(content)
        with pytest.raises(ValueError, match=r"spec.json must say what the network was built for"):
            evaluate_run(run, progress=False)


def trained(unit, capsys, *, normalization="unit_gaussian"):
    """Train on 24.h5 in another unit; return the printed metrics of the test samples."""
    write(f"{unit}.h5", 24)
    with h5py.File(f"{unit}.h5", "r+") as file:
        file["fields/u"][...] *= unit
    data = f"path: {unit}.h5, normalization: {normalization}"
    config = TRAIN.replace("path: 24.h5", data).replace("TRANSFORM", "monarch")
    with open("train.yaml", "w") as file:
        file.write(config)
    assert main(["train", "--config", "train.yaml", "-o", f"run{unit}"]) == 0
    capsys.readouterr()
    assert main(["evaluate", f"run{unit}", "--progress", "false"]) == 0
    return table(capsys.readouterr().out)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_unit_of_the_data_changes_nothing(empty, capsys):
    small, large = trained(1e-3, capsys), trained(1e3, capsys)
    assert small["relative_l2"] == pytest.approx(large["relative_l2"], rel=1e-4)
    assert small["relative_l2"][0] < 2


def test_without_normalisation_it_does(empty, capsys):
    small, large = (trained(unit, capsys, normalization="null") for unit in (1e-3, 1e3))
    assert abs(small["relative_l2"][0] / large["relative_l2"][0] - 1) > 0.01


def test_a_run_brings_its_own_statistics(empty, capsys):
    metrics = trained(100, capsys)
    run = read_recipe(Path("run100"))
    model = load_model(run.network, Path("run100"))
    assert isinstance(model, Normalized)
    assert float(model.input_std) > 10
    write("48.h5", 48)
    with h5py.File("48.h5", "r+") as file:
        file["fields/u"][...] *= 100
    assert main(["evaluate", "run100", "--data.path", "48.h5", "--progress", "false"]) == 0
    finer = table(capsys.readouterr().out)
    assert finer["relative_l2"] == pytest.approx(metrics["relative_l2"], rel=0.05)


def test_a_constant_field_is_refused_in_one_line(empty, capsys):
    write("0.h5", 24)
    with h5py.File("0.h5", "r+") as file:
        file["fields/u"][...] = 7
    data = "path: 0.h5, normalization: unit_gaussian"
    with open("train.yaml", "w") as file:
        file.write(TRAIN.replace("path: 24.h5", data).replace("TRANSFORM", "fourier"))
    assert main(["train", "--config", "train.yaml", "-o", "run"]) != 0
    error = capsys.readouterr().err
    assert re.search(r"`input_std` must be above 0, got \[0.0\]", error)
    assert error.count("\n") == 1
