"""The accelerator, the seeds and the common values of the processes of a run."""

from __future__ import annotations

import atexit
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from monarch_sciml._checks import message, one_of


def make_accelerator(mixed_precision: str = "no") -> Accelerator:
    """Return the accelerator of this process, with a GPU if there is one and all of `torchrun`.

    Parameters
    ----------
    mixed_precision
        "no", "bf16" or "fp16": the precision of the network's matrix products and convolutions.

    Notes
    -----
    The environment variable ACCELERATE_USE_CPU=true keeps the run on the CPU.
    """
    one_of("mixed_precision", mixed_precision, ("no", "bf16", "fp16"))
    # accelerate keeps the first precision of a process; runs after one another may differ
    AcceleratorState._reset_state()
    # by default it takes processes without a GPU for separate jobs
    made = Accelerator(mixed_precision=mixed_precision, cpu=not torch.accelerator.is_available())
    if made.num_processes > 1:
        atexit.unregister(_leave_group)  # registered once, however many runs there are
        atexit.register(_leave_group)
    return made


def _leave_group() -> None:
    """End the threads that connect the processes; Python's end would abort while they run."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


class ProcessLost(RuntimeError):
    """Error that another process of the job has ended; the last checkpoint is kept."""


@contextmanager
def all_processes(progress: Any) -> Iterator[None]:
    """Turn the error of a broken connection between the processes of a job into one line.

    Parameters
    ----------
    progress
        Object with the attribute `epoch`, the number of finished epochs.

    Raises
    ------
    ProcessLost
        When another process has ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        several = dist.is_available() and dist.is_initialized()
        lost = isinstance(error, dist.DistError) or any(word in str(error) for word in _LOST)
        if not (several and lost):
            raise
        rule = "all processes of the job must go on"
        got = f"an ended connection in process {dist.get_rank()}"
        remedy = (
            "Look for the message of the process that ended first, and resume: "
            f"the checkpoint after epoch {progress.epoch} is kept."
        )
        raise ProcessLost(message(rule, got, remedy)) from error


_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Gloo", "gloo")
"""Words of torch.distributed about a process that is gone."""


def is_main_process() -> bool:
    """Return whether this is the process of the job that writes files and messages."""
    return make_accelerator().is_main_process


def seed_epoch(seed: int, epoch: int, process: int) -> None:
    """Seed random, numpy and torch (every device) by (seed, epoch, process).

    No state of a generator has to be saved for an exact resume: epochs do not share randomness.
    """
    mixed = mixed_seed(seed, epoch, process)
    random.seed(mixed)
    np.random.seed(mixed % 2**32)  # noqa: NPY002 - seeds what data sets of others may use
    torch.manual_seed(mixed)


def mixed_seed(*numbers: int) -> int:
    """Return a number that differs for every argument, for use as a seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def from_main_process(value: Any) -> Any:
    """Return the value that the first process of the job has, so that all of them agree."""
    make_accelerator()
    values = [value]
    broadcast_object_list(values)
    return values[0]
