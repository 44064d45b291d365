"""Start a training from the weights of another run: fine-tuning, and dense-to-sparse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.models import Normalized, StructuredNetwork
from monarch_sciml.models.conversion.weights_files import names_of, stored_structure
from monarch_sciml.training import find_checkpoint, load_weights
from monarch_sciml.training.checkpoint import WEIGHTS


def start_from_run(model: nn.Module, run: Path, *, seed: int) -> None:
    """Load the best weights of a trained network into a new network, in place.

    A network takes the weights of its own kind. A `StructuredNetwork` also takes those of the dense
    network inside of it, and its own after they were multiplied out (`densify_at`), every matrix
    projected to the nearest structured one.

    Parameters
    ----------
    model
        The new network, as `build` returns it.
    run
        The run directory, in whose name `{seed}` stands for the seed.
    seed
        Seed of the new run.

    Raises
    ------
    FileNotFoundError
        When the run has no checkpoint.
    ValueError
        When the weights are of another network.
    """
    run = Path(str(run).replace("{seed}", str(seed)))
    best = run / "checkpoints" / "best"
    if (found := find_checkpoint(best)) is None:
        rule = "`start_from` must be the directory of a finished run"
        raise FileNotFoundError(message(rule, str(run), "Train it first, or correct the path."))
    inside: Any = model.network if isinstance(model, Normalized) else model
    weights = found / WEIGHTS
    if not isinstance(inside, StructuredNetwork) or stored_structure(weights) is not None:
        load_weights(model, best)
        return
    dense = inside.dense_network()
    within: Any = dense
    prefix = "" if inside is model else "network."
    if f"{prefix}network.{next(iter(dense.state_dict()))}" in names_of(weights):
        within = copy.deepcopy(inside)
        within.network = dense
    outer: Any = within
    if inside is not model:
        outer = copy.deepcopy(model)
        outer.network = within
    load_weights(outer, best)
    inside.project(dense)
