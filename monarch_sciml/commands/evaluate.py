"""The `evaluate` command: measure a trained network again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tabulate import tabulate

from monarch_sciml._checks import message
from monarch_sciml.commands.runs import Contender, build, summarise
from monarch_sciml.data.spec import DataModule
from monarch_sciml.training import Budget, Objective, evaluate_model, load_weights


def evaluate_run(
    run: Path,
    contender: Contender,
    data: DataModule,
    objective: Objective,
    budget: Budget,
    *,
    checkpoint: Literal["best", "last"] = "best",
    split: Literal["train", "validation", "test"] = "test",
    progress: bool = True,
) -> str:
    """Load a checkpoint of a run directory and measure it on one split of its data.

    Returns
    -------
    str
        A table: mean, spread and range over the trajectories or volumes of each metric.
    """
    samples = getattr(data, split)
    if samples is None:
        rule = f"the run must have {split} samples"
        raise ValueError(message(rule, "none", "Choose another split."))
    model = build(contender.network, data, seed=0)
    load_weights(model, run / "checkpoints" / checkpoint)
    metrics = evaluate_model(
        model, objective, samples, batch_size=budget.batch_size, progress=progress
    )
    return tabulate(summarise(metrics), headers="keys", floatfmt=".4g")
