"""A saved run as Python objects: the trained network, its data, its objective and its results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from monarch_sciml._checks import message
from monarch_sciml.commands.comparison.saved import load_model, read_recipe
from monarch_sciml.data.spec import DataModule
from monarch_sciml.evaluation.results import read_rows
from monarch_sciml.training import Objective


@dataclass(frozen=True)
class LoadedRun:
    """Hold the objects of a finished training.

    Attributes
    ----------
    model
        The network with its trained weights, in evaluation mode.
    data
        The data it was trained on, with the parts `train`, `validation` and `test`.
    objective
        The objective, which turns a batch into a prediction, a loss and metrics.
    """

    model: nn.Module
    data: DataModule
    objective: Objective

    @torch.no_grad()
    def predict(
        self, index: int, *, split: Literal["train", "validation", "test"] = "test"
    ) -> Tensor:
        """Return the prediction of the network for one sample.

        Parameters
        ----------
        index
            Number of the sample in the part, from 0.
        split
            The part of the data.

        Returns
        -------
        Fields (T, F, *grid) or an image (H, W), in the units of the data.

        Raises
        ------
        ValueError
            When the run has no such part.
        """
        samples = getattr(self.data, split)
        if samples is None:
            rule = f"the run must have {split} samples"
            raise ValueError(message(rule, "none", "Choose another split."))
        batch = default_collate([samples[index]])
        return self.objective.predict(self.model, batch)[0]


def load_run(
    run: str | Path,
    *,
    checkpoint: str = "best",
    data: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> LoadedRun:
    """Load a run directory into Python.

    Parameters
    ----------
    run
        The `output` of `monarch-sciml train`, or NETWORK/seed-N of a comparison.
    checkpoint
        "best" (in validation) or "last".
    data
        Options of the run's data to replace, such as `{"path": "fine.h5"}`.
    trust
        Build classes of other packages too, which may run any code.

    Returns
    -------
    The network, its data and its objective.

    Raises
    ------
    FileNotFoundError
        When the directory, its weights or its data are missing.
    ValueError
        When the directory is not a run, or names classes of other packages.

    Examples
    --------
    >>> import monarch_sciml
    >>> run = monarch_sciml.load_run("runs/mine")  # doctest: +SKIP
    >>> prediction = run.predict(0)  # doctest: +SKIP
    """
    run = Path(run)
    recipe = read_recipe(run, trust=trust, data=data or {})
    model = load_model(recipe.network, run, checkpoint=checkpoint)
    return LoadedRun(model.eval(), recipe.data, recipe.objective)


def load_results(output: str | Path, *, samples: bool = False) -> list[dict[str, Any]]:
    """Return the results of a comparison or a run as rows, ready for `pandas.DataFrame`.

    Parameters
    ----------
    output
        The `output` of `monarch-sciml compare` or `train`.
    samples
        Return the metrics of every test sample (samples.csv) instead of their means
        (results.csv).

    Returns
    -------
    One row for each network and seed, or for each of these and each test sample: `network` is
    text, `seed`, `n_parameters` and `epochs` are whole numbers, metrics and times are floats. A
    value that a run does not have is NaN: `epochs` and metrics of a training that diverged, for
    example.

    Raises
    ------
    FileNotFoundError
        When the directory or its table is missing.
    ValueError
        When the file is not such a table.

    Examples
    --------
    >>> import monarch_sciml
    >>> rows = monarch_sciml.load_results("runs/table")  # doctest: +SKIP
    >>> pandas.DataFrame(rows).groupby("network").mean()  # doctest: +SKIP
    """
    rows = read_rows(Path(output) / ("samples.csv" if samples else "results.csv"))
    return [{key: math.nan if v is None else v for key, v in row.items()} for row in rows]
