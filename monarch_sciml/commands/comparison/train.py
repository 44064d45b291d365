"""The `train` command: one network, one seed."""

from __future__ import annotations

from pathlib import Path

from monarch_sciml._checks import message, positive_int, usage_errors
from monarch_sciml.commands.comparison.outputs import write_report_files
from monarch_sciml.commands.comparison.recipe import Contender, LoopOptions, NetworkFactory
from monarch_sciml.commands.comparison.trained_run import run_network
from monarch_sciml.data.spec import DataModule
from monarch_sciml.evaluation.metrics_table import metrics_text
from monarch_sciml.training import Budget, Objective, Optimisation, check_loggers
from monarch_sciml.training.processes import from_main_process, is_main_process


def train_network(
    data: DataModule,
    network: NetworkFactory,
    objective: Objective,
    budget: Budget,
    output: Path,
    optimisation: Optimisation = Optimisation(),  # noqa: B008 - frozen
    start_from: Path | None = None,
    seed: int = 0,
    options: LoopOptions = LoopOptions(),  # noqa: B008 - frozen
    configuration: str = "",
) -> str:
    """Train one network and measure its best checkpoint on the test samples.

    Writes into `output`: config.yaml, environment.json, metrics.csv, the checkpoints with their
    weights, and what `compare` writes of its networks (results.csv, a table, figures/*.png and
    report.html). A finished run is resumed without training: its results are measured and written
    again. Of the processes of one `torchrun` the first writes.

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
    start_from
        A run directory whose best weights training starts from, `{seed}` standing for the seed.
        Weights of a dense network are projected if the new network is a `StructuredNetwork` of it.
    seed
        Seed of the initial weights and of the order of the samples.
    options
        Resuming, precision, logging.
    configuration
        The YAML text that is kept in the run directory.

    Returns
    -------
    A table of the test metrics and the paths; nothing in further processes of the job.

    Raises
    ------
    FileExistsError
        When `output` holds a comparison, or a run that is not to be resumed.
    """
    check_loggers(options.all_loggers)
    with usage_errors():
        positive_int("seed", seed, minimum=0)
    compared = (output / "results.csv").exists() and not (output / "checkpoints").exists()
    if from_main_process(compared):
        rule = "`output` must not hold a comparison"
        raise FileExistsError(message(rule, str(output), "Name another folder."))
    run = run_network(
        output.resolve().name,
        Contender(network=network, optimisation=optimisation, start_from=start_from),
        data=data,
        objective=objective,
        budget=budget,
        seed=seed,
        output=output,
        configuration=configuration,
        options=options,
    )
    if not is_main_process():
        return ""
    write_report_files(
        [run],
        data,
        objective,
        budget,
        output,
        baseline="",
        title=f"{run.name}, seed {seed}",
        configuration=configuration,
        command="monarch-sciml train --config config.yaml --output FOLDER",
        notes=run.notes,
    )
    text = "\n\n".join([metrics_text(run.metrics), *run.notes])
    return f"{text}\n\nrun: {output}\nreport: {output / 'report.html'}"
