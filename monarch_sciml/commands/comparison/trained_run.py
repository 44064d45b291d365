"""Train one network with one seed and measure it, for `train`, `evaluate` and `compare`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, printable, usage_errors
from monarch_sciml._files import write_text
from monarch_sciml.commands.comparison.recipe import Contender, LoopOptions, NetworkFactory
from monarch_sciml.commands.comparison.start import start_from_run
from monarch_sciml.commands.comparison.suitability import check_basis
from monarch_sciml.data.spec import DataModule, FieldSpec, ScanSpec, Spec, TextSpec
from monarch_sciml.evaluation import count_parameters
from monarch_sciml.evaluation.environment import environment
from monarch_sciml.models import Normalized, fit_bases
from monarch_sciml.models.fit_bases import needs_bases
from monarch_sciml.training import (
    Budget,
    NextTokenObjective,
    Objective,
    Progress,
    ReconstructionObjective,
    RolloutObjective,
    evaluate_model,
    find_checkpoint,
    load_state,
    load_weights,
    train,
)
from monarch_sciml.training.evaluate import mean_metrics
from monarch_sciml.training.loading import n_samples_of, training_fields
from monarch_sciml.training.processes import is_main_process

SPEC = "spec.json"


@dataclass(frozen=True)
class TrainedRun:
    """A trained network with its test metrics, one value per trajectory or volume.

    Attributes
    ----------
    name, seed
        Name of the network, and seed of its training.
    model
        The network with the weights of its best checkpoint.
    progress
        Progress of its training.
    metrics
        Metrics on the test samples, empty if the training diverged.
    elsewhere
        Metrics on the test samples of further data sets, by their names.
    failure
        Reason why there are no metrics. Empty if there are metrics.
    notes
        Sentences on the training that its user should read.
    """

    name: str
    seed: int
    model: nn.Module
    progress: Progress
    metrics: dict[str, Tensor]
    elsewhere: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    failure: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def means(self) -> dict[str, float]:
        """Mean of every metric; "relative_l2 on 64x64" is that on the further set 64x64."""
        further = {
            metric_on(metric, name): value
            for name, metrics in self.elsewhere.items()
            for metric, value in mean_metrics(metrics).items()
        }
        return mean_metrics(self.metrics) | further

    def row(self, columns: Collection[str]) -> dict[str, Any]:
        """One row of results.csv, with these metrics; NaN for one that the run lacks."""
        seconds, means = self.progress.seconds, self.means
        epochs = math.nan if self.failure else self.progress.epoch  # cut short: says nothing
        return {
            "network": self.name,
            "seed": self.seed,
            **{name: means.get(name, math.nan) for name in columns},
            "n_parameters": count_parameters(self.model),
            "epochs": epochs,
            "seconds": seconds,
            "seconds_per_epoch": seconds / epochs if epochs else math.nan,
        }


def build_network(network: NetworkFactory, data: DataModule, *, seed: int) -> nn.Module:
    """Build a network for the data, its initial weights drawn from `seed`.

    It is put between normalised fields where the data ask for that.

    Raises
    ------
    UsageError
        When an option of the network is out of range, or its basis does not suit the boundary of
        the data (`check_basis`).
    ValueError
        When a field that is to be normalised is constant.
    """
    arguments = dict(data.spec.network_arguments)
    torch.manual_seed(seed)
    with usage_errors():
        model = in_precision(network, arguments, getattr(data.spec, "dtype", "float32"))
        check_basis(model, data.spec)
    if data.statistics is None:
        return model
    given, wanted = data.statistics
    return Normalized(model, given.mean, given.std, wanted.mean, wanted.std)


def in_precision(network: NetworkFactory, sizes: Mapping[str, Any], dtype: str) -> nn.Module:
    """Build a network whose weights, and what it computes of sizes, are float32 or float64."""
    arguments, before = dict(sizes), torch.get_default_dtype()
    wanted = torch.float64 if dtype == "float64" else torch.float32
    torch.set_default_dtype(wanted)
    try:
        model = network(arguments.pop("grid_shape"), **arguments)
    finally:
        torch.set_default_dtype(before)
    return model if wanted is torch.float32 else model._apply(_doubled)


def _doubled(values: Tensor) -> Tensor:
    return (
        values.to(torch.complex128)
        if values.is_complex()
        else (values.double() if values.is_floating_point() else values)
    )


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
    evaluate_on: Mapping[str, DataModule] | None = None,
) -> TrainedRun:
    """Train a network in `output`, load its best checkpoint, and measure it on the test samples.

    The samples of further data sets are measured afterwards, without any training.

    Raises
    ------
    ValueError
        When objective or test samples do not fit the data.
    TrainingDiverged, RunBusy
        When `train` raises them. What a run directory says of itself is written before the first
        step.
    """
    check_objective(objective, data.spec)
    n_samples_of(data.test)  # before the training, not after it
    model = build_network(contender.network, data, seed=seed)
    begun = options.resume and find_checkpoint(output / "checkpoints" / "last") is not None
    if contender.start_from is not None and not begun:
        start_from_run(model, contender.start_from, seed=seed)
    if needs_bases(model) and not begun:
        fit_bases(model, training_fields(data.train))
    result = train(
        model,
        objective,
        data,
        optimisation=contender.optimisation,
        budget=budget,
        output=output,
        seed=seed,
        **vars(options),
        started=lambda: _describe(output, configuration, data),
    )
    load_weights(model, result.best, adapt=True)
    metrics, *further = (
        evaluate_model(model, objective, samples.test, batch_size=budget.batch_size)
        for samples in (data, *(evaluate_on or {}).values())
    )
    elsewhere = dict(zip(evaluate_on or {}, further))
    return TrainedRun(name, seed, model, result.progress, metrics, elsewhere, notes=result.notes)


def diverged_run(
    name: str, contender: Contender, *, data: DataModule, seed: int, output: Path, failure: str
) -> TrainedRun:
    """Return a run whose training diverged: how far it came, and no metrics."""
    model = build_network(contender.network, data, seed=seed)
    contender.optimisation.freeze(model)
    progress = Progress(**load_state(output / "checkpoints" / "last")["progress"])
    return TrainedRun(name, seed, model, progress, {}, failure=failure)


def metric_on(metric: str, name: str) -> str:
    """Return the column of a metric on a further data set."""
    return f"{metric} on {name}"


def _describe(output: Path, configuration: str, data: DataModule) -> None:
    """Write the files that describe a run directory, in the first process of a job."""
    if is_main_process():
        describe_run(output, configuration)
        write_text(output / SPEC, spec_text(data.spec))


_OBJECTIVES: dict[type, tuple[type[Objective], str]] = {
    FieldSpec: (RolloutObjective, "RolloutObjective or OneStepObjective"),
    ScanSpec: (ReconstructionObjective, "ReconstructionObjective"),
    TextSpec: (NextTokenObjective, "NextTokenObjective"),
}
"""Which of our objectives belongs to which kind of data, and what to call it."""


def check_objective(objective: Objective, spec: Spec) -> None:
    """Refuse an objective for data of another kind, before anything is written."""
    own, wanted = _OBJECTIVES[type(spec)]
    others = tuple(kind for kind, _ in _OBJECTIVES.values() if kind is not own)
    if isinstance(objective, others):
        rule = f"`objective` must be {wanted} for data of this kind ({type(spec).__name__})"
        raise ValueError(message(rule, type(objective).__name__, "Change objective or data."))


def check_folder_name(option: str, name: str) -> None:
    """Raise ValueError when a name cannot be that of a folder inside another one.

    Names of networks are folders of a comparison: "../elsewhere" would be written outside of it.
    """
    steers = any(c in "/\\\0" for c in name) or printable(name) != name
    if steers or not name or name != name.strip(" ."):
        rule = f"`{option}` must have names that folders can have: no / or \\, no . or space around"
        raise ValueError(message(rule, repr(name), "Rename it."))


def describe_run(output: Path, configuration: str) -> None:
    """Write config.yaml and environment.json into a run directory."""
    write_text(output / "config.yaml", configuration)
    write_text(output / "environment.json", json.dumps(environment(), indent=2) + "\n")


def spec_text(spec: Spec) -> str:
    """Return the specification of the data as JSON, which is kept without the data."""
    kind = {"kind": type(spec).__name__, "network_arguments": dict(spec.network_arguments)}
    return json.dumps({**kind, **asdict(spec)}, indent=2) + "\n"
