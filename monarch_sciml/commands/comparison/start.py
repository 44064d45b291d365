"""Start a training from the weights of another run: fine-tuning, and dense-to-sparse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.models import Normalized, StructuredNetwork
from monarch_sciml.training import find_checkpoint, load_weights


def start_from_run(model: nn.Module, run: Path, *, seed: int) -> None:
    """Load the best weights of a trained network into a new network, in place.

    A `StructuredNetwork` takes those of the dense network inside of it, every matrix projected to
    the nearest structured one; any other network takes those of its own kind.

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
    if find_checkpoint(best) is None:
        rule = "`start_from` must be the directory of a finished run"
        raise FileNotFoundError(message(rule, str(run), "Train it first, or correct the path."))
    inside: Any = model.network if isinstance(model, Normalized) else model
    if not isinstance(inside, StructuredNetwork):
        load_weights(model, best)
        return
    dense = inside.dense_network()
    outer: Any = dense
    if inside is not model:
        outer = copy.deepcopy(model)
        outer.network = dense
    load_weights(outer, best)
    inside.project(dense)
