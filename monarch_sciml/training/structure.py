"""Changes of the structure of a network during training."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from monarch_sciml.layers import StructuredLinear
from monarch_sciml.training.optimisation import Optimisation


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
