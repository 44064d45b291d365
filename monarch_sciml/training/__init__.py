"""One training loop for every network: objectives, optimisation, checkpoints."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.training.checkpoint import (
    find_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
    save_weights,
)
from monarch_sciml.training.divergence import TrainingDiverged
from monarch_sciml.training.evaluate import evaluate_model
from monarch_sciml.training.language_objective import NextTokenObjective
from monarch_sciml.training.lock import RunBusy
from monarch_sciml.training.loggers import CSVLogger, Logger, TrackerLogger, check_loggers
from monarch_sciml.training.loop import train
from monarch_sciml.training.objective import Objective, OneStepObjective, RolloutObjective
from monarch_sciml.training.optimisation import Optimisation
from monarch_sciml.training.processes import ProcessLost
from monarch_sciml.training.reconstruction_objective import ReconstructionObjective
from monarch_sciml.training.records import (
    Budget,
    LoopOptions,
    Progress,
    TrainingData,
    TrainingResult,
)

__all__ = [
    "Budget",
    "CSVLogger",
    "Logger",
    "LoopOptions",
    "NextTokenObjective",
    "Objective",
    "OneStepObjective",
    "Optimisation",
    "ProcessLost",
    "Progress",
    "ReconstructionObjective",
    "RolloutObjective",
    "RunBusy",
    "TrackerLogger",
    "TrainingData",
    "TrainingDiverged",
    "TrainingResult",
    "check_loggers",
    "evaluate_model",
    "find_checkpoint",
    "load_state",
    "load_weights",
    "save_checkpoint",
    "save_weights",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
