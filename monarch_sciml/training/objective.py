"""The interface of objectives, and the objectives for roll-outs of fields.

Letters: B batch, T_in and T_out steps, C fields, *grid spatial axes, N samples, V units (volumes).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_number, usage_errors
from monarch_sciml.metrics.fields import relative_l2_over_time
from monarch_sciml.metrics.named import FIELD_METRICS, FieldMetric, field_metrics

Batch = Mapping[str, Tensor]
"""A dict of samples stacked along a leading batch axis."""


class Objective(ABC):
    """Base class of objectives: a loss to train with, and metrics that several processes can share.

    `evaluate` returns quantities of each sample; the loop gathers the rows of all processes, and
    `reduce` turns them into metrics of each unit over which the final mean is taken (a trajectory,
    or a volume of many slices). The numbers therefore do not depend on batch size or number of
    processes.

    Attributes
    ----------
    monitor
        Metric that chooses the best checkpoint.
    mode
        Whether the best is the smallest ("min") or the largest ("max").
    """

    monitor: ClassVar[str]
    mode: ClassVar[Literal["min", "max"]] = "min"

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, a real scalar: a mean over its samples."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the prediction for `batch["target"]`, of its shape."""

    @abstractmethod
    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return quantities of each sample, each (B,)."""

    def reduce(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Turn the quantities of all samples (N,) into metrics of all units (V,), by default
        unchanged.
        """
        return dict(rows)

    def settings(self) -> dict[str, Any]:
        """Return class name and plain attributes, which must agree when a run is resumed."""
        plain = {k: v for k, v in vars(self).items() if isinstance(v, str | int | float | bool)}
        return {"objective": type(self).__name__, **{f"objective.{k}": plain[k] for k in plain}}


@dataclass(frozen=True)
class RolloutObjective(Objective):
    """Train and evaluate a network that predicts one step, or k at once, on roll-outs of itself.

    The network sees the last T_in steps as channels, its prediction is appended, the window moves
    on. With k = T_out all frames are predicted at once without feedback, as in the FNO paper's 3-D
    protocol. The loss is that of the FNO paper's 2-D code,

        sum_t ||u_t - v_t||_2 / ||v_t||_2, averaged over the batch,

    with norms over fields and grid; the gradient runs through the whole roll-out. The metrics are
    computed over the whole roll-out.

    Batches hold `input` (B, T_in, C, *grid) and `target` (B, T_out, C, *grid). Fields that are
    known beforehand and not predicted are `input_only` (B, G, *grid), given to every step, and
    `forcing` (B, T_out + 1, G', *grid), which vary in time: a step sees their values at the last
    frame before it and at the frame that it predicts. With T_out = 1 nothing is fed back and the
    fields of `target` may differ from those of `input` (Darcy).

    Attributes
    ----------
    metrics
        Names of the metrics to report, from `monarch_sciml.metrics.FIELD_METRICS`. `relative_l2`
        (norms over steps, fields and grid) chooses the best checkpoint and is always reported
        first. They may be changed when a run is resumed or evaluated again.

    References
    ----------
    Li et al., "Fourier Neural Operator for Parametric PDEs", ICLR 2021, section 5.3. The authors
    sum over the batch instead of averaging, which does not affect Adam (except for its epsilon and
    coupled weight decay).
    """

    monitor: ClassVar[str] = "relative_l2"

    metrics: tuple[FieldMetric, ...] = field(default=("relative_l2", "nrmse"), kw_only=True)

    @usage_errors()
    def __post_init__(self) -> None:
        for name in self.metrics:
            one_of("metrics", name, FIELD_METRICS)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum over steps of relative L2 errors, averaged over the batch."""
        return _summed_steps(self.predict(model, batch), batch["target"])

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the roll-out (B, T_out, C, *grid); channels of the network are steps-major.

        The network returns (B, k C, *grid), k steps at once, with k a divisor of T_out.

        Raises
        ------
        ValueError
            When the network's output does not fit the target, when there is more than one step and
            the fields of input and target differ, or when a network predicts several steps at once
            although known fields vary in time.
        """
        target = batch["target"]
        n_steps, n_fields = target.shape[1], target.shape[2]
        _check_feedback(batch["input"], target)
        window = batch["input"].flatten(1, 2)  # (B, T_in C, *grid)
        n_seen = window.shape[1]
        chunks: list[Tensor] = []
        while (step := sum(chunk.shape[1] for chunk in chunks)) < n_steps:
            chunk = model(torch.cat([window, *_known(batch, step)], dim=1))  # (B, k C, *grid)
            _check_chunk(chunk, target)
            if "forcing" in batch and chunk.shape[1] != n_fields:
                rule = "a network must predict one step at a time where `input_only` fields vary in"
                remedy = "Take another network, or fields that are the same in every frame."
                got = f"{chunk.shape[1] // n_fields} steps at once"
                raise ValueError(message(f"{rule} time", got, remedy))
            chunks.append(chunk.unflatten(1, (-1, n_fields)))
            if n_steps > 1:
                window = torch.cat([window, chunk], dim=1)[:, -n_seen:]
        return torch.cat(chunks, dim=1)

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the metrics of each whole roll-out, by `metrics.named.field_metrics`.

        The metrics of a prediction that is not finite are not finite. If a field of the target is
        zero everywhere at some time, `nrmse` is not finite either.

        Raises
        ------
        ValueError
            When the whole target of a sample is zero.
        """
        prediction, target = self.predict(model, batch), batch["target"]
        return field_metrics(prediction, target, dict.fromkeys((self.monitor, *self.metrics)))


@dataclass(frozen=True)
class OneStepObjective(RolloutObjective):
    """Train on single steps from the true history, with noisy input; evaluate on roll-outs.

    All T_out steps of a sample are learned at once, each from the T_in true steps before it
    (teacher forcing), so a batch is one call of the network on B T_out windows. The loss is the sum
    over steps of the relative L2 error, averaged over the batch, which is that of
    `RolloutObjective` without feedback.

    Attributes
    ----------
    noise
        Standard deviation of Gaussian noise added to the input, in units of the root mean square of
        each field in each window (dimensionless). It teaches the network to correct its own errors.

    Notes
    -----
    The noise comes from torch's default generator, which the training loop seeds for every epoch.

    References
    ----------
    Tran et al., "Factorized Fourier Neural Operators", ICLR 2023, section 3 (one-step training with
    noise); they add noise of a fixed size to normalised fields.
    """

    noise: float = 0.0

    @usage_errors()
    def __post_init__(self) -> None:
        super().__post_init__()
        positive_number("noise", self.noise, or_zero=True)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum over steps of one-step relative L2 errors, averaged over the batch."""
        past, target = batch["input"], batch["target"]
        _check_feedback(past, target)
        n_in, n_out = past.shape[1], target.shape[1]
        known = torch.cat([past, target[:, :-1]], dim=1) if n_out > 1 else past
        # (B, T_in + T_out - 1, C, *grid) -> (B, T_out, C, *grid, T_in) -> (B T_out, T_in, C, *grid)
        windows = known.unfold(1, n_in, 1).movedim(-1, 2).flatten(0, 1)
        if self.noise:
            axes = (1, *range(3, windows.ndim))
            size = windows.square().mean(dim=axes, keepdim=True).sqrt()  # (B T_out, 1, C, 1...)
            windows = windows + self.noise * size * torch.randn_like(windows)
        seen = windows.flatten(1, 2)  # (B T_out, T_in C, *grid)
        beside = [torch.cat(fields, dim=1) for n in range(n_out) if (fields := _known(batch, n))]
        if beside:  # T_out of (B, G, *grid) -> (B T_out, G, *grid)
            seen = torch.cat([seen, torch.stack(beside, dim=1).flatten(0, 1)], dim=1)
        steps = model(seen)  # (B T_out, C, *grid)
        if steps.shape[1] != target.shape[2]:
            rule = f"the network must return one step of {target.shape[2]} channels"
            remedy = "Set its out_channels to that, or train it with RolloutObjective."
            raise ValueError(message(rule, steps.shape[1], remedy))
        return _summed_steps(steps.unflatten(0, (-1, n_out)), target)


