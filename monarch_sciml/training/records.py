"""What goes into a run and what comes out: data, budget, progress, result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from torch.utils.data import Dataset

from monarch_sciml._checks import message, positive_int
from monarch_sciml.training.checkpoint import find_checkpoint
from monarch_sciml.training.lock import is_finished
from monarch_sciml.training.loggers import LoggedRow
from monarch_sciml.training.objective import Objective
from monarch_sciml.training.optimisation import Optimisation


class TrainingData(Protocol):
    """What the loop asks of data: any `DataModule` has it."""

    @property
    def train(self) -> Dataset[dict[str, Any]]:
        """Samples to train on."""
        ...

    @property
    def validation(self) -> Dataset[dict[str, Any]] | None:
        """Samples that choose the best checkpoint, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Say how long to train.

    Attributes
    ----------
    epochs
        Passes over the training data.
    batch_size
        Samples of one optimiser step, over all processes together.
    evaluate_every
        Epochs between two evaluations on the validation data; the last epoch is always evaluated.
    """

    epochs: int
    batch_size: int
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            positive_int(name, getattr(self, name))


@dataclass
class Progress:
    """How far a run has come: what is saved beside the state of the optimiser.

    Attributes
    ----------
    epoch
        Epochs finished.
    step
        Optimiser steps taken.
    seconds
        Time spent, evaluation included, over all resumes.
    best_epoch
        Epoch of the best checkpoint; 0 before there is one.
    best_value
        Its value of the monitored metric (NaN without validation data).
    history
        One row an epoch, as in metrics.csv.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float = math.nan
    history: list[LoggedRow] = field(default_factory=list)

    def note_best(self, value: float, *, mode: Literal["min", "max"] | None = None) -> bool:
        """Return whether this epoch, with its monitored value, is the best so far; keep it if so.

        Without `mode` the last is the best. Any number is better than NaN.
        """
        old = self.best_value
        better = value < old if mode == "min" else value > old
        better = better or (math.isnan(old) and not math.isnan(value))
        if mode is not None and self.best_epoch and not better:
            return False
        self.best_epoch, self.best_value = self.epoch, value
        return True


@dataclass(frozen=True)
class TrainingResult:
    """What `train` returns: how far it came, and where the checkpoints are.

    The model holds the weights of the last epoch afterwards; `load_weights(model, result.best)`
    brings back the best.

    Attributes
    ----------
    output
        The run directory.
    progress
        Epochs, steps, seconds, best epoch and history.
    notes
        Sentences on what its user should know, as that a damaged checkpoint was left out.
    """

    output: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> Path:
        """The CSV file with one row an epoch."""
        return self.output / "metrics.csv"

    @property
    def best(self) -> Path:
        """Folder of the best checkpoint."""
        return self.output / "checkpoints" / "best"

    @property
    def last(self) -> Path:
        """Folder of the last checkpoint."""
        return self.output / "checkpoints" / "last"


def check_output(result: TrainingResult, *, resume: bool) -> None:
    """Raise FileExistsError when the run directory is taken, NotADirectoryError when it is none.

    A run that ended in its first epoch left nothing that was learned: its place is free. One that
    has learned something cannot go on without its last checkpoint: FileNotFoundError.
    """
    if result.output.exists() and not result.output.is_dir():
        rule = "the run directory must be a folder"
        raise NotADirectoryError(message(rule, f"the file {result.output}", "Name a folder."))
    if not resume and _has_learned(result):
        rule = "the run directory must not hold a run yet"
        remedy = "Name another, remove it, or resume."
        raise FileExistsError(message(rule, str(result.output), remedy))
    if resume and find_checkpoint(result.last) is None and _has_learned(result):
        rule = f"a run is resumed from {result.last}, which must be there"
        remedy = "Restore it, or name another run directory to start afresh."
        raise FileNotFoundError(message(rule, "a run without it", remedy))


def _has_learned(result: TrainingResult) -> bool:
    """Return whether an epoch has left anything behind: a row, or a checkpoint."""
    rows = result.metrics.read_bytes().splitlines()[1:] if result.metrics.exists() else []
    if rows or find_checkpoint(result.best):
        return True
    try:
        return is_finished(result.last, epochs=1)
    except ValueError:  # a damaged state; look at it before it goes
        return True


DATA = "data.fingerprint"
"""The setting that tells the data of a run from others (`fingerprint`)."""


def run_settings(
    optimisation: Optimisation, objective: Objective, budget: Budget
) -> dict[str, Any]:
    """Return what a run must be resumed with, and not with another value of."""
    settings = {f"optimisation.{name}": value for name, value in asdict(optimisation).items()}
    settings |= {**objective.settings(), "budget.batch_size": budget.batch_size}
    if optimisation.scheduler == "cosine":
        settings["budget.epochs"] = budget.epochs
    return settings


def check_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ValueError when a run is resumed with settings that would not continue it."""
    if old.get(DATA, new.get(DATA)) != new.get(DATA):  # runs of earlier versions do not say
        rule = "a run must be resumed with the training and validation data it was started with"
        remedy = "Restore the data, or name another run directory."
        raise ValueError(message(rule, "other values in them", remedy))
    changed = [
        f"{name} {new.get(name)} (was {old.get(name)})"
        for name in sorted((old.keys() | new.keys()) - {DATA})
        if old.get(name) != new.get(name)
    ]
    if changed:
        rule = "a run must be resumed with the settings it was started with"
        remedy = "Restore them, or name another run directory."
        raise ValueError(message(rule, ", ".join(changed), remedy))
