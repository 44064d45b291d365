"""The figures of a comparison: predictions of the networks and their learned transforms."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from monarch_sciml.commands.comparison.field_figures import field_figures
from monarch_sciml.commands.comparison.trained_run import TrainedRun, metric_on
from monarch_sciml.data.spec import DataModule, FieldSpec, ScanSpec
from monarch_sciml.evaluation import (
    reconstruction_figure,
    training_figure,
    transfer_figure,
    transform_figure,
)
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.training import Objective
from monarch_sciml.transforms import LearnableTransform

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figures(
    runs: Sequence[TrainedRun],
    data: DataModule,
    objective: Objective,
    *,
    batch_size: int,
    evaluate_on: Mapping[str, DataModule],
) -> dict[str, Figure]:
    """Return the figures of a comparison by file name; runs that diverged are not drawn.

    Roll-outs, samples and reconstructions show the first run of each network on the first test
    samples (the middle slice of the first volume); errors and training curves show every seed.
    """
    runs = [run for run in runs if not run.failure]
    figures: dict[str, Figure] = {}
    if not runs:
        return figures
    if isinstance(data.spec, FieldSpec):
        figures.update(
            field_figures(
                runs,
                data,
                lambda run, batch: _predict(run.model, objective, batch),
                batch_size=batch_size,
            )
        )
    elif isinstance(data.spec, ScanSpec):
        figures["reconstructions"] = _reconstructions(runs, data, objective)
    if evaluate_on:
        figures["transfer"] = _transfer(runs, data, objective.monitor, evaluate_on)
    curves = _curves(runs, f"validation_{objective.monitor}")
    if curves:
        title = "Validation error during training"
        figures["training"] = training_figure(curves, title=title, metric=objective.monitor)
    figures.update(_transforms(runs))
    return figures


def _transforms(runs: Sequence[TrainedRun]) -> dict[str, Figure]:
    """Return the first learned transform of each network against where it started."""
    figures = {}
    for run in _first_runs(runs):
        named = _first_transform(run.model)
        if named is not None:
            title = f"{run.name}: {named[0]}"
            transform = named[1]
            first = transform.matrix().detach()
            learned = first[0] if first.ndim == 3 else first
            initial = transform.initial_matrix().detach()
            if transform.spec.synthesis:
                initial, learned = initial.mT, learned.mT
            figures[f"transform-{_slug(run.name)}"] = transform_figure(
                initial.cpu().numpy(), learned.cpu().numpy(), title
            )
    return figures


def _transfer(
    runs: Sequence[TrainedRun], data: DataModule, metric: str, evaluate_on: Mapping[str, DataModule]
) -> Figure:
    """Return the error on every data set that the runs were measured on."""
    errors: dict[str, list[list[float]]] = defaultdict(list)
    columns = [metric, *(metric_on(metric, name) for name in evaluate_on)]
    for run in runs:
        errors[run.name].append([run.means.get(column, math.nan) for column in columns])
    grids = [data.spec.grid_shape, *(further.spec.grid_shape for further in evaluate_on.values())]
    here = " x ".join(map(str, grids[0]))
    names = [here if here not in evaluate_on else f"{here} (test)", *evaluate_on]
    stacked = {name: np.array(values) for name, values in errors.items()}
    return transfer_figure(stacked, names, sizes=[max(grid) for grid in grids], metric=metric)


def _reconstructions(runs: Sequence[TrainedRun], data: DataModule, objective: Objective) -> Figure:
    samples: Any = data.test
    volume = int(samples[0]["volume"])
    slices = [i for i in range(len(samples)) if int(samples[i]["volume"]) == volume]
    batch = default_collate([samples[slices[len(slices) // 2]]])
    target = batch["target"][0].abs()
    images, scores = {}, {}
    for run in _first_runs(runs):
        image = _predict(run.model, objective, batch)[0].abs()
        images[run.name] = image.numpy()
        pieces = image_statistics(image[None], target[None], batch["max"])
        values = volume_metrics(pieces, batch["volume"])
        scores[run.name] = {name: float(values[name][0]) for name in ("nmse", "psnr", "ssim")}
    return reconstruction_figure(
        target.numpy(), images, scores=scores, mask=batch["mask"][0].numpy()
    )


@torch.no_grad()
def _predict(model: nn.Module, objective: Objective, batch: dict[str, Tensor]) -> Tensor:
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    batch = {name: value.to(device) for name, value in batch.items()}
    return objective.predict(model.eval(), batch).cpu()


def _curves(
    runs: Sequence[TrainedRun], column: str
) -> dict[str, list[tuple[list[float], list[float]]]]:
    curves: dict[str, list[tuple[list[float], list[float]]]] = defaultdict(list)
    for run in runs:
        rows = [row for row in run.progress.history if column in row]
        if rows:
            curves[run.name].append(([r["epoch"] for r in rows], [r[column] for r in rows]))
    return dict(curves)


def _first_runs(runs: Sequence[TrainedRun]) -> list[TrainedRun]:
    """Return one run per network, in order."""
    return list({run.name: run for run in reversed(runs)}.values())[::-1]


def _first_transform(model: nn.Module) -> tuple[str, LearnableTransform] | None:
    for name, module in model.named_modules():
        if isinstance(module, LearnableTransform):
            return name, module
    return None


def _slug(name: str) -> str:
    return "".join(c.lower() if c.isalnum() else "-" for c in name).strip("-")


_CAPTIONS = {
    "boundary": "Error against the distance from the boundary, mean over the test set, every seed.",
    "cost": "Test error against the number of parameters and the time per epoch.",
    "fourier-bands": "Fourier RMSE in PDEBench's three bands, mean over the test set, every seed.",
    "metrics": "Every reported metric: mean over the test set and the seeds.",
    "samples": "The first test samples (first seed): input, truth, predictions, errors.",
    "spectrum": "Energy spectra of truth and predictions, mean over the test set, every seed.",
    "transfer": "Error on other data sets, such as other resolutions, without retraining.",
    "rollout": "Roll-out of the first test trajectory (first seed): fields and errors; time since "
    "the last frame given.",
    "error-over-time": "Error against time, mean over the test set, every seed.",
    "reconstructions": "Middle slice of the first test volume (first seed), zoom and errors.",
    "training": "Validation error during training, every seed.",
}


def caption(figure: str) -> str:
    """Return the caption of a figure."""
    learned = "The first learned transform of each network against its initialisation"
    name = figure.removeprefix("transform-")
    return _CAPTIONS.get(figure, f"{learned}: {name}.")
