"""The options of `train`, from which a network is trained and which a run directory keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from monarch_sciml.data.spec import DataModule
from monarch_sciml.training import Budget, LoopOptions, Objective, Optimisation

NetworkFactory = Callable[[tuple[int, ...]], nn.Module]
"""Builds a network for a grid; called with the other sizes of the data as keywords."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One entry of a comparison.

    Attributes
    ----------
    network
        The class of the network and its options; the sizes come from the data.
    optimisation
        How it is trained. Give every contender the same care.
    start_from
        A run directory whose best weights it starts from, `{seed}` standing for the seed. Weights
        of a dense network are projected if the new network is a `StructuredNetwork` of it.
    """

    network: NetworkFactory
    optimisation: Optimisation = field(default_factory=Optimisation)
    start_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe(Contender):
    """All that a run was made from, as its config.yaml describes it.

    Attributes
    ----------
    data
        Where the samples come from.
    objective
        Loss and metrics.
    budget
        Epochs and batch size.
    seed
        Seed of the initial weights and of the order of the samples.
    options
        Resuming, precision, logging.
    """

    data: DataModule
    objective: Objective
    budget: Budget
    seed: int = 0
    options: LoopOptions = field(default_factory=LoopOptions)
