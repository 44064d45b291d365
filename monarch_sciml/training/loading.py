"""Loading of samples in batches, shared among the processes of a run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Sized
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Dataset, default_collate

from monarch_sciml._checks import message
from monarch_sciml._signals import leave_to_parent
from monarch_sciml.training.batches import EpochSampler, SharedBatches


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
) -> tuple[Any, SharedBatches]:
    """Return a shuffling loader of this process's part of every batch, and what it draws.

    Parameters
    ----------
    dataset
        Samples. If they differ in size (`batch_groups`), all samples of a batch have the same size.
    batch_size
        Number of samples of one optimiser step, of all processes together.
    seed
        Seed of the order of the samples.
    accelerator
        Device and processes.
    num_workers
        Number of processes that load data.

    Raises
    ------
    ValueError
        When the data set is empty, or a batch has fewer samples than there are processes.
    """
    batches = SharedBatches(
        EpochSampler(n_samples_of(dataset), seed),
        batch_size,
        groups=batch_groups(dataset),
        process=accelerator.process_index,
        n_processes=accelerator.num_processes,
    )
    drawn: Any = batches
    loader = DataLoader(
        dataset,
        batch_sampler=drawn,
        num_workers=num_workers,
        collate_fn=stacked,
        worker_init_fn=as_worker,
    )
    # the batches are divided already: only the device is left to accelerate
    return prepare_data_loader(
        loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True
    ), batches


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
