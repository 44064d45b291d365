"""Optimiser, parameter groups and learning-rate schedule, described by one dataclass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from monarch_sciml._checks import (
    UsageError,
    message,
    one_of,
    positive_int,
    positive_number,
    usage_errors,
)
from monarch_sciml.layers import factor_rates
from monarch_sciml.transforms import LearnableTransform


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Describe the update of the parameters.

    Learnable transforms form a separate group. Their parameters are deviations p from the initial
    transform, so decoupled decay, p <- (1 - lr * transform_decay) p, pulls the transform back to
    it.

    Attributes
    ----------
    optimizer
        "adam" adds `weight_decay` times the weights to their gradient (as in the FNO paper);
        "adamw" shrinks the weights directly (decoupled).
    learning_rate
        Learning rate at the start of training.
    weight_decay
        Weight decay of every parameter outside the transforms.
    scheduler
        "cosine" lowers the learning rate from `learning_rate` to 0 over the whole budget, lr (1 +
        cos(pi s / S)) / 2 at step s of S. "step" multiplies it by `gamma` every `step_size` epochs.
        "constant" keeps it.
    step_size
        Epochs between two drops of the "step" schedule.
    gamma
        Factor of one drop of the "step" schedule.
    gradient_clip
        Largest 2-norm of the gradient of all parameters together. Larger gradients are scaled down
        to it. None does not change gradients.
    transform_learning_rate_factor
        Learning rate of the transforms divided by that of everything else; 0 freezes them.
    transform_decay
        Decoupled decay of the transforms towards their initial value.
    trained_part
        Part of the parameters that learns: "transform" for those of the learnable transforms alone,
        None for all. A network that was trained in one place is so brought to another place by few
        samples (`start_from`).
    factor_learning_rates
        Learning rates of the factors of structured linear layers. None takes that of all other
        weights. "fan_in" multiplies it by n_in / fan-in of the factor, so that a step changes the
        output as much as a step of a dense layer would (`StructuredLinear.learning_rate_factors`).
    densify_at
        Share of the optimiser's steps after which structured linear layers are multiplied out and
        training continues with dense layers (sparse-to-dense), 0.9 in the paper. None keeps them.
    guided_until
        Share of the steps during which a dense matrix guides every structured linear layer
        (self-guided training, 0.5 in its paper). The share of that matrix in the output falls from
        1 to 0 as half a cosine. The best checkpoint is of an epoch after that. None uses no guide.

    Notes
    -----
    Both optimisers are `torch.optim.Adam`, whose groups each choose coupled or decoupled decay. The
    schedule is a function of the number of optimiser steps alone.
    """

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    scheduler: Literal["cosine", "step", "constant"] = "cosine"
    step_size: int = 100
    gamma: float = 0.5
    gradient_clip: float | None = None
    transform_learning_rate_factor: float = 1.0
    transform_decay: float = 0.0
    trained_part: Literal["transform"] | None = None
    factor_learning_rates: Literal["fan_in"] | None = None
    densify_at: float | None = None
    guided_until: float | None = None

    @usage_errors()
    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, ("adam", "adamw"))
        one_of("scheduler", self.scheduler, ("cosine", "step", "constant"))
        one_of("trained_part", self.trained_part, (None, "transform"))
        positive_int("step_size", self.step_size)
        for name in ("weight_decay", "transform_learning_rate_factor", "transform_decay"):
            positive_number(name, getattr(self, name), or_zero=True)
        positive_number("learning_rate", self.learning_rate)
        positive_number("gamma", self.gamma)
        if self.gradient_clip is not None:
            positive_number("gradient_clip", self.gradient_clip)
        one_of("factor_learning_rates", self.factor_learning_rates, (None, "fan_in"))
        for name in ("densify_at", "guided_until"):
            share = getattr(self, name)
            if share is not None and not 0 < share < 1:
                rule = f"`{name}` must be a share of the steps between 0 and 1"
                raise ValueError(message(rule, share, "Use 0.9, or None for never."))
        if (self.guided_until or 0) > (self.densify_at or 1):
            rule = "`guided_until` must not be after `densify_at`"
            got = f"{self.guided_until} and {self.densify_at}"
            raise ValueError(message(rule, got, "Lower it."))

    def freeze(self, model: nn.Module) -> None:
        """Let only the parameters learn that `trained_part` names.

        Raises
        ------
        UsageError
            When `trained_part` is "transform" and the model has no learnable transform.
        """
        if self.trained_part is None:
            return
        inside = _inside_transforms(model)
        if not inside:
            rule = "`trained_part: transform` needs a network with a learnable transform"
            remedy = "Use transform='corrected' or 'monarch', or train all parts."
            raise UsageError(message(rule, f"{type(model).__name__} without any", remedy))
        for parameter in model.parameters():
            if id(parameter) not in inside:
                parameter.requires_grad_(False)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return the non-empty groups "weights", "transform" and those of factors, for `Adam`.

        Parameters that need no gradient are in no group. A parameter shared by a transform and
        another module belongs to "transform".
        """
        inside = _inside_transforms(model)
        trainable = [p for p in model.parameters() if p.requires_grad]
        weights = {
            "name": "weights",
            "params": [p for p in trainable if id(p) not in inside],
            "lr": self.learning_rate,
            "weight_decay": self.weight_decay,
            "decoupled_weight_decay": self.optimizer == "adamw",
        }
        transform = {
            "name": "transform",
            "params": [p for p in trainable if id(p) in inside],
            "lr": self.learning_rate * self.transform_learning_rate_factor,
            "weight_decay": self.transform_decay,
            "decoupled_weight_decay": True,
        }
        groups = [weights, transform, *self._factor_groups(model, weights)]
        return [group for group in groups if group["params"]]

    def _factor_groups(self, model: nn.Module, weights: dict[str, Any]) -> list[dict[str, Any]]:
        """Move factors with a separate learning rate out of the group of weights."""
        if self.factor_learning_rates is None:
            return []
        rates = {id(p): rate for p, rate in factor_rates(model)}
        groups: dict[float, dict[str, Any]] = {}
        for p in weights["params"]:
            if (rate := rates.get(id(p), 1.0)) != 1.0:
                empty = {**weights, "name": f"factors_x{rate:g}", "params": []}
                group = groups.setdefault(rate, empty | {"lr": self.learning_rate * rate})
                group["params"].append(p)
        weights["params"] = [p for p in weights["params"] if rates.get(id(p), 1.0) == 1.0]
        return [groups[rate] for rate in sorted(groups)]

    def build_optimizer(self, model: nn.Module) -> Adam:
        """Return the optimiser of the model's trainable parameters."""
        return Adam(self.parameter_groups(model))

    def build_scheduler(
        self, optimizer: Optimizer, *, steps_per_epoch: int, epochs: int
    ) -> LambdaLR:
        """Return the learning-rate schedule, to be stepped after every optimiser step."""
        total = steps_per_epoch * epochs

        def factor(step: int) -> float:
            if self.scheduler == "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * min(step, total) / total))
            if self.scheduler == "step":
                return self.gamma ** (step // steps_per_epoch // self.step_size)
            return 1.0

        return LambdaLR(optimizer, factor)


def _inside_transforms(model: nn.Module) -> set[int]:
    """Return the identities of the parameters of all learnable transforms."""
    transforms = [m for m in model.modules() if isinstance(m, LearnableTransform)]
    return {id(p) for transform in transforms for p in transform.parameters()}
