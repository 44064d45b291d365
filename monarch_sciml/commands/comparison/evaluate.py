"""The `evaluate` command: measure a trained network again, also on a grid it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from monarch_sciml._checks import message
from monarch_sciml.commands.comparison.saved import (
    data_options,
    load_model,
    read_recipe,
    saved_spec,
)
from monarch_sciml.commands.comparison.suitability import check_transfer
from monarch_sciml.evaluation.metrics_table import summary_text
from monarch_sciml.training import evaluate_model, is_main_process

OF_ANOTHER_FILE = {"n_train": 0, "n_validation": 0, "test_path": None}
"""Options of the data that say nothing about the test samples of another file."""


def evaluate_run(
    run: Path,
    *,
    data: dict[str, Any] = {},  # noqa: B006 - never changed
    objective: dict[str, Any] = {},  # noqa: B006 - never changed
    checkpoint: Literal["best", "last"] = "best",
    split: Literal["train", "validation", "test"] = "test",
    batch_size: int | None = None,
    progress: bool = True,
    trust: bool = False,
) -> str:
    """Measure a trained network again, with other metrics or on another resolution if you like.

    The network is the one that was trained: on another grid its learned transforms are resampled
    (`Transform.resampled`), nothing is trained.

    Parameters
    ----------
    run
        A run directory: the `output` of `train`, or NETWORK/seed-N of a comparison.
    data
        Options of the run's data to replace, one by one: `--data.path fine.h5`, or
        `--data.subsample 1`. With another path, `split` test takes its last `n_test` samples and
        asks for no others.
    objective
        Options of the run's objective to replace: `--objective.metrics "[vrmse, fourier_rmse]"`.
    checkpoint
        best (in validation) or last.
    split
        train, validation or test.
    batch_size
        Samples at once, a matter of memory; that of the training by default.
    progress
        Show a bar.
    trust
        Build classes of other packages that the run names, which may run any code: for runs that
        you have made yourself.

    Returns
    -------
    str
        A table: mean, spread and range over the trajectories or volumes of each metric;
        nothing in further processes of the job.

    Raises
    ------
    FileNotFoundError
        When the directory, its weights or the data are missing.
    ValueError
        When the run was not made by this package, there are no such samples, or the data are of
        another problem than the network was trained on.
    """
    change = _of_another_file(run, data, split)
    made = read_recipe(run, trust=trust, data=change, objective=objective)
    spec, trained = made.data.spec, saved_spec(run)
    check_transfer(str(data.get("path", "given by `data`")), trained, spec)
    samples = getattr(made.data, split)
    if samples is None:
        rule = f"the run must have {split} samples"
        raise ValueError(message(rule, "none", "Choose another split."))
    metrics = evaluate_model(
        load_model(made.network, run, checkpoint=checkpoint),
        made.objective,
        samples,
        batch_size=made.budget.batch_size if batch_size is None else batch_size,
        progress=progress,
    )
    if not is_main_process():
        return ""
    text = summary_text(metrics)
    if spec.grid_shape != trained.grid_shape:
        here, there = (" x ".join(map(str, s.grid_shape)) for s in (spec, trained))
        text += f"\n\ngrid: {here}, trained on {there}"
    return text


def _of_another_file(run: Path, data: dict[str, Any], split: str) -> dict[str, Any]:
    """Return the changes of the data, with what another file must not be asked for."""
    if "path" not in data or split != "test":
        return data
    kept = data_options(run)
    return {key: value for key, value in OF_ANOTHER_FILE.items() if key in kept} | data
