"""The training loop for all networks and objectives and any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from torch import nn

from monarch_sciml.training.checkpoint import (
    find_checkpoint,
    recover_checkpoint,
    save_checkpoint,
)
from monarch_sciml.training.lock import is_finished, remove_lock, run_lock
from monarch_sciml.training.loggers import LoggerName, check_loggers
from monarch_sciml.training.objective import Objective
from monarch_sciml.training.optimisation import Optimisation
from monarch_sciml.training.processes import from_main_process, make_accelerator
from monarch_sciml.training.records import (
    Budget,
    LoopOptions,
    Progress,
    TrainingData,
    TrainingResult,
    check_output,
)
from monarch_sciml.training.training_run import TrainingRun


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
    gradient_accumulation: int = 1,
    activation_checkpointing: bool = False,
    shard_optimizer: bool = False,
    deterministic: bool = False,
    loggers: Sequence[LoggerName] = (),
    tensorboard: bool = False,
    progress: bool = True,
    num_workers: int = 0,
    started: Callable[[], None] | None = None,
) -> TrainingResult:
    """Train a model and keep its last and its best checkpoint.

    The run directory gets `metrics.csv` (one row an epoch) and `checkpoints/last` and
    `checkpoints/best`, written at the end of every epoch; the best has the best monitored metric on
    the validation data, or is the last if there are none. A model without trainable parameters is
    not trained (0 epochs), but its (fixed) weights are saved.

    Parameters
    ----------
    model
        The network, which is trained in place and moved to the GPU if there is one.
    objective
        Loss, metrics, and the metric that chooses the best checkpoint.
    data
        Object with data sets `train` and `validation` of dict samples.
    optimisation
        Optimiser, parameter groups, schedule and clipping.
    budget
        Epochs and batch size.
    output
        The run directory, which is made when missing.
    seed
        Seed of the order of samples and of all randomness in training (the caller draws the initial
        weights).
    resume
        Whether to continue from `checkpoints/last` if it exists. Epochs share no randomness, so a
        run that was killed and resumed ends with the same bits as one that was not (on a GPU only
        if its kernels are deterministic).
    mixed_precision
        "no", "bf16" or "fp16".
    gradient_accumulation
        Number of parts that a batch is computed in, one after the other, to save memory.
    activation_checkpointing
        Whether to keep the inputs of the blocks of the network only, and to compute the rest again
        for the gradient.
    shard_optimizer
        Whether the state of the optimiser is divided among the processes of the job.
    deterministic
        Whether to refuse operations without a deterministic algorithm
        (`torch.use_deterministic_algorithms`).
    loggers
        Experiment trackers to send every epoch to: "tensorboard", "wandb", "mlflow".
    tensorboard
        Whether to write TensorBoard curves to `tensorboard/` too; the same as "tensorboard" in
        `loggers`.
    progress
        Whether to show a progress bar with loss and remaining time.
    num_workers
        Number of processes that load data.
    started
        Function that is called before the first step, when the run directory is locked and the run
        can start or continue. It writes the files that describe the run.

    Returns
    -------
    Epochs done, history and paths.

    Raises
    ------
    FileExistsError
        When `output` holds a run that has finished an epoch, and `resume` is false.
    ValueError
        When the optimisation does not suit the model (`Optimisation.freeze`). When a run is resumed
        with other settings or other data, without its last checkpoint or with a damaged one and
        none before it. When a data set is empty, a batch has fewer samples than there are
        processes, or the package of a logger is missing.
    TrainingDiverged
        When the loss or a weight becomes NaN or infinite.
    RunBusy
        When another process trains in `output`. Nothing is touched.
    ProcessLost
        When another process of the job has ended.

    Notes
    -----
    The processes of one `torchrun` share every batch, and the weights are those of one process up
    to the order of sums, also when a batch does not divide. This does not hold for noise and
    dropout, which each process draws anew, nor for batch normalisation, whose statistics are those
    of the samples of one process.

    Examples
    --------
    >>> import tempfile, types, torch
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
    options = LoopOptions(
        resume=resume,
        mixed_precision=mixed_precision,
        gradient_accumulation=gradient_accumulation,
        activation_checkpointing=activation_checkpointing,
        shard_optimizer=shard_optimizer,
        deterministic=deterministic,
        loggers=list(loggers),
        tensorboard=tensorboard,
        progress=progress,
        num_workers=num_workers,
    )
    check_loggers(options.all_loggers)
    result = TrainingResult(Path(output), Progress())
    check_output(result, resume=resume)
    optimisation.freeze(model)
    learns = any(parameter.requires_grad for parameter in model.parameters())
    with ExitStack() as stack:
        done = from_main_process(resume and learns and is_finished(result.last, budget.epochs))
        if not done:  # a finished run is only read
            stack.enter_context(run_lock(result.output))
            check_output(result, resume=resume)  # another process may have made one meanwhile
        else:
            remove_lock(result.output)
        accelerator = make_accelerator(mixed_precision)
        if not done and accelerator.is_main_process:
            for folder in (result.best, result.last):
                recover_checkpoint(folder)
        accelerator.wait_for_everyone()
        begun = resume and find_checkpoint(result.last) is not None
        accelerator.wait_for_everyone()  # nobody writes before everybody has looked
        if not learns:
            if accelerator.is_main_process:  # saved all the same, to be evaluated as any other
                save_checkpoint(result.best, model)
                save_checkpoint(result.last, model)
            accelerator.wait_for_everyone()
            if started is not None:
                started()
            return result
        run = TrainingRun(
            model,
            objective,
            data,
            optimisation=optimisation,
            budget=budget,
            result=result,
            seed=seed,
            accelerator=accelerator,
            options=options,
        )
        try:
            if begun:
                run.restore()
            else:
                run.save(best=False)
            if started is not None:
                started()
            if not done:
                run.fit()
        finally:
            accelerator.unwrap_model(run.model, keep_fp32_wrapper=False)
    return result
