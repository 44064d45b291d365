"""The `evaluate` command: measure a trained network again, also on a grid it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.commands.comparison.saved import (
    data_options,
    load_model,
    read_recipe,
    saved_spec,
)
from monarch_sciml.commands.comparison.suitability import check_transfer, mismatch
from monarch_sciml.evaluation.metrics_table import metrics_text
from monarch_sciml.models import Normalized
from monarch_sciml.models.operators.operator_grid import padded_grid
from monarch_sciml.training import evaluate_model
from monarch_sciml.training.processes import is_main_process

OF_OTHER_DATA = {"n_train": 0, "n_validation": 0, "test_path": None}
"""Options of the data that say nothing about the test samples of another file or folder."""


def evaluate_run(
    run: Path,
    *,
    data: dict[str, Any] = {},  # noqa: B006 - never changed
    objective: dict[str, Any] = {},  # noqa: B006 - never changed
    checkpoint: Literal["best", "last"] = "best",
    split: Literal["train", "validation", "test"] = "test",
    batch_size: int | None = None,
    n_modes: list[int] | None = None,
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
        `--data.subsample 1`. With another path or folder, `split` test takes its last `n_test`
        samples, or `n_test` of its volumes, and asks for no others.
    objective
        Options of the run's objective to replace: `--objective.metrics "[vrmse, fourier_rmse]"`.
    checkpoint
        best (in validation) or last.
    split
        train, validation or test.
    batch_size
        Samples at once, a matter of memory; that of the training by default.
    n_modes
        Modes along each axis that the network is to use, at most those it was trained with: fewer
        for a grid with fewer points than modes.
    progress
        Show a bar.
    trust
        Build classes of other packages that the run names, which may run any code: for runs that
        you have made yourself.

    Returns
    -------
    A table: mean, spread and range over the trajectories or volumes of each metric, and a note
    where the scans were measured otherwise than those of the training; nothing in further processes
    of the job.

    Raises
    ------
    FileNotFoundError
        When the directory, its weights or the data are missing.
    ValueError
        When the run was not made by this package, there are no such samples, or the data are of
        another problem than the network was trained on.
    """
    change = _of_other_data(run, data, split)
    made = read_recipe(run, trust=trust, data=change, objective=objective)
    spec, trained = made.data.spec, saved_spec(run)
    named = data.get("path", data.get("folder", "given by `data`"))
    check_transfer(str(named), trained, spec)
    samples = getattr(made.data, split)
    if samples is None:
        rule = f"the run must have {split} samples"
        raise ValueError(message(rule, "none", "Choose another split."))
    model = load_model(made.network, run, checkpoint=checkpoint)
    _fit_modes(model, n_modes, spec.grid_shape)
    metrics = evaluate_model(
        model,
        made.objective,
        samples,
        batch_size=made.budget.batch_size if batch_size is None else batch_size,
        progress=progress,
    )
    if not is_main_process():
        return ""
    text = metrics_text(metrics)
    if spec.grid_shape != trained.grid_shape:
        here, there = (" x ".join(map(str, s.grid_shape)) for s in (spec, trained))
        text += f"\n\ngrid: {here}, trained on {there}"
    differing = mismatch("the network", trained, spec)
    return text if differing is None else f"{text}\n\nnote: {differing}"


def _fit_modes(model: nn.Module, n_modes: list[int] | None, grid: tuple[int, ...]) -> None:
    """Lower the modes of a network where that is asked for; ValueError where the grid needs it."""
    network: Any = model.network if isinstance(model, Normalized) else model
    if not isinstance(getattr(type(network), "n_modes", None), property):
        if n_modes is not None:
            rule = "`n_modes` must be left out for a network whose modes cannot be lowered"
            raise ValueError(message(rule, type(network).__name__, "Leave it out."))
        return
    if n_modes is not None:
        network.n_modes = tuple(n_modes)
    held, points = network.n_modes, padded_grid(grid, getattr(network, "padding", None))
    fitting = [min(modes, n) for modes, n in zip(held, points)]
    if len(held) == len(points) and fitting != list(held):
        rule = f"the grid must have at least as many points as the network has modes, {held}"
        remedy = f'Leave modes out by --n_modes "{fitting}", or evaluate on a finer grid.'
        raise ValueError(message(rule, grid, remedy))


def _of_other_data(run: Path, data: dict[str, Any], split: str) -> dict[str, Any]:
    """Return the changes of the data, with what another file or folder must not be asked for."""
    if not {"path", "folder"} & data.keys() or split != "test":
        return data
    kept = data_options(run)
    return {key: value for key, value in OF_OTHER_DATA.items() if key in kept} | data
