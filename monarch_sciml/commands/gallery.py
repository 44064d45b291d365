"""The figures of a comparison: what the networks predict, and what their transforms have
learned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from monarch_sciml.commands.runs import Run
from monarch_sciml.data.spec import DataModule, FieldSpec
from monarch_sciml.evaluation import (
    error_over_time_figure,
    reconstruction_figure,
    rollout_figure,
    training_figure,
    transform_figure,
)
from monarch_sciml.metrics.fields import relative_l2_over_time
from monarch_sciml.metrics.images import image_statistics, volume_metrics
from monarch_sciml.training import Objective
from monarch_sciml.transforms import LearnableTransform

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gallery(
    runs: Sequence[Run],
    data: DataModule,
    objective: Objective,
    *,
    batch_size: int,
    evaluate_on: Mapping[str, DataModule],
) -> dict[str, Figure]:
    """Return the figures of a comparison by file name.

    Roll-outs and reconstructions show the first run of each network on the first test sample (the
    middle slice of the first volume); errors over time and training curves show every seed.
    """
    fields = isinstance(data.spec, FieldSpec)
    figures: dict[str, Figure] = {}
    if fields:
        figures.update(_field_figures(runs, data, objective, batch_size))
    else:
        figures["reconstructions"] = _reconstructions(runs, data, objective)
    curves = _curves(runs, f"validation_{objective.monitor}")
    if curves:
        title = "Validation error during training"
        figures["training"] = training_figure(curves, title=title, metric=objective.monitor)
    for run in _first_runs(runs):
        named = _first_transform(run.model)
        if named is not None:
            title = f"{run.name}: {named[0]}"
            transform = named[1]
            first = transform.matrix().detach()
            learned = first[0] if first.ndim == 3 else first
            initial = transform.initial_matrix().detach()
            if transform.kind.synthesis:
                initial, learned = initial.mT, learned.mT
            figures[f"transform-{_slug(run.name)}"] = transform_figure(
                initial.cpu().numpy(), learned.cpu().numpy(), title
            )
    return figures


def _field_figures(
    runs: Sequence[Run], data: DataModule, objective: Objective, batch_size: int
) -> dict[str, Figure]:
    spec = data.spec
    if not isinstance(spec, FieldSpec) or spec.n_steps_out < 2:
        return {}
    dt = spec.dt or 1.0
    times = [dt * (spec.n_steps_in + step + 1) for step in range(spec.n_steps_out)]
    errors: dict[str, list[Tensor]] = defaultdict(list)
    samples: dict[str, Tensor] = {}
    target = torch.empty(0)
    for run in runs:
        parts = []
        for index, batch in enumerate(DataLoader(data.test, batch_size=batch_size)):
            prediction = _predict(run.model, objective, batch)
            parts.append(relative_l2_over_time(prediction, batch["target"]))
            if index == 0:
                samples.setdefault(run.name, prediction[0, :, 0])
                target = batch["target"][0, :, 0]
        errors[run.name].append(torch.cat(parts).mean(dim=0))
    stacked = {name: torch.stack(values).numpy() for name, values in errors.items()}
    figures = {"error-over-time": error_over_time_figure(stacked, times)}
    if len(spec.grid_shape) == 2:
        arrays = {name: sample.numpy() for name, sample in samples.items()}
        figures["rollout"] = rollout_figure(target.numpy(), arrays, times, field=spec.fields[0])
    return figures


def _reconstructions(runs: Sequence[Run], data: DataModule, objective: Objective) -> Figure:
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


def _curves(runs: Sequence[Run], column: str) -> dict[str, list[tuple[list[float], list[float]]]]:
    curves: dict[str, list[tuple[list[float], list[float]]]] = defaultdict(list)
    for run in runs:
        rows = [row for row in run.progress.history if column in row]
        if rows:
            curves[run.name].append(([r["epoch"] for r in rows], [r[column] for r in rows]))
    return dict(curves)


def _first_runs(runs: Sequence[Run]) -> list[Run]:
    """One run per network, in order."""
    return list({run.name: run for run in reversed(runs)}.values())[::-1]


def _first_transform(model: nn.Module) -> tuple[str, LearnableTransform] | None:
    for name, module in model.named_modules():
        if isinstance(module, LearnableTransform):
            return name, module
    return None


def _slug(name: str) -> str:
    return "".join(c.lower() if c.isalnum() else "-" for c in name).strip("-")


_CAPTIONS = {
    "rollout": "Roll-out of the first test trajectory (first seed): fields and errors.",
    "error-over-time": "Error against time, mean over the test set, every seed.",
    "reconstructions": "Middle slice of the first test volume (first seed), zoom and errors.",
    "training": "Validation error during training, every seed.",
}


def caption(figure: str) -> str:
    """Say what a figure shows."""
    learned = "The first learned transform of each network against its initialisation"
    name = figure.removeprefix("transform-")
    return _CAPTIONS.get(figure, f"{learned}: {name}.")
