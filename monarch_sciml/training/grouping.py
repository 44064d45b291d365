"""Batches of samples that fit together, for data sets whose samples differ in size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from torch.utils.data import Dataset

from monarch_sciml._checks import message, positive_int


def batch_groups(dataset: Dataset[dict[str, Any]]) -> Sequence[Hashable] | None:
    """Return the group of every sample, None when all of them may share a batch.

    A data set whose samples cannot all be stacked says so by an attribute `batch_groups`, for
    example the size of each.

    Raises
    ------
    ValueError
        When the data set has not one group a sample.
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
    come last. With several processes they are filled up with samples of their own group, and their
    number to a multiple of the processes, because every process has to take the same number
    of equally large steps.

    Parameters
    ----------
    sampler
        Draws the numbers of the samples, each once an epoch.
    groups
        Group of every sample.
    batch_size
        Samples of a batch of one process.
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
        early: list[list[int]] = []  # what a last round of the processes may be filled up with
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
