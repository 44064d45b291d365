"""One training loop for every network: objectives, optimisation, checkpoints."""

from monarch_sciml.training.checkpoint import (
    find_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
    save_weights,
)
from monarch_sciml.training.divergence import TrainingDiverged
from monarch_sciml.training.evaluate import evaluate_model, mean_metrics
from monarch_sciml.training.language_objective import NextTokenObjective
from monarch_sciml.training.loading import n_samples_of
from monarch_sciml.training.lock import RunBusy, is_finished, run_lock
from monarch_sciml.training.loggers import CSVLogger, Logger, TrackerLogger, check_loggers
from monarch_sciml.training.loop import train
from monarch_sciml.training.objective import Objective, OneStepObjective, RolloutObjective
from monarch_sciml.training.optimisation import Optimisation
from monarch_sciml.training.processes import (
    ProcessLost,
    from_main_process,
    is_main_process,
    make_accelerator,
)
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
    "from_main_process",
    "is_finished",
    "is_main_process",
    "load_state",
    "load_weights",
    "make_accelerator",
    "mean_metrics",
    "n_samples_of",
    "run_lock",
    "save_checkpoint",
    "save_weights",
    "train",
]
