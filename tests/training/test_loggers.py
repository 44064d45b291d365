import csv
import json
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from monarch_sciml.training import (
    Budget,
    CSVLogger,
    Optimisation,
    TrackerLogger,
    check_loggers,
    load_state,
    loggers,
)
from monarch_sciml.training.loggers import PACKAGES


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_rows_keep_every_digit_and_blanks_fill_missing_columns(tmp_path):
    path = tmp_path / "run" / "metrics.csv"
    logger = CSVLogger(path)
    logger.log({"epoch": 1, "loss": 0.1 + 0.2})
    logger.log({"epoch": 2, "loss": 1e-300, "error": float("nan")})
    assert read(path) == [
        {"epoch": "1", "loss": "0.30000000000000004", "error": ""},
        {"epoch": "2", "loss": "1e-300", "error": "nan"},
    ]


def test_resuming_replaces_rows_that_the_checkpoint_does_not_know(tmp_path):
    path = tmp_path / "metrics.csv"
    first = CSVLogger(path)
    for epoch in (1, 2, 3):
        first.log({"epoch": epoch, "loss": epoch / 2})
    (tmp_path / ".metrics.part123.csv").write_text("half a ro")  # killed while writing
    CSVLogger(path, [{"epoch": 1, "loss": 0.5}]).log({"epoch": 2, "loss": 7.0})
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]
    assert [(row["epoch"], row["loss"]) for row in read(path)] == [("1", "0.5"), ("2", "7.0")]


def test_tensorboard_scalars_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TrackerLogger("tensorboard", tmp_path)
    logger.log({"epoch": 1, "train_loss": 0.5})
    logger.log({"epoch": 2, "train_loss": 0.25, "validation_nmse": 0.125})
    logger.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"train_loss", "validation/nmse"}
    assert [(e.step, e.value) for e in events.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("validation/nmse")] == [(2, 0.125)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_tracker_is_one_line_before_anything_is_written(
    tiny, tmp_path, monkeypatch, name
):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    words = rf'the logger {name} needs the package {name}, .*pip install "monarch_sciml\[{name}\]"'
    with pytest.raises(ValueError, match=words):
        tiny.run(tmp_path / "run", loggers=[name])
    assert not (tmp_path / "run").exists()


def test_every_tracker_has_an_extra_and_an_unknown_one_is_refused():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(PACKAGES) <= project["optional-dependencies"].keys()
    with pytest.raises(ValueError, match=r"`loggers` must be one of 'tensorboard', 'wandb'"):
        check_loggers(["aim"])


class Tracker:
    """What accelerate's trackers do, kept in a list."""

    def __init__(self, *, run_id, log=None, fails=()):
        self.tracker = SimpleNamespace(info=SimpleNamespace(run_id=run_id))
        self.seen, self.fails = [] if log is None else log, fails

    def __getattr__(self, name):
        def call(*values, **options):
            if name in self.fails:
                raise KeyError("no\nserver")
            self.seen.append((name, *values, options))

        return call


def test_a_resumed_run_goes_on_under_its_identifier(tiny, tmp_path, monkeypatch):
    started, log = [], []

    def tracker(name, output, *, known, first_epoch):
        started.append((name, known, first_epoch))
        return Tracker(run_id="a1b2", log=log)

    monkeypatch.setattr(loggers, "_tracker", tracker)
    monkeypatch.setattr(loggers, "optional_package", lambda *_: None)
    epochs = {"budget": Budget(epochs=1, batch_size=4), "loggers": ["mlflow"]}
    settings = {"optimisation": Optimisation(scheduler="constant")}
    tiny.run(tmp_path, **epochs, **settings)
    epochs["budget"] = Budget(epochs=3, batch_size=4)
    tiny.run(tmp_path, **epochs, **settings, resume=True)
    assert started == [("mlflow", None, 1), ("mlflow", "a1b2", 2)]
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"mlflow": "a1b2"}
    assert [call[0] for call in log] == [
        *("start", "store_init_configuration", "log", "finish"),
        *("start", "log", "log", "finish"),
    ]
    assert log[1][1]["optimisation.learning_rate"] == 1e-3
    assert log[2][1].keys() >= {"train_loss", "validation/relative_l2"}
    assert [call[2]["step"] for call in log if call[0] == "log"] == [1, 2, 3]


def test_a_tracker_that_fails_is_one_line_and_the_epoch_is_kept(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "_tracker", lambda *_, **__: Tracker(run_id="a", fails=["log"]))
    monkeypatch.setattr(loggers, "optional_package", lambda *_: None)
    with pytest.raises(
        OSError, match=r"wandb must take the row of an epoch, got 'no.*server'. Che"
    ):
        tiny.run(tmp_path, loggers=["wandb"])
    assert load_state(tmp_path / "checkpoints" / "last")["progress"]["epoch"] == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"mlflow": 3}', '{"mlflow": "../.."}'])
def test_a_file_of_identifiers_that_is_of_no_use_starts_a_new_run(tmp_path, text):
    (tmp_path / "trackers.json").write_text(text)
    assert loggers._known_run(tmp_path, "mlflow") is None


@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the extra mlflow")
def test_mlflow_keeps_the_curves_in_a_local_store(tiny, tmp_path, monkeypatch):
    import mlflow

    store = (tmp_path / "store").as_uri()  # a database needs more than mlflow-skinny
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    tiny.run(tmp_path / "run", epochs=2, loggers=["mlflow"])
    mlflow.set_tracking_uri(store)
    (found,) = mlflow.search_runs(experiment_names=["monarch_sciml"], output_format="list")
    assert found.info.status == "FINISHED" and "train_loss" in found.data.metrics
    assert found.data.params["budget.batch_size"] == "4"


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs the extra wandb")
def test_wandb_writes_a_run_offline(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    tiny.run(tmp_path / "run", epochs=2, loggers=["wandb"])
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
