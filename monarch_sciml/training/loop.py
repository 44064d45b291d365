"""The training loop: one for every network, every objective and any number of processes."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from tqdm.auto import tqdm

from monarch_sciml.training.checkpoint import (
    find_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
)
from monarch_sciml.training.divergence import check_losses, check_weights
from monarch_sciml.training.evaluate import evaluate_model, mean_metrics
from monarch_sciml.training.lock import from_main_process, is_finished, run_lock
from monarch_sciml.training.loggers import CSVLogger, Logger, TensorBoardLogger
from monarch_sciml.training.objective import Batch, Objective
from monarch_sciml.training.optimisation import Optimisation
from monarch_sciml.training.records import (
    Budget,
    Progress,
    TrainingData,
    TrainingResult,
    check_output,
    check_settings,
)
from monarch_sciml.training.runtime import (
    make_accelerator,
    n_samples_of,
    seed_epoch,
    training_loader,
)

LOSS_CHECK_EVERY = 16
"""Steps between two looks at the loss; each look makes the CPU wait for the GPU."""


def train(
    model: nn.Module,
    objective: Objective,
    data: TrainingData,
    *,
    optimisation: Optimisation,
    budget: Budget,
    output: str | Path,
    seed: int = 0,
    resume: bool = False,
    mixed_precision: Literal["no", "bf16", "fp16"] = "no",
    tensorboard: bool = False,
    progress: bool = True,
    num_workers: int = 0,
) -> TrainingResult:
    """Train a model and keep its last and its best checkpoint.

    The run directory gets `metrics.csv` (one row an epoch) and `checkpoints/last` and
    `checkpoints/best`, written at the end of every epoch; the best is the one with the best
    monitored metric on the validation data, or the last where there are none. A model without
    trainable parameters comes back at once, after 0 epochs, with its (fixed) weights saved.

    Parameters
    ----------
    model
        The network; trained in place, moved to the GPU where there is one.
    objective
        Loss, metrics, and which metric chooses the best checkpoint.
    data
        Anything with `train` and `validation` data sets of dict samples.
    optimisation
        Optimiser, parameter groups, schedule and clipping.
    budget
        Epochs and batch size.
    output
        The run directory; it is made.
    seed
        Seed of the order of samples and of all randomness in training (initial weights are the
        caller's).
    resume
        Whether to go on from `checkpoints/last` where there is one. Epochs share no randomness, so
        a run that was killed and resumed ends in the same bits as one that was not (on a GPU: as
        far as its kernels are deterministic).
    mixed_precision
        "no", "bf16" or "fp16".
    tensorboard
        Whether to write TensorBoard curves to `tensorboard/` too.
    progress
        Whether to show a progress bar with loss and remaining time.
    num_workers
        Processes that load data.

    Returns
    -------
    Epochs done, history and paths.

    Raises
    ------
    FileExistsError
        When `output` holds a run that has finished an epoch, and `resume` is false.
    ValueError
        When a run is resumed with other settings, or a data set is empty.
    TrainingDiverged
        When the loss or a weight becomes NaN or infinite.
    RunBusy
        When another process trains in `output`. Nothing is touched.

    Examples
    --------
    >>> import tempfile, types
    >>> from monarch_sciml.training import RolloutObjective
    >>> fields = torch.randn(8, 2, 1, 16)  # trajectories, steps, fields, grid
    >>> samples = [{"input": u, "target": 0.5 * u[-1:]} for u in fields]
    >>> data = types.SimpleNamespace(train=samples[:6], validation=samples[6:])
    >>> result = train(
    ...     nn.Conv1d(2, 1, 1),
    ...     RolloutObjective(),
    ...     data,
    ...     optimisation=Optimisation(learning_rate=0.1),
    ...     budget=Budget(epochs=20, batch_size=2),
    ...     output=tempfile.mkdtemp(),
    ...     progress=False,
    ... )
    >>> result.progress.history[-1]["validation_relative_l2"] < 0.1
    True
    """
    result = TrainingResult(Path(output), Progress())
    check_output(result, resume=resume)
    learns = any(parameter.requires_grad for parameter in model.parameters())
    with ExitStack() as stack:
        done = from_main_process(resume and learns and is_finished(result.last, budget.epochs))
        if not done:  # a finished run is only read
            stack.enter_context(run_lock(result.output))
            check_output(result, resume=resume)  # another process may have made one meanwhile
        accelerator = make_accelerator(mixed_precision)
        begun = resume and find_checkpoint(result.last) is not None
        accelerator.wait_for_everyone()  # nobody writes before everybody has looked
        if not learns:
            if accelerator.is_main_process:  # saved all the same, to be evaluated as any other
                save_checkpoint(result.best, model)
                save_checkpoint(result.last, model)
            accelerator.wait_for_everyone()
            return result
        run = _Run(
            model,
            objective,
            data,
            optimisation=optimisation,
            budget=budget,
            result=result,
            seed=seed,
            accelerator=accelerator,
            num_workers=num_workers,
        )
        try:
            if begun:
                run.restore()
            else:
                run.save(best=False)
            if not done:
                run.fit(progress=progress, tensorboard=tensorboard)
        finally:
            accelerator.unwrap_model(run.model, keep_fp32_wrapper=False)
    return result


class _Run:
    """One run: the prepared parts, and how far it has come."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        data: TrainingData,
        *,
        optimisation: Optimisation,
        budget: Budget,
        result: TrainingResult,
        seed: int,
        accelerator: Accelerator,
        num_workers: int,
    ) -> None:
        self.objective, self.validation = objective, data.validation
        self.optimisation, self.budget, self.seed = optimisation, budget, seed
        self.result, self.progress = result, result.progress
        self.accelerator, self.num_workers = accelerator, num_workers
        n_samples = n_samples_of(data.train)
        if self.validation is not None:
            n_samples_of(self.validation)
        self.settings = {
            **{f"optimisation.{name}": value for name, value in asdict(optimisation).items()},
            **objective.settings(),
            "budget.batch_size": budget.batch_size,
            "mixed_precision": accelerator.mixed_precision,
            "n_samples": n_samples,
            "seed": seed,
        }
        if optimisation.scheduler == "cosine":
            self.settings["budget.epochs"] = budget.epochs
        self.loader = training_loader(
            data.train,
            batch_size=budget.batch_size,
            seed=seed,
            accelerator=accelerator,
            num_workers=num_workers,
        )
        optimizer = optimisation.build_optimizer(model)
        self.scheduler = optimisation.build_scheduler(
            optimizer, steps_per_epoch=len(self.loader), epochs=budget.epochs
        )  # not prepared: accelerate would step it once per process
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    @property
    def network(self) -> nn.Module:
        """The model without the wrapper that shares gradients."""
        return self.accelerator.unwrap_model(self.model)

    def restore(self) -> None:
        """Go on from the last checkpoint."""
        state = load_state(self.result.last)
        check_settings(state["settings"], self.settings)
        load_weights(self.network, self.result.last)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        vars(self.progress).update(state["progress"])

    def save(self, *, best: bool) -> None:
        """Write the checkpoints; a kill in between costs at most this epoch."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "settings": self.settings,
                "progress": vars(self.progress),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
            }
            if best:
                save_checkpoint(self.result.best, self.network)
            save_checkpoint(self.result.last, self.network, state)
        self.accelerator.wait_for_everyone()

    def fit(self, *, progress: bool, tensorboard: bool) -> None:
        """Train the epochs that are left."""
        start = time.perf_counter() - self.progress.seconds
        loggers = self._loggers(tensorboard=tensorboard)
        bar = tqdm(
            total=self.budget.epochs * len(self.loader),
            initial=self.progress.step,
            disable=not (progress and self.accelerator.is_main_process),
            unit="step",
            dynamic_ncols=True,
        )
        with ExitStack() as stack:
            for resource in (*loggers, bar):
                stack.callback(resource.close)
            while self.progress.epoch < self.budget.epochs:
                row, best = self._epoch(bar)
                self.progress.seconds = row["seconds"] = time.perf_counter() - start
                self.progress.history.append(row)
                self.save(best=best)
                for logger in loggers:
                    logger.log(row)

    def _loggers(self, *, tensorboard: bool) -> list[Logger]:
        if not self.accelerator.is_main_process:
            return []
        loggers: list[Logger] = [CSVLogger(self.result.metrics, self.progress.history)]
        if tensorboard:
            folder = self.result.output / "tensorboard"
            loggers.append(TensorBoardLogger(folder, first_epoch=self.progress.epoch + 1))
        return loggers

    def _epoch(self, bar: Any) -> tuple[dict[str, float], bool]:
        """Train and evaluate one epoch; return its row and whether it is the best so far."""
        seed_epoch(self.seed, self.progress.epoch, self.accelerator.process_index)
        self.loader.set_epoch(self.progress.epoch)
        rates = {f"learning_rate_{g['name']}": g["lr"] for g in self.optimizer.param_groups}
        bar.set_description(f"epoch {self.progress.epoch + 1}/{self.budget.epochs}")
        loss = self._steps(bar)
        for buffer in self.network.buffers():
            broadcast(buffer)  # running means: evaluate what process 0 saves
        # the loss of the last step cannot show what that step did to the weights
        check_weights(self.network, step=self.progress.step, epoch=self.progress.epoch + 1)
        self.progress.epoch += 1
        row = {
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "seconds": 0.0,
            "train_loss": loss,
            **rates,
        }
        return row, self._validate(row)

    def _steps(self, bar: Any) -> float:
        """Take the optimiser steps of one epoch; return the mean loss over samples."""
        self.model.train()
        total, count = 0.0, 0
        losses: list[Tensor] = []
        sizes: list[int] = []
        for index, batch in enumerate(self.loader, start=1):
            losses.append(self._step(batch))
            sizes.append(len(next(iter(batch.values()))))
            if len(losses) == LOSS_CHECK_EVERY or index == len(self.loader):
                values = self._shared(torch.stack(losses))
                step = self.progress.step - len(losses) + 1
                check_losses(values, first_step=step, epoch=self.progress.epoch + 1)
                total += float(values @ torch.tensor(sizes, dtype=torch.float64))
                count += sum(sizes)
                bar.update(len(losses))
                bar.set_postfix(loss=f"{values[-1]:.3g}", refresh=False)
                losses, sizes = [], []
        return total / count

    def _step(self, batch: Batch) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.objective.loss(self.model, batch)
        self.accelerator.backward(loss)
        if self.optimisation.gradient_clip is not None:
            clip = self.optimisation.gradient_clip
            self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 skips steps that overflow
            self.scheduler.step()
        self.progress.step += 1
        return loss.detach()

    def _shared(self, losses: Tensor) -> Tensor:
        """Return the losses averaged over processes, on the CPU."""
        mean = cast(Tensor, self.accelerator.reduce(losses, "mean"))
        return mean.double().cpu()

    def _validate(self, row: dict[str, float]) -> bool:
        """Add validation metrics to the row when they are due; return whether it is the best."""
        due = row["epoch"] % self.budget.evaluate_every == 0 or row["epoch"] == self.budget.epochs
        value = math.nan
        if self.validation is not None:
            if not due:
                return False
            metrics = evaluate_model(
                self.model,
                self.objective,
                self.validation,
                batch_size=self.budget.batch_size // self.accelerator.num_processes,
                accelerator=self.accelerator,
                num_workers=self.num_workers,
            )
            means = mean_metrics(metrics)
            row.update({f"validation_{name}": mean for name, mean in means.items()})
            value = means[self.objective.monitor]
            old = self.progress.best_value
            better = value < old if self.objective.mode == "min" else value > old
            better = better or (math.isnan(old) and not math.isnan(value))
            if self.progress.best_epoch and not better:
                return False
        self.progress.best_epoch, self.progress.best_value = self.progress.epoch, value
        return True
