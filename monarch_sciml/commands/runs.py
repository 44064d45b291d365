"""Train one network with one seed and measure it: what `train`, `evaluate` and `compare` share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml.benchmark.environment import environment
from monarch_sciml.data.spec import DataModule, FieldSpec, ScanSpec
from monarch_sciml.evaluation import count_parameters
from monarch_sciml.training import (
    Budget,
    Objective,
    Optimisation,
    Progress,
    ReconstructionObjective,
    RolloutObjective,
    evaluate_model,
    load_weights,
    mean_metrics,
    train,
)

SPEC = "spec.json"

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
    """

    network: NetworkFactory
    optimisation: Optimisation = field(default_factory=Optimisation)


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How the training loop runs, apart from what is trained.

    Attributes
    ----------
    resume
        Go on with a run that is there, and leave a finished one as it is.
    mixed_precision
        "no", "bf16" or "fp16".
    tensorboard
        Write TensorBoard curves too.
    progress
        Show progress bars.
    num_workers
        Processes that load data.
    """

    resume: bool = False
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    tensorboard: bool = False
    progress: bool = True
    num_workers: int = 0


@dataclass(frozen=True)
class Run:
    """A trained network with its test metrics, one value per trajectory or volume."""

    name: str
    seed: int
    model: nn.Module
    progress: Progress
    metrics: dict[str, Tensor]

    @property
    def row(self) -> dict[str, Any]:
        """One row of results.csv."""
        epochs, seconds = self.progress.epoch, self.progress.seconds
        return {
            "network": self.name,
            "seed": self.seed,
            **mean_metrics(self.metrics),
            "n_parameters": count_parameters(self.model),
            "epochs": epochs,
            "seconds": seconds,
            "seconds_per_epoch": seconds / epochs if epochs else math.nan,
        }


def build(network: NetworkFactory, data: DataModule, *, seed: int) -> nn.Module:
    """Build a network for the data, its initial weights drawn from `seed`."""
    arguments = dict(data.spec.network_arguments)
    torch.manual_seed(seed)
    return network(arguments.pop("grid_shape"), **arguments)


def run_network(
    name: str,
    contender: Contender,
    *,
    data: DataModule,
    objective: Objective,
    budget: Budget,
    seed: int,
    output: Path,
    configuration: str,
    options: LoopOptions,
) -> Run:
    """Train a network in `output`, load its best checkpoint, and measure it on the test samples."""
    _check_objective(objective, data.spec)
    model = build(contender.network, data, seed=seed)
    result = train(
        model,
        objective,
        data,
        optimisation=contender.optimisation,
        budget=budget,
        output=output,
        seed=seed,
        resume=options.resume,
        mixed_precision=options.mixed_precision,
        tensorboard=options.tensorboard,
        progress=options.progress,
        num_workers=options.num_workers,
    )
    describe_run(output, configuration)
    write_text(output / SPEC, spec_text(data.spec))
    load_weights(model, result.best)
    metrics = evaluate_model(model, objective, data.test, batch_size=budget.batch_size)
    return Run(name, seed, model, result.progress, metrics)


def _check_objective(objective: Objective, spec: FieldSpec | ScanSpec) -> None:
    """Refuse an objective for data of another kind, before anything is written."""
    wanted, other = ("RolloutObjective or OneStepObjective", ReconstructionObjective)
    if isinstance(spec, ScanSpec):
        wanted, other = ("ReconstructionObjective", RolloutObjective)
    if isinstance(objective, other):
        rule = f"`objective` must be {wanted} for data of this kind ({type(spec).__name__})"
        raise ValueError(message(rule, type(objective).__name__, "Change objective or data."))


def describe_run(output: Path, configuration: str) -> None:
    """Write config.yaml and environment.json into a run directory."""
    write_text(output / "config.yaml", configuration)
    write_text(output / "environment.json", json.dumps(environment(), indent=2) + "\n")


def spec_text(spec: FieldSpec | ScanSpec) -> str:
    """Return as JSON what the network was built for: it must outlive the data."""
    kind = {"kind": type(spec).__name__, "network_arguments": dict(spec.network_arguments)}
    return json.dumps({**kind, **asdict(spec)}, indent=2) + "\n"


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""
    with whole_file(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")


def summarise(metrics: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return mean, standard deviation and range over trajectories or volumes of each metric."""
    return [
        {
            "metric": name,
            "mean": float(values.double().mean()),
            "std": float(values.double().std()) if len(values) > 1 else 0.0,
            "min": float(values.min()),
            "max": float(values.max()),
            "n": len(values),
        }
        for name, values in metrics.items()
    ]
