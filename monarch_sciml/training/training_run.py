"""One run of the training loop: the prepared parts, its epochs and their steps."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm.auto import tqdm

from monarch_sciml._checks import UsageError, message
from monarch_sciml._signals import check_stopped, deferred
from monarch_sciml.layers import StructuredLinear
from monarch_sciml.models import densify
from monarch_sciml.training.checkpoint import (
    load_state,
    load_weights,
    replace_damaged,
    save_checkpoint,
    usable_checkpoint,
)
from monarch_sciml.training.determinism import deterministic_algorithms
from monarch_sciml.training.divergence import check_losses, check_weights
from monarch_sciml.training.evaluate import evaluate_model, mean_metrics
from monarch_sciml.training.fingerprint import data_fingerprint
from monarch_sciml.training.loading import n_samples_of, training_loader
from monarch_sciml.training.loggers import CSVLogger, Logger, TrackerLogger
from monarch_sciml.training.memory import (
    ShardedAdam,
    parts_of,
    recomputed_activations,
    whole_state,
)
from monarch_sciml.training.objective import Batch, Objective
from monarch_sciml.training.optimisation import Optimisation
from monarch_sciml.training.processes import all_processes, from_main_process, seed_epoch
from monarch_sciml.training.records import (
    DATA,
    Budget,
    LoopOptions,
    TrainingData,
    TrainingResult,
    check_settings,
    run_settings,
)
from monarch_sciml.training.structure import add_guides, rebuilt, remove_guides, set_guides

LOSS_CHECK_EVERY = 16
"""Steps between two looks at the loss; each look makes the CPU wait for the GPU."""


class TrainingRun:
    """One run with its prepared parts and its progress."""

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
        options: LoopOptions,
    ) -> None:
        self.objective, self.validation = objective, data.validation
        self.optimisation, self.budget, self.seed = optimisation, budget, seed
        self.result, self.progress = result, result.progress
        self.accelerator, self.options = accelerator, options
        structured = any(isinstance(m, StructuredLinear) for m in model.modules())
        for name in ("densify_at", "guided_until"):
            if getattr(optimisation, name) is not None and not structured:
                rule = f"`{name}` needs a network with structured linear layers"
                remedy = f"Use StructuredNetwork or monarchize, or leave `{name}` out."
                raise UsageError(message(rule, f"{type(model).__name__} without any", remedy))
            if getattr(optimisation, name) is not None and options.shard_optimizer:
                rule = f"`{name}` needs the whole state of the optimiser in every process"
                raise UsageError(message(rule, "`shard_optimizer`", "Leave one of them out."))
        if optimisation.guided_until is not None:
            add_guides(model)
        n_samples = n_samples_of(data.train)
        if self.validation is not None:
            n_samples_of(self.validation)
        self.settings = {
            **run_settings(optimisation, objective, budget),
            "mixed_precision": accelerator.mixed_precision,
            "n_samples": n_samples,
            "seed": seed,
            DATA: from_main_process(data_fingerprint(data) if accelerator.is_main_process else ""),
        }
        self.loader, self.batches = training_loader(
            data.train,
            batch_size=budget.batch_size,
            seed=seed,
            accelerator=accelerator,
            num_workers=options.num_workers,
        )
        optimizer = self._optimizer(model)
        self.scheduler = optimisation.build_scheduler(optimizer, **self._length)
        self._prepare(model, optimizer)

    @property
    def _length(self) -> dict[str, int]:
        """Return the number of steps of the whole run, for its schedule."""
        return {"steps_per_epoch": len(self.loader), "epochs": self.budget.epochs}

    def _optimizer(self, model: nn.Module) -> Optimizer:
        """Return the optimiser, its state divided among the processes if that is asked for."""
        if self.options.shard_optimizer and self.accelerator.num_processes > 1:
            return ShardedAdam(self.optimisation.parameter_groups(model))
        return self.optimisation.build_optimizer(model)

    def _prepare(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Prepare model and optimiser by accelerate, replacing earlier ones.

        The schedule is not prepared, because accelerate would step it once per process.
        """
        self.accelerator._models.clear()
        self.accelerator._optimizers.clear()
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    def _restructure(self) -> None:
        """Change the structured layers as the schedule requires at this step.

        The share of guides falls with every step, and guides are removed at `guided_until`; the
        best epoch is one after that. At `densify_at` the layers are multiplied out together with
        the moments of the optimiser. Both happen before the last step at the latest, however short
        the training is.
        """
        last = self._length["steps_per_epoch"] * self.budget.epochs - 1
        guided, dense = (
            None if share is None else min(round(share * (last + 1)), last)
            for share in (self.optimisation.guided_until, self.optimisation.densify_at)
        )
        step, network = self.progress.step, self.network
        if guided is not None and step < guided:
            set_guides(network, step / guided)
        if step not in (guided, dense):
            return
        optimizer = self.optimizer.optimizer
        if step == guided:
            remove_guides(network)
            self.progress.forget_best()  # the network with guides is not the one to be trained
        if step == dense:
            densify(network, inplace=True, optimizer=optimizer)
        optimizer, self.scheduler = rebuilt(
            network, optimizer, self.scheduler, optimisation=self.optimisation, **self._length
        )
        self._prepare(network, optimizer)
        self.model.train()

    @property
    def network(self) -> nn.Module:
        """The model without the wrapper that shares gradients."""
        return self.accelerator.unwrap_model(self.model)

    def restore(self) -> None:
        """Continue from the last checkpoint, or from the one before it if the last is damaged."""
        path, note = usable_checkpoint(self.result.last)
        state = load_state(path or self.result.last)
        check_settings(state["settings"], self.settings)
        network = self.network
        load_weights(network, path or self.result.last, adapt=True)
        self.accelerator.wait_for_everyone()
        if note:
            self.result.notes.append(note)
            if self.accelerator.is_main_process:
                replace_damaged(self.result.last)
        optimizer = self._optimizer(network)
        self.scheduler = self.optimisation.build_scheduler(optimizer, **self._length)
        self._prepare(network, optimizer)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        vars(self.progress).update(state["progress"])

    def save(self, *, best: bool) -> None:
        """Write the checkpoints; if the process is killed meanwhile, at most this epoch is lost."""
        optimizer = whole_state(self.optimizer)
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            state = {
                "settings": self.settings,
                "progress": vars(self.progress),
                "optimizer": optimizer,
                "scheduler": self.scheduler.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
            }
            if best:
                save_checkpoint(self.result.best, self.network)
            save_checkpoint(self.result.last, self.network, state)
        self.accelerator.wait_for_everyone()

    def fit(self) -> None:
        """Train the remaining epochs."""
        start = time.perf_counter() - self.progress.seconds
        bar = tqdm(
            total=self.budget.epochs * len(self.loader),
            initial=self.progress.step,
            disable=not (self.options.progress and self.accelerator.is_main_process),
            unit="step",
            dynamic_ncols=True,
        )
        with ExitStack() as stack:
            stack.callback(bar.close)
            stack.enter_context(deterministic_algorithms(on=self.options.deterministic))
            if self.options.activation_checkpointing:
                stack.enter_context(recomputed_activations(self.network))
            stack.enter_context(all_processes(self.progress))
            loggers = self._loggers(stack)
            while self.progress.epoch < self.budget.epochs:
                with deferred():
                    row, best = self._epoch(bar)
                self.progress.seconds = row["seconds"] = time.perf_counter() - start
                self.progress.history.append(row)
                self.save(best=best)
                for logger in loggers:
                    logger.log(row)

    def _loggers(self, stack: ExitStack) -> list[Logger]:
        """Start the loggers in the process that writes; the stack closes them."""
        if not self.accelerator.is_main_process:
            return []
        loggers: list[Logger] = [CSVLogger(self.result.metrics, self.progress.history)]
        for name in self.options.all_loggers:
            first = self.progress.epoch + 1
            logger = TrackerLogger(
                name, self.result.output, settings=self.settings, first_epoch=first
            )
            stack.callback(logger.close)
            loggers.append(logger)
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
        shares = self.batches.shares()
        for index, (batch, (own, everyone)) in enumerate(zip(self.loader, shares), start=1):
            check_stopped()
            losses.append(self._step(batch, own * self.accelerator.num_processes / everyone))
            sizes.append(everyone)
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

    def _step(self, batch: Batch, weight: float) -> Tensor:
        """Take one step; the mean over processes of the weighted losses is that over samples."""
        self._restructure()
        self.optimizer.zero_grad()
        loss = self._backward(batch, weight)
        if self.optimisation.gradient_clip is not None:
            clip = self.optimisation.gradient_clip
            self.accelerator.clip_grad_norm_(self.model.parameters(), clip)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 skips steps that overflow
            self.scheduler.step()
        self.progress.step += 1
        return loss

    def _backward(self, batch: Batch, weight: float) -> Tensor:
        """Add up the gradients of the parts of a batch; return its weighted loss."""
        parts = list(parts_of(batch, self.options.gradient_accumulation))
        losses: list[Tensor] = []
        for number, (part, share) in enumerate(parts, start=1):
            with ExitStack() as stack:
                if number < len(parts):  # the processes exchange gradients once
                    stack.enter_context(self.accelerator.no_sync(self.model))
                loss = self.objective.loss(self.model, part) * (share * weight)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _shared(self, losses: Tensor) -> Tensor:
        """Return the losses averaged over processes, on the CPU."""
        mean = cast(Tensor, self.accelerator.reduce(losses, "mean"))
        return mean.double().cpu()

    def _validate(self, row: dict[str, float]) -> bool:
        """Add validation metrics to the row when they are due; return whether it is the best."""
        due = row["epoch"] % self.budget.evaluate_every == 0 or row["epoch"] == self.budget.epochs
        if self.validation is None:
            return self.progress.note_best(math.nan)
        if not due:
            return False
        metrics = evaluate_model(
            self.model,
            self.objective,
            self.validation,
            batch_size=self.budget.batch_size // self.accelerator.num_processes,
            accelerator=self.accelerator,
            num_workers=self.options.num_workers,
        )
        means = mean_metrics(metrics)
        row.update({f"validation_{name}": mean for name, mean in means.items()})
        return self.progress.note_best(means[self.objective.monitor], mode=self.objective.mode)
