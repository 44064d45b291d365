"""The `train` command: one network, one seed."""

from __future__ import annotations

from pathlib import Path

from monarch_sciml.commands.runs import (
    Contender,
    LoopOptions,
    NetworkFactory,
    run_network,
)
from monarch_sciml.commands.summary import summary_text
from monarch_sciml.data.spec import DataModule
from monarch_sciml.training import Budget, Objective, Optimisation, is_main_process


def train_network(
    data: DataModule,
    network: NetworkFactory,
    objective: Objective,
    budget: Budget,
    output: Path,
    optimisation: Optimisation = Optimisation(),  # noqa: B008 - frozen
    seed: int = 0,
    options: LoopOptions = LoopOptions(),  # noqa: B008 - frozen
    configuration: str = "",
) -> str:
    """Train one network and measure its best checkpoint on the test samples.

    Parameters
    ----------
    data
        Where the samples come from.
    network
        The class of the network and its options; the sizes come from the data.
    objective
        Loss and metrics.
    budget
        Epochs and batch size.
    output
        The run directory.
    optimisation
        Optimiser, schedule, and the group of the learnable transforms.
    seed
        Seed of the initial weights and of the order of the samples.
    options
        Resuming, precision, logging.
    configuration
        The YAML text that is kept in the run directory.

    Returns
    -------
    str
        A table of the test metrics; nothing in further processes of the job.
    """
    run = run_network(
        "network",
        Contender(network=network, optimisation=optimisation),
        data=data,
        objective=objective,
        budget=budget,
        seed=seed,
        output=output,
        configuration=configuration,
        options=options,
    )
    return f"{summary_text(run.metrics)}\n\nrun: {output}" if is_main_process() else ""