def _known(batch: Batch, step: int) -> list[Tensor]:
    """Return the channels (B, G, *grid) that are known beforehand in a step, counted from 0."""
    known = [batch["input_only"]] if "input_only" in batch else []
    if "forcing" in batch:  # at the last frame before the step, and at its own
        known += [batch["forcing"][:, step], batch["forcing"][:, step + 1]]
    return known


def _summed_steps(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum the relative L2 errors of (B, T, C, *grid) over T and average them over B."""
    return relative_l2_over_time(prediction, target, check=False).sum(dim=1).mean()


def _check_feedback(past: Tensor, target: Tensor) -> None:
    if target.shape[1] > 1 and past.shape[2] != target.shape[2]:
        rule = "fields of input and target must agree when there is more than one step"
        got = f"{past.shape[2]} and {target.shape[2]}"
        raise ValueError(message(rule, got, "Ask the data set for one output step."))


def _check_chunk(chunk: Tensor, target: Tensor) -> None:
    """Refuse an output (B, k C, *grid) unless the number of steps T_out is a multiple of k."""
    n_steps, n_fields = target.shape[1], target.shape[2]
    if chunk[:, :n_fields].shape != target[:, 0].shape or chunk.shape[1] % n_fields:
        rule = f"the network must return {tuple(target[:, 0].shape)}"
        remedy = "Set the network's out_channels to the number of fields, or to k times that."
        raise ValueError(message(rule, tuple(chunk.shape), remedy))
    n_at_once = chunk.shape[1] // n_fields
    if n_steps % n_at_once:
        rule = f"the steps a network returns at once must divide the roll-out of {n_steps} steps"
        raise ValueError(message(rule, n_at_once, "Change out_channels, or n_steps_out."))
