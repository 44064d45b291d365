"""The structure of a network while it is trained: multiplied out on the way, and found again.

Weights files carry the record of the structured layers of their network, because a run that
densifies has checkpoints of either kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from monarch_sciml._checks import message
from monarch_sciml.layers import StructuredLinear
from monarch_sciml.models.conversion.record import conversion_record, restore_conversion
from monarch_sciml.models.conversion.replacements import dense_pairs, put_pairs
from monarch_sciml.training.optimisation import Optimisation

STRUCTURE = "structure"
"""Key of the record in the metadata of a weights file."""


def structure_metadata(model: nn.Module) -> dict[str, str]:
    """Return what a weights file says about the structure of its network; nothing if it is dense.

    A dense network is written as it always was, so that files of networks without structured layers
    do not change.
    """
    record = conversion_record(model)
    return {STRUCTURE: json.dumps(record)} if record["layers"] else {}


def stored_structure(path: Path) -> dict[str, Any] | None:
    """Return the record in a weights file, None for the file of a dense network."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(STRUCTURE)
    except (SafetensorError, OSError):  # reading the weights says what is wrong
        return None
    return None if text is None else json.loads(text)


def match_structure(model: nn.Module, path: Path) -> bool:
    """Give a network, in place, the structure of the weights that it shall load.

    Parameters
    ----------
    model
        Of the same architecture; it may have been multiplied out since the file was written, or be
        built before that.
    path
        A weights file.

    Returns
    -------
    Whether the network was changed. New layers have no meaningful values yet.

    Raises
    ------
    ValueError
        When the network has not the layers of the record.
    """
    stored, own = stored_structure(path), conversion_record(model)
    if json.dumps(stored) == json.dumps(own) or (stored is None and not own["layers"]):
        return False
    if own["layers"]:  # whatever optimiser there is is made anew
        put_pairs(model, dense_pairs(model))
    if stored is not None:
        restore_conversion(model, stored)
    return True


def check_structure(model: nn.Module, path: Path) -> None:
    """Raise ValueError when weights are of a structured network and the model is dense, or so."""
    stored = (stored_structure(path) or {"layers": {}})["layers"]
    own = conversion_record(model)["layers"]
    if stored.keys() != own.keys():
        rule = "the weights must be of a network of the same structure"
        got = f"{_count(stored)} in {path}, and {_count(own)} in the network"
        remedy = "Convert the network alike: monarchize, restore_conversion or densify."
        raise ValueError(message(rule, got, remedy))


def add_guides(model: nn.Module) -> None:
    """Let a dense matrix guide every structured layer of a network, in place."""
    for layer in _layers(model):
        layer.add_guide()


def set_guides(model: nn.Module, progress: float) -> None:
    """Set the share of the guides when this part of their time is over: half a cosine to 0."""
    for layer in _layers(model):
        layer.guide_share = 0.5 * (1 + math.cos(math.pi * progress))


def remove_guides(model: nn.Module) -> None:
    """Take the guides out of every structured layer, in place."""
    for layer in _layers(model):
        layer.remove_guide()


def rebuilt(
    model: nn.Module,
    optimizer: Adam,
    scheduler: LambdaLR,
    *,
    optimisation: Optimisation,
    steps_per_epoch: int,
    epochs: int,
) -> tuple[Adam, LambdaLR]:
    """Return optimiser and schedule of a network whose parameters have changed, to go on with.

    Parameters
    ----------
    model
        The network, without a wrapper.
    optimizer, scheduler
        Those it has been trained with; not to be used afterwards. The state of parameters that
        `optimizer` holds goes over, and the schedule goes on at the step it has reached.
    optimisation, steps_per_epoch, epochs
        What they were made from.
    """
    new = optimisation.build_optimizer(model)
    for group in new.param_groups:
        for p in group["params"]:
            if p in optimizer.state:
                new.state[p] = optimizer.state[p]
    schedule = optimisation.build_scheduler(new, steps_per_epoch=steps_per_epoch, epochs=epochs)
    state = schedule.state_dict()
    state["last_epoch"] = scheduler.last_epoch
    state["_step_count"] = scheduler.state_dict()["_step_count"]
    rates = [
        base * factor(scheduler.last_epoch)
        for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas)
    ]
    schedule.load_state_dict({**state, "_last_lr": rates})
    for group, rate in zip(new.param_groups, rates):
        group["lr"] = rate
    return new, schedule


def _layers(model: nn.Module) -> list[StructuredLinear]:
    return [module for module in model.modules() if isinstance(module, StructuredLinear)]


def _count(layers: Mapping[str, Any]) -> str:
    return f"{len(layers)} structured layers" if layers else "none (dense)"
