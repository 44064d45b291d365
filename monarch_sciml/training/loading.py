"""Loading of samples in batches, shared among the processes of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence, Sized
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from monarch_sciml._checks import message, positive_int
from monarch_sciml._signals import leave_to_parent
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


def training_fields(dataset: Dataset[dict[str, Any]], most: int = 1000) -> torch.Tensor:
    """Return inputs and targets of a training set as fields (S, n_1, ..., n_d), for a POD basis.

    Parameters
    ----------
    dataset
        Samples with `input` and `target`, (T, C, n_1, ..., n_d).
    most
        Largest number of samples, which are taken at equal distances.

    Returns
    -------
    Every frame of every field, the inputs and the targets each divided by their root mean square.

    Raises
    ------
    ValueError
        When the samples are not real fields.
    """
    count = len(dataset)  # type: ignore[arg-type]
    taken = range(0, count, max(1, -(-count // most)))
    samples = [dataset[i] for i in taken]
    if any("input" not in sample or sample["input"].is_complex() for sample in samples[:1]):
        rule = "a POD basis needs samples of real fields"
        raise ValueError(message(rule, sorted(samples[0]), "Choose another `transform`."))
    parts = []
    for name in ("input", "target"):
        fields = torch.stack([sample[name] for sample in samples]).flatten(0, 2)  # (S T C, ..)
        parts.append(fields / fields.square().mean().sqrt().clamp_min(torch.finfo().tiny))
    return torch.cat(parts)


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
    If samples differ in size (`batch_groups`), all samples of a batch have the same size.

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
            dataset,
            share,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=stacked,
            worker_init_fn=as_worker,
        )
    else:
        batches: Any = GroupedBatchSampler(sampler, groups, share, processes)
        loader = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=stacked,
            worker_init_fn=as_worker,
        )
    return accelerator.prepare(loader)


def as_worker(_: int) -> None:
    """Ignore Ctrl-C, which a terminal sends to all processes, in a process that loads data."""
    leave_to_parent()


def stacked(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the samples of a batch stacked along a new first axis, as `default_collate` does.

    Raises
    ------
    ValueError
        When samples differ in shape. The message names the shapes.
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


def batch_groups(dataset: Dataset[dict[str, Any]]) -> Sequence[Hashable] | None:
    """Return the group of every sample, or None if all of them may share a batch.

    A data set whose samples cannot all be stacked has an attribute `batch_groups`, for example the
    size of each sample.

    Raises
    ------
    ValueError
        When the data set does not have one group for each sample.
    """
    groups = getattr(dataset, "batch_groups", None)
    if groups is None or len(set(groups)) <= 1:
        return None
    n_samples = len(dataset)  # pyright: ignore[reportArgumentType] - checked by `n_samples_of`
    if len(groups) != n_samples:
        rule = f"`batch_groups` must name the group of each of {n_samples} samples"
        raise ValueError(message(rule, f"{len(groups)} names", "Correct the data set."))
    return groups


class GroupedBatchSampler:
    """Form batches of one group each, in the order in which a sampler draws the samples.

    A batch is complete when the sampler has drawn enough samples of one group; the incomplete ones
    come last. With several processes, incomplete batches are filled with samples of their own group
    and batches are added up to a multiple of the number of processes, because every process must
    take the same number of equally large steps.

    Parameters
    ----------
    sampler
        Sampler that draws the number of every sample once per epoch.
    groups
        Group of every sample.
    batch_size
        Number of samples in a batch of one process.
    n_processes
        Number of processes, which take the batches in turn.
    """

    drop_last = False

    def __init__(
        self,
        sampler: Iterable[int],
        groups: Sequence[Hashable],
        batch_size: int,
        n_processes: int = 1,
    ) -> None:
        self.sampler, self.groups = sampler, groups
        self.batch_size = positive_int("batch_size", batch_size)
        self.n_processes = positive_int("n_processes", n_processes)

    def __len__(self) -> int:
        """Return the number of batches of an epoch, of all processes together."""
        n_batches = sum(-(-n // self.batch_size) for n in Counter(self.groups).values())
        return -(-n_batches // self.n_processes) * self.n_processes

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the numbers of the samples of each batch."""
        open_batches: dict[Hashable, list[int]] = {}
        drawn: dict[Hashable, list[int]] = {}
        early: list[list[int]] = []  # samples to fill the last round of the processes with
        n_batches = 0
        for batch in self._batches(open_batches, drawn):
            n_batches += 1
            early += [batch] if len(early) < self.n_processes else []
            yield batch
        yield from islice(cycle(early), len(self) - n_batches)

    def _batches(
        self, open_batches: dict[Hashable, list[int]], drawn: dict[Hashable, list[int]]
    ) -> Iterator[list[int]]:
        for number in self.sampler:
            group = self.groups[number]
            batch = open_batches.setdefault(group, [])
            batch.append(number)
            if self.n_processes > 1 and len(drawn.setdefault(group, [])) < self.batch_size:
                drawn[group].append(number)
            if len(batch) == self.batch_size:
                yield open_batches.pop(group)
        for group, batch in open_batches.items():
            missing = self.batch_size - len(batch) if self.n_processes > 1 else 0
            yield batch + list(islice(cycle(drawn.get(group, batch)), missing))
