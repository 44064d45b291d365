import builtins
import csv

import pytest

from monarch_sciml.training import CSVLogger, TensorBoardLogger


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

    logger = TensorBoardLogger(tmp_path)
    logger.log({"epoch": 1, "train_loss": 0.5})
    logger.log({"epoch": 2, "train_loss": 0.25, "validation_nmse": 0.125})
    logger.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"train_loss", "validation/nmse"}
    assert [(e.step, e.value) for e in events.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("validation/nmse")] == [(2, 0.125)]


def test_missing_tensorboard_is_explained(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if "tensorboard" in name:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"Install monarch_sciml\[tensorboard\]"):
        TensorBoardLogger(tmp_path)
