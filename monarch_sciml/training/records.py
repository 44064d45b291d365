"""Data, budget, progress and result of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from torch.utils.data import Dataset

from monarch_sciml._checks import message, positive_int, usage_errors
from monarch_sciml.training.checkpoint import find_checkpoint
from monarch_sciml.training.lock import is_finished
from monarch_sciml.training.loggers import LoggedRow, LoggerName
from monarch_sciml.training.objective import Objective
from monarch_sciml.training.optimisation import Optimisation


class TrainingData(Protocol):
    """The interface of training data, which every `DataModule` has."""

    @property
    def train(self) -> Dataset[dict[str, Any]]:
        """Samples to train on."""
        ...

    @property
    def validation(self) -> Dataset[dict[str, Any]] | None:
        """Samples to choose the best checkpoint with, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Budget:
    """State the length of the training.

    Attributes
    ----------
    epochs
        Number of passes over the training data.
    batch_size
        Number of samples of one optimiser step, in all processes together.
    evaluate_every
        Number of epochs between two evaluations on the validation data. The last epoch is always
        evaluated.
    """

    epochs: int
    batch_size: int
    evaluate_every: int = 1

    @usage_errors()
    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            positive_int(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How the training loop runs, apart from what is trained.

    All of them may be changed when a run is resumed, but for `mixed_precision`.

    Attributes
    ----------
    resume
        Go on with a run that is there, and leave a finished one as it is.
    mixed_precision
        "no", "bf16" or "fp16".
    gradient_accumulation
        Number of parts that a batch is computed in, one after the other, to save memory. The
        gradient is that of the whole batch.
    activation_checkpointing
        Keep the inputs of the blocks of the network only, and compute the rest again for the
        gradient: less memory, more time, equal results.
    shard_optimizer
        Divide the state of the optimiser among the processes of the job.
    deterministic
        Use deterministic algorithms only; an operation that has none is refused.
    loggers
        Experiment trackers to send every epoch to: "tensorboard", "wandb", "mlflow".
    tensorboard
        Write TensorBoard curves too; the same as "tensorboard" in `loggers`.
    progress
        Show progress bars.
    num_workers
        Processes that load data.
    """

    resume: bool = False
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_accumulation: int = 1
    activation_checkpointing: bool = False
    shard_optimizer: bool = False
    deterministic: bool = False
    loggers: list[LoggerName] = field(default_factory=list)
    tensorboard: bool = False
    progress: bool = True
    num_workers: int = 0

    @usage_errors()
    def __post_init__(self) -> None:
        positive_int("gradient_accumulation", self.gradient_accumulation)
        positive_int("num_workers", self.num_workers, minimum=0)

    @property
    def all_loggers(self) -> list[LoggerName]:
        """The trackers of the run, each once."""
        first: list[LoggerName] = ["tensorboard"] if self.tensorboard else []
        return list(dict.fromkeys([*first, *self.loggers]))


@dataclass
class Progress:
    """Record the progress of a run, which is saved with the state of the optimiser.

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
        Monitored metric of the best checkpoint (NaN without validation data).
    history
        One row per epoch, as in metrics.csv.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float = math.nan
    history: list[LoggedRow] = field(default_factory=list)

    def note_best(self, value: float, *, mode: Literal["min", "max"] | None = None) -> bool:
        """Return whether this epoch has the best monitored value so far, and record it if so.

        Without `mode` the last is the best. Any number is better than NaN.
        """
        old = self.best_value
        better = value < old if mode == "min" else value > old
        better = better or (math.isnan(old) and not math.isnan(value))
        if mode is not None and self.best_epoch and not better:
            return False
        self.best_epoch, self.best_value = self.epoch, value
        return True

    def forget_best(self) -> None:
        """Let any later epoch be the best."""
        self.best_epoch, self.best_value = 0, math.nan


@dataclass(frozen=True)
class TrainingResult:
    """Result of `train`: the progress of the run and the paths of its checkpoints.

    The model holds the weights of the last epoch afterwards; `load_weights(model, result.best)`
    brings back the best.

    Attributes
    ----------
    output
        The run directory.
    progress
        Epochs, steps, seconds, best epoch and history.
    notes
        Sentences for the user, for example that a damaged checkpoint was left out.
    """

    output: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> Path:
        """The CSV file with one row per epoch."""
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
    """Raise FileExistsError if the run directory is in use, NotADirectoryError if it is no folder.

    A run that ended in its first epoch has learned nothing and may be replaced. A run that has
    learned something but lost its last checkpoint raises FileNotFoundError.
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
    except ValueError:  # a damaged state, which the user may want to look at before it is removed
        return True


DATA = "data.fingerprint"
"""The setting that tells the data of a run from others (`fingerprint`)."""


def run_settings(
    optimisation: Optimisation, objective: Objective, budget: Budget
) -> dict[str, Any]:
    """Return the settings that must not change when a run is resumed."""
    settings = {f"optimisation.{name}": value for name, value in asdict(optimisation).items()}
    settings |= {**objective.settings(), "budget.batch_size": budget.batch_size}
    shares = optimisation.densify_at, optimisation.guided_until
    if optimisation.scheduler == "cosine" or shares != (None, None):  # shares of the whole budget
        settings["budget.epochs"] = budget.epochs
    return settings


def check_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise ValueError when a run is resumed with settings that would not continue it."""
    if old.get(DATA, new.get(DATA)) != new.get(DATA):  # runs of earlier versions do not record it
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
