"""The figures of predicted fields, chosen by the specification of the data."""

# letters: B samples, T times, C fields, *grid; k wavenumbers, d distances

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from monarch_sciml.commands.comparison.trained_run import TrainedRun
from monarch_sciml.data.spec import DataModule, FieldSpec
from monarch_sciml.evaluation import (
    bands_figure,
    boundary_figure,
    error_over_time_figure,
    lines_figure,
    pair_figure,
    rollout_figure,
    spacetime_figure,
    spectrum_figure,
)
from monarch_sciml.metrics import (
    boundary_profile,
    energy_spectrum,
    fourier_rmse,
    relative_l2_over_time,
)
from monarch_sciml.metrics.spectrum import band_sizes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_SHOWN = 4
"""Samples that are drawn."""

Predict = Callable[[TrainedRun, dict[str, Tensor]], Tensor]


def field_figures(
    runs: Sequence[TrainedRun], data: DataModule, predict: Predict, *, batch_size: int
) -> dict[str, Figure]:
    """Return the figures of the fields that networks predict, by file name.

    Fields show the first run of each network, errors and spectra every seed. A roll-out is drawn
    as images (x to the right, y upwards; a middle slice of three dimensions), in one dimension as
    space-time images; what is one step, as the samples themselves. The error against the distance
    from the boundary is drawn where there is one.
    """
    spec = data.spec
    if not isinstance(spec, FieldSpec) or not runs:
        return {}
    seen = _Seen(spec)
    for run in runs:
        batches = DataLoader(data.test, batch_size=batch_size)
        seen.take(run.name, ((batch, predict(run, batch)) for batch in batches))
    figures = seen.errors()
    figures.update(seen.rollouts() if spec.n_steps_out > 1 else seen.pairs())
    return figures


@dataclass
class _Seen:
    """Means over the samples of all predictions, and their first samples."""

    spec: FieldSpec
    curves: dict[str, dict[str, list[Tensor]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    truth: Tensor = field(default_factory=lambda: torch.empty(0))
    inputs: Tensor = field(default_factory=lambda: torch.empty(0))
    spectrum: Tensor = field(default_factory=lambda: torch.empty(0))
    samples: dict[str, Tensor] = field(default_factory=dict)

    @property
    def walls(self) -> tuple[int, ...]:
        """Axes that end in a boundary."""
        kinds = enumerate(self.spec.boundary)
        return tuple(axis for axis, kind in kinds if kind not in ("periodic", "unknown"))

    def take(self, name: str, pairs: Iterable[tuple[dict[str, Tensor], Tensor]]) -> None:
        """Keep what the figures need of the predictions of one run."""
        found: dict[str, list[Tensor]] = defaultdict(list)
        for index, (batch, prediction) in enumerate(pairs):
            target = batch["target"]
            if index == 0:
                self.samples.setdefault(name, prediction[:N_SHOWN])
                self.truth, self.inputs = target[:N_SHOWN], batch["input"][:N_SHOWN]
            error = relative_l2_over_time(prediction, target, check=False)
            found["time"].append(error)
            found["bands"].append(fourier_rmse(prediction, target))
            found["spectrum"].append(self._spectrum(prediction))
            found["truth"].append(self._spectrum(target))
            if self.walls:
                found["wall"].append(boundary_profile(prediction, target, axes=self.walls))
        for what, values in found.items():
            mean = torch.cat(values).double().mean(dim=0)  # over B
            if what == "truth":
                self.spectrum = mean
            else:
                self.curves[what][name].append(mean)

    def _spectrum(self, fields: Tensor) -> Tensor:
        """Return the energy (B, k) of all fields at the last time, up to the Nyquist wavenumber."""
        extent = self.spec.domain_extent
        last = energy_spectrum(fields[:, -1:], domain_extent=extent)  # (B, 1, C, k)
        axes = zip(self.spec.grid_shape, extent)
        waves = [n // 2 * max(extent) / size for n, size in axes if n > 1]
        return last.sum(dim=(1, 2))[:, : int(min(waves, default=0)) + 1]

    def _stacked(self, what: str) -> dict[str, np.ndarray]:
        return {name: torch.stack(runs).numpy() for name, runs in self.curves[what].items()}

    def errors(self) -> dict[str, Figure]:
        """Return the figures of the errors by wavenumber and by distance from the boundary."""
        figures = {}
        if len(self.spectrum) > 2:
            figures["spectrum"] = spectrum_figure(
                self.spectrum.numpy(), self._stacked("spectrum"), title=self._spectrum_title
            )
            kept = [size > 0 for size in band_sizes(self.spec.grid_shape)]
            bands = {name: values[:, kept] for name, values in self._stacked("bands").items()}
            figures["fourier-bands"] = bands_figure(bands)
        if self.walls:
            figures["boundary"] = boundary_figure(self._stacked("wall"))
        return figures

    @property
    def _spectrum_title(self) -> str:
        at = " at the last time" if self.spec.n_steps_out > 1 else ""
        return f"Energy spectrum{at}, mean over the test set"

    def rollouts(self) -> dict[str, Figure]:
        """Return the error against time, and the roll-out of the first sample.

        Time counts from the last frame given: a specification does not say when a sample begins.
        """
        spec = self.spec
        times = [(spec.dt or 1.0) * (step + 1) for step in range(spec.n_steps_out)]
        unit = "frames" if spec.dt is None else "dimensionless"
        figures = {
            "error-over-time": error_over_time_figure(
                self._stacked("time"), times, time_label=f"time since the last frame given ({unit})"
            )
        }
        truth = self._shown(self.truth)[0]
        fields = {name: self._shown(value)[0] for name, value in self.samples.items()}
        name = self._field_name
        if len(spec.grid_shape) == 1:
            length = spec.domain_extent[0]
            figures["rollout"] = spacetime_figure(truth, fields, times, length=length, field=name)
        else:
            figures["rollout"] = rollout_figure(truth, fields, times, field=name)
        return figures

    def pairs(self) -> dict[str, Figure]:
        """Return the first samples of a problem of one step."""
        given = self._shown(self.inputs)[:, -1]
        truth = self._shown(self.truth)[:, 0]
        fields = {name: self._shown(value)[:, 0] for name, value in self.samples.items()}
        names = ("input", self._field_name)
        if len(self.spec.grid_shape) == 1:
            length = self.spec.domain_extent[0]
            return {"samples": lines_figure(given, truth, fields, length=length, fields=names)}
        return {"samples": pair_figure(given, truth, fields, fields=names)}

    @property
    def _field_name(self) -> str:
        """The first field, and how it is shown."""
        name = self.spec.fields[0]
        name = f"|{name}|" if self.truth.is_complex() else name
        return f"{name}, middle slice" if len(self.spec.grid_shape) > 2 else name

    def _shown(self, values: Tensor) -> np.ndarray:
        """Return the first field (B, T, ...) in at most two dimensions; complex: its magnitude."""
        first = values[:, :, 0]  # (B, T, C, *grid) -> (B, T, *grid)
        while first.ndim > 4:
            first = first[..., first.shape[-1] // 2]
        if first.ndim == 4:  # (B, T, x, y) -> the rows of an image, from the top: (B, T, -y, x)
            first = first.mT.flip(-2)
        return (first.abs() if first.is_complex() else first).numpy()
