"""The batches of an epoch, and the part of each that a process takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch.utils.data import BatchSampler, Sampler

from monarch_sciml._checks import message, positive_int
from monarch_sciml.training.processes import mixed_seed


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
        generator = torch.Generator().manual_seed(mixed_seed(self._seed, self._epoch))
        yield from torch.randperm(self._n_samples, generator=generator).tolist()


class Batches(Protocol):
    """The interface of a batch sampler: lists of numbers of samples, and how many lists."""

    def __iter__(self) -> Iterator[list[int]]: ...

    def __len__(self) -> int: ...


class GroupedBatchSampler:
    """Form batches of one group each, in the order in which a sampler draws the samples.

    A batch is complete when the sampler has drawn enough samples of one group; the incomplete ones
    come last.

    Parameters
    ----------
    sampler
        Sampler that draws the number of every sample once per epoch.
    groups
        Group of every sample.
    batch_size
        Number of samples in a batch.
    """

    def __init__(self, sampler: Iterable[int], groups: Sequence[Hashable], batch_size: int) -> None:
        self.sampler, self.groups = sampler, groups
        self.batch_size = positive_int("batch_size", batch_size)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return sum(-(-n // self.batch_size) for n in Counter(self.groups).values())

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the numbers of the samples of each batch."""
        open_batches: dict[Hashable, list[int]] = {}
        for number in self.sampler:
            group = self.groups[number]
            batch = open_batches.setdefault(group, [])
            batch.append(number)
            if len(batch) == self.batch_size:
                yield open_batches.pop(group)
        yield from open_batches.values()


class SharedBatches:
    """Divide every batch of an epoch among the processes of a job.

    The batches are those of one process, the last and incomplete ones too, so that training does
    not depend on the number of processes. Each process takes consecutive samples of a batch, at
    most one more than another. A process for which a batch has no sample is given the first one,
    which counts nothing (`shares`), because all processes must take part in every step.

    Parameters
    ----------
    sampler
        Sampler that draws the number of every sample once per epoch.
    batch_size
        Number of samples in a batch, of all processes together.
    groups
        Group of every sample if only samples of one group may share a batch, or None.
    process, n_processes
        The number of this process, from 0, and the number of all processes.

    Raises
    ------
    ValueError
        When there are more processes than samples in a batch.
    """

    drop_last = False

    def __init__(
        self,
        sampler: EpochSampler,
        batch_size: int,
        *,
        groups: Sequence[Hashable] | None = None,
        process: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.sampler, self.batch_size = sampler, positive_int("batch_size", batch_size)
        self.process, self.n_processes = process, n_processes
        if batch_size < n_processes:
            rule = f"`batch_size` must be at least the number of processes, {n_processes}"
            raise ValueError(message(rule, batch_size, "Raise it, or start fewer processes."))
        self.batches: Batches = (
            BatchSampler(sampler, batch_size, drop_last=False)
            if groups is None
            else GroupedBatchSampler(sampler, groups, batch_size)
        )

    def __len__(self) -> int:
        """Return the number of batches of an epoch, which is that of optimiser steps."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the numbers of this process's samples of each batch."""
        for batch in self.batches:
            yield batch[self._part(len(batch))] or batch[:1]

    def shares(self) -> Iterator[tuple[int, int]]:
        """Yield the number of this process's samples, and that of all, of each batch."""
        for batch in self.batches:
            part = self._part(len(batch))
            yield part.stop - part.start, len(batch)

    def _part(self, n_samples: int) -> slice:
        start, stop = (n_samples * p // self.n_processes for p in (self.process, self.process + 1))
        return slice(start, stop)
