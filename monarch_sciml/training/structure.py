"""Changes of the structure of a network during training, and their record in weights files.

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
    """Return the record of the structure for a weights file, empty for a dense network.

    A dense network has no record, so that files of networks without structured layers do not
    change.
    """
    record = conversion_record(model)
    return {STRUCTURE: json.dumps(record)} if record["layers"] else {}


def stored_structure(path: Path) -> dict[str, Any] | None:
    """Return the record in a weights file, or None for a dense network."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(STRUCTURE)
    except (SafetensorError, OSError):  # reading the weights raises the full error
        return None
    return None if text is None else json.loads(text)


def match_structure(model: nn.Module, path: Path) -> bool:
    """Change a network in place to the structure of the weights that it is to load.

    Parameters
    ----------
    model
        Network of the same architecture. It may have been multiplied out after the file was
        written, or have its structured layers while the file is of the dense network.
    path
        A weights file.

    Returns
    -------
    Whether the network was changed. New layers hold no meaningful values until the weights are
    loaded.

    Raises
    ------
    ValueError
        When the network does not have the layers of the record.
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
    """Raise ValueError unless the weights and the model have the same structured layers."""
    stored = (stored_structure(path) or {"layers": {}})["layers"]
    own = conversion_record(model)["layers"]
    if stored.keys() != own.keys():
        rule = "the weights must be of a network of the same structure"
        got = f"{_count(stored)} in {path}, and {_count(own)} in the network"
        remedy = "Convert the network alike: monarchize, restore_conversion or densify."
        raise ValueError(message(rule, got, remedy))


def add_guides(model: nn.Module) -> None:
    """Add a dense matrix that guides it to every structured layer of a network, in place."""
    for layer in _layers(model):
        layer.add_guide()


def set_guides(model: nn.Module, progress: float) -> None:
    """Set the share of the guides after a fraction of their time, falling as half a cosine to 0."""
    for layer in _layers(model):
        layer.guide_share = 0.5 * (1 + math.cos(math.pi * progress))


def remove_guides(model: nn.Module) -> None:
    """Remove the guides from every structured layer, in place."""
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
    """Return a new optimiser and schedule for a network whose parameters have been replaced.

    Parameters
    ----------
    model
        The network, without a wrapper.
    optimizer, scheduler
        The optimiser and schedule so far, which must not be used afterwards. The state of
        parameters that remain is kept, and the schedule continues at its step.
    optimisation, steps_per_epoch, epochs
        The values from which the optimiser and the schedule were made.
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
