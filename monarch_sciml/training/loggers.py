"""Loggers that record one row of numbers per epoch of a run."""

from __future__ import annotations

import csv
import json
import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from monarch_sciml._checks import message, one_of, optional_package
from monarch_sciml._files import whole_file, write_text

LoggerName = Literal["tensorboard", "wandb", "mlflow"]
"""The experiment trackers that a run can be sent to."""
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""The package of each; the extra of this package that installs it has the name of the tracker."""
TRACKERS = "trackers.json"
"""File of a run directory with the identifiers of the run in its trackers."""

LoggedRow = dict[str, float]
"""One epoch: `epoch`, `step`, `seconds`, `train_loss`, learning rates, `validation_*` metrics."""


class Logger(ABC):
    """Record the rows of a run in order, one per epoch."""

    @abstractmethod
    def log(self, row: Mapping[str, float]) -> None:
        """Record one epoch; the row is safe on disk when this returns."""

    @abstractmethod
    def close(self) -> None:
        """Release files; nothing is logged afterwards."""


class CSVLogger(Logger):
    """Write all rows to one CSV file, with blank cells for missing columns.

    The whole file is rewritten for each row, so a reader never finds half a row, and a resumed run
    replaces rows that are already there.

    Parameters
    ----------
    path
        The file to write.
    rows
        Rows of the run so far, which are kept.
    """

    def __init__(self, path: str | Path, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self._path = Path(path)
        self._rows = [dict(row) for row in rows]
        for part in self._path.parent.glob(f".{self._path.stem}.part*"):
            part.unlink(missing_ok=True)  # left by a process that was killed while writing
        self._write()

    def log(self, row: Mapping[str, float]) -> None:
        """Add one row; numbers are written with every digit."""
        self._rows.append(dict(row))
        self._write()

    def close(self) -> None:
        """Do nothing: the file is closed after every row."""

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with (
            whole_file(self._path, overwrite=True) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns or ["epoch"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)


class TrackerLogger(Logger):
    """Send every row to an experiment tracker, through accelerate.

    Parameters
    ----------
    name
        "tensorboard" writes event files to `tensorboard/` of the run directory; "wandb" (Weights &
        Biases) and "mlflow" keep their own stores, which their environment variables choose
        (WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME).
    output
        The run directory. Its last three folders name the run, and `trackers.json` in it keeps the
        identifier under which a resumed run goes on.
    settings
        Settings of the run, which the tracker shows beside the curves.
    first_epoch
        Epoch of the first row. TensorBoard hides later points of an earlier, killed run.

    Raises
    ------
    ValueError
        When the package of the tracker is not installed.
    OSError
        When the tracker cannot be started.

    Notes
    -----
    A curve has one point an epoch; `validation_x` is shown as `validation/x`.
    """

    def __init__(
        self,
        name: LoggerName,
        output: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        first_epoch: int = 1,
    ) -> None:
        check_loggers([name])
        self._name, output = name, Path(output)
        known = _known_run(output, name)
        with self._working("must start"):
            self._tracker = _tracker(name, output, known=known, first_epoch=first_epoch)
            self._tracker.start()
            started: Any = getattr(self._tracker, "tracker", None)
            identifier = getattr(getattr(started, "info", started), "run_id", None)
            identifier = identifier or getattr(started, "id", None)
            if known is None and name != "tensorboard":
                plain = {k: v for k, v in (settings or {}).items() if v is not None}
                self._tracker.store_init_configuration(plain)
        if isinstance(identifier, str) and known is None:
            _keep_run(output, name, identifier)

    def log(self, row: Mapping[str, float]) -> None:
        """Add one point to every curve."""
        values = {
            key.replace("validation_", "validation/", 1): value
            for key, value in row.items()
            if key != "epoch"
        }
        with self._working("must take the row of an epoch"):
            self._tracker.log(values, step=int(row["epoch"]))

    def close(self) -> None:
        """Send what is left and end the run in the tracker."""
        with self._working("must end"):
            self._tracker.finish()

    @contextmanager
    def _working(self, task: str) -> Iterator[None]:
        """Turn whatever a tracker raises into one line."""
        try:
            yield
        except Exception as error:
            rule = f"the logger {self._name} {task}"
            remedy = "Check its settings, or leave it out of `loggers` and resume."
            got = textwrap.shorten(str(error), 400, placeholder=" …").rstrip(".")
            raise OSError(message(rule, got or type(error).__name__, remedy)) from error


def check_loggers(names: Iterable[str]) -> None:
    """Raise ValueError when a logger is not known or its package is not installed."""
    for name in names:
        one_of("loggers", name, PACKAGES)
        optional_package(PACKAGES[name], f"the logger {name}", name)


def _tracker(
    name: LoggerName, output: Path, *, known: str | None, first_epoch: int
) -> GeneralTracker:
    if name == "tensorboard":
        return TensorBoardTracker("tensorboard", output, purge_step=first_epoch)
    title = "/".join(output.resolve().parts[-3:])
    if name == "mlflow":
        return MLflowTracker("monarch_sciml", run_id=known, run_name=title)
    project = os.environ.get("WANDB_PROJECT", "monarch_sciml")
    return WandBTracker(project, dir=str(output), name=title, id=known, resume="allow")


def _known_run(output: Path, name: str) -> str | None:
    """Return the identifier that an earlier start of this run had in a tracker."""
    try:
        known = json.loads((output / TRACKERS).read_text(encoding="utf-8")).get(name)
    except (OSError, ValueError, AttributeError):  # the first start, or a file of no use
        return None
    return known if isinstance(known, str) and known.isalnum() else None


def _keep_run(output: Path, name: str, identifier: str) -> None:
    kept = {other: known for other in PACKAGES if (known := _known_run(output, other))}
    write_text(output / TRACKERS, json.dumps({**kept, name: identifier}, indent=2) + "\n")
