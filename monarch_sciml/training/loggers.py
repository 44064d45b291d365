"""Loggers that record one row of numbers per epoch of a run."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file

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


class TensorBoardLogger(Logger):
    """Write every column as a TensorBoard scalar against the epoch.

    Parameters
    ----------
    folder
        Folder of the event files.
    first_epoch
        Epoch of the first row. TensorBoard hides later points of an earlier, killed run.

    Raises
    ------
    ModuleNotFoundError
        When the package `tensorboard` is not installed.
    """

    def __init__(self, folder: str | Path, *, first_epoch: int = 1) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            rule = "TensorBoard logging needs the package `tensorboard`"
            remedy = "Install monarch_sciml[tensorboard], or train without `tensorboard`."
            raise ModuleNotFoundError(message(rule, "none", remedy)) from error
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def log(self, row: Mapping[str, float]) -> None:
        """Add one point to every curve; `validation_x` is shown as `validation/x`."""
        for name, value in row.items():
            if name != "epoch":
                tag = name.replace("validation_", "validation/", 1)
                self._writer.add_scalar(tag, value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
