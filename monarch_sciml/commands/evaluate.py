"""The `evaluate` command: measure a trained network again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tabulate import tabulate

from monarch_sciml._checks import message
from monarch_sciml.commands.runs import build, summarise
from monarch_sciml.commands.saved import load_run
from monarch_sciml.training import evaluate_model, load_weights


def evaluate_run(
    run: Path,
    *,
    checkpoint: Literal["best", "last"] = "best",
    split: Literal["train", "validation", "test"] = "test",
    progress: bool = True,
) -> str:
    """Measure a trained network again, on one split of the data it was trained with.

    Parameters
    ----------
    run
        A run directory: the `output` of `train`, or NETWORK/seed-N of a comparison.
    checkpoint
        best (in validation) or last.
    split
        train, validation or test.
    progress
        Show a bar.

    Returns
    -------
    str
        A table: mean, spread and range over the trajectories or volumes of each metric.

    Raises
    ------
    FileNotFoundError
        When the directory, its weights or the data are missing.
    ValueError
        When the run was not made by this package, or there are no such samples.
    """
    made = load_run(run)
    samples = getattr(made.data, split)
    if samples is None:
        rule = f"the run must have {split} samples"
        raise ValueError(message(rule, "none", "Choose another split."))
    model = build(made.network, made.data, seed=0)
    load_weights(model, run / "checkpoints" / checkpoint)
    metrics = evaluate_model(
        model, made.objective, samples, batch_size=made.budget.batch_size, progress=progress
    )
    return tabulate(summarise(metrics), headers="keys", floatfmt=".4g")
