"""Devices, processes and randomness of a run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.training.grouping import GroupedBatchSampler, batch_groups


def make_accelerator(mixed_precision: str = "no") -> Accelerator:
    """Return the accelerator of this process: the GPU where there is one, and all of `torchrun`.

    Parameters
    ----------
    mixed_precision
        "no", "bf16" or "fp16": the precision of the network's matrix products and convolutions.

    Notes
    -----
    Set the environment variable ACCELERATE_USE_CPU=true to stay on the CPU.
    """
    one_of("mixed_precision", mixed_precision, ("no", "bf16", "fp16"))
    # accelerate keeps the first precision of a process; runs after one another may differ
    AcceleratorState._reset_state()
    # left to itself it takes processes without a GPU for separate jobs
    return Accelerator(mixed_precision=mixed_precision, cpu=not torch.accelerator.is_available())


def is_main_process() -> bool:
    """Return whether this is the process of the job that writes files and speaks."""
    return make_accelerator().is_main_process


class EpochSampler(Sampler[int]):
    """Draw each sample once, in an order that is a function of (seed, epoch) alone.

    Parameters
    ----------
    n_samples
        Size of the data set.
    seed
        Seed of the run.
    """

    def __init__(self, n_samples: int, seed: int) -> None:
        self._n_samples = n_samples
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._n_samples

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(_mix(self._seed, self._epoch))
        yield from torch.randperm(self._n_samples, generator=generator).tolist()


def seed_epoch(seed: int, epoch: int, process: int) -> None:
    """Seed random, numpy and torch (every device) by (seed, epoch, process).

    No state of a generator has to be saved for an exact resume: epochs do not share randomness.
    """
    mixed = _mix(seed, epoch, process)
    random.seed(mixed)
    np.random.seed(mixed % 2**32)  # noqa: NPY002 - seeds what data sets of others may use
    torch.manual_seed(mixed)


def training_loader(
    dataset: Dataset[dict[str, Any]],
    *,
    batch_size: int,
    seed: int,
    accelerator: Accelerator,
    num_workers: int,
) -> Any:
    """Return a shuffling loader of this process's share; `batch_size` counts all processes.

    When the last batch is incomplete and there are several processes, accelerate fills it with
    samples from the beginning of the epoch, so that every process takes the same number of steps.
    Where samples differ in size (`batch_groups`), every batch is of one size.

    Raises
    ------
    ValueError
        When the data set is empty or the batch does not divide among the processes.
    """
    n_samples = n_samples_of(dataset)
    processes = accelerator.num_processes
    if positive_int("batch_size", batch_size) % processes:
        rule = f"`batch_size` must be a multiple of the {processes} processes"
        raise ValueError(message(rule, batch_size, "Change `batch_size`."))
    sampler, share = EpochSampler(n_samples, seed), batch_size // processes
    groups = batch_groups(dataset)
    if groups is None:
        loader = DataLoader(
            dataset, share, sampler=sampler, num_workers=num_workers, collate_fn=stacked
        )
    else:
        batches: Any = GroupedBatchSampler(sampler, groups, share, processes)
        loader = DataLoader(
            dataset, batch_sampler=batches, num_workers=num_workers, collate_fn=stacked
        )
    return accelerator.prepare(loader)


def stacked(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the samples of a batch stacked along a new first axis, as `default_collate` does.

    Raises
    ------
    ValueError
        When samples differ in shape; the line says in which.
    """
    try:
        return default_collate(list(samples))
    except RuntimeError:
        for name in samples[0]:
            shapes = list(dict.fromkeys(np.shape(sample[name]) for sample in samples))
            if len(shapes) > 1:
                rule = f"`{name}` must have one shape in all samples of a batch"
                got = " and ".join(str(tuple(shape)) for shape in shapes[:3])
                remedy = "Crop or resample them, or let the data set name its `batch_groups`."
                raise ValueError(message(rule, got, remedy)) from None
        raise


def n_samples_of(dataset: Dataset[dict[str, Any]]) -> int:
    """Return the number of samples; ValueError when there is none, TypeError without a length."""
    if not isinstance(dataset, Sized):
        rule = "a data set must have a length"
        raise TypeError(message(rule, type(dataset).__name__, "Use a map-style data set."))
    if len(dataset) == 0:
        raise ValueError(message("a data set must have samples", 0, "Check how it was split."))
    return len(dataset)


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
