"""Metrics of a model on a data set, the same for any batch size and number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from monarch_sciml._checks import positive_int
from monarch_sciml._signals import check_stopped, deferred
from monarch_sciml.training.loading import as_worker, batch_groups, n_samples_of, stacked
from monarch_sciml.training.objective import Objective
from monarch_sciml.training.processes import make_accelerator


def evaluate_model(
    model: nn.Module,
    objective: Objective,
    dataset: Dataset[dict[str, Any]],
    *,
    batch_size: int,
    accelerator: Accelerator | None = None,
    progress: bool = False,
    num_workers: int = 0,
) -> dict[str, Tensor]:
    """Return the metrics of every unit (trajectory or volume) of a data set.

    Parameters
    ----------
    model
        The network; it is moved to the accelerator's device and put back in its mode.
    objective
        Objective that computes the metrics.
    dataset
        Map-style data set of dict samples.
    batch_size
        Number of samples that a process handles at once. It affects memory but not results.
    accelerator
        Device and processes. None makes an accelerator.
    progress
        Whether to show a bar.
    num_workers
        Number of processes that load data.

    Returns
    -------
    For each metric the values (V,) on the CPU, the same in every process. Trajectories are in the
    order of the data set, volumes in that of their numbers.

    Raises
    ------
    ValueError
        When the data set is empty or `batch_size` is below 1.
    """
    n_samples_of(dataset)
    accelerator = make_accelerator() if accelerator is None else accelerator
    network = accelerator.unwrap_model(model).to(accelerator.device)
    positive_int("batch_size", batch_size)
    if batch_groups(dataset) is not None:
        batch_size = 1  # samples differ in size, and metrics do not depend on the batch
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        collate_fn=stacked,
        worker_init_fn=as_worker,
    )
    hidden = not (progress and accelerator.is_main_process)
    was_training = network.training
    network.eval()
    gathered: list[dict[str, Tensor]] = []
    try:
        with torch.no_grad(), deferred():
            shared = prepare_data_loader(loader, accelerator.device, put_on_device=True)
            for batch in tqdm(shared, desc="evaluate", disable=hidden, leave=False):
                check_stopped()
                rows: Any = accelerator.gather_for_metrics(objective.evaluate(network, batch))
                gathered.append({name: value.cpu() for name, value in rows.items()})
    finally:
        network.train(was_training)
    return objective.reduce({k: torch.cat([rows[k] for rows in gathered]) for k in gathered[0]})


def mean_metrics(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean over units of each metric, summed in float64."""
    return {name: float(value.double().mean()) for name, value in metrics.items()}
