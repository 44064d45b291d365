"""The `compare` command: several networks, several seeds, one budget, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.benchmark.environment import environment
from monarch_sciml.commands.gallery import gallery
from monarch_sciml.commands.runs import (
    Contender,
    LoopOptions,
    Run,
    build,
    describe_run,
    run_network,
    write_text,
)
from monarch_sciml.data.spec import DataModule
from monarch_sciml.evaluation import ComparisonTable, save, write_report, write_rows
from monarch_sciml.training import Budget, Objective


def compare_networks(
    data: DataModule,
    networks: dict[str, Contender],
    objective: Objective,
    budget: Budget,
    output: Path,
    seeds: list[int] = [0, 1, 2],  # noqa: B006 - never changed
    baseline: str | None = None,
    title: str = "Comparison",
    options: LoopOptions = LoopOptions(),  # noqa: B008 - frozen
    configuration: str = "",
) -> str:
    """Train every network with every seed under one budget, and write one table and one report.

    Writes into `output`: a run directory NETWORK/seed-N for each run, results.csv (a row a run),
    table.md, table.csv, figures/*.png and report.html.

    Parameters
    ----------
    data
        Where the samples come from; the same for all.
    networks
        Name -> network and its optimisation. A network without parameters is measured once.
    objective
        Loss and metrics; the same for all.
    budget
        Epochs and batch size; the same for all.
    output
        The folder of the comparison.
    seeds
        Seeds of initial weights and of the order of the samples.
    baseline
        The network that changes are relative to; the first by default.
    title
        Title of the report.
    options
        Resuming, precision, logging.
    configuration
        The YAML text that is kept beside the results.

    Returns
    -------
    str
        The table as text, and the path of the report.
    """
    baseline = next(iter(networks)) if baseline is None else baseline
    if baseline not in networks:
        rule = f"`baseline` must be one of {', '.join(networks)}"
        raise ValueError(message(rule, repr(baseline), "Name a network of the comparison."))
    if (output / "results.csv").exists() and not options.resume:
        remedy = "Name another folder, remove it, or pass --options.resume true."
        rule = "`output` must not hold a comparison yet"
        raise FileExistsError(message(rule, str(output), remedy))
    for name, contender in networks.items():  # a mistake in the last must not wait for the first
        build_checked(name, contender, data)
    runs = [
        run_network(
            name,
            contender,
            data=data,
            objective=objective,
            budget=budget,
            seed=seed,
            output=output / name / f"seed-{seed}",
            configuration=_run_configuration(configuration, name, seed),
            options=options,
        )
        for name, contender in networks.items()
        for seed in _seeds_of(contender, data, seeds)
    ]
    return publish(
        runs,
        data,
        objective,
        budget,
        output,
        seeds=seeds,
        baseline=baseline,
        title=title,
        configuration=configuration,
    )


def build_checked(name: str, contender: Contender, data: DataModule) -> nn.Module:
    """Build a network once to see that it can be; errors name it."""
    try:
        return build(contender.network, data, seed=0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"network {name}: {error}") from error


def publish(
    runs: Sequence[Run],
    data: DataModule,
    objective: Objective,
    budget: Budget,
    output: Path,
    *,
    seeds: Sequence[int],
    baseline: str,
    title: str,
    configuration: str,
) -> str:
    """Write results, table, figures and report of finished runs; return the text to print."""
    describe_run(output, configuration)
    rows = [run.row for run in runs]
    write_rows(rows, output / "results.csv", overwrite=True)
    metrics = list(runs[0].metrics)
    table = ComparisonTable.from_rows(rows, metrics, baseline=baseline)
    table.to_csv(output / "table.csv", overwrite=True)
    write_text(output / "table.md", table.to_markdown() + "\n")
    figures = gallery(runs, data, objective, batch_size=budget.batch_size)
    for name, figure in figures.items():
        save(figure, output / "figures" / f"{name}.png", overwrite=True)
    write_report(
        output / "report.html",
        title=title,
        summary=_summary(data, runs, seeds),
        tables={"Test results": table},
        figures={_caption(name): figure for name, figure in figures.items()},
        environment=environment(),
        configuration=configuration,
        command="monarch-sciml compare --config config.yaml",
        seeds=list(seeds),
        budget=f"{budget.epochs} epochs, batch size {budget.batch_size}, for every network",
        overwrite=True,
    )
    return f"{table.to_text()}\n\nreport: {output / 'report.html'}"


_CAPTIONS = {
    "rollout": "Roll-out of the first test trajectory (first seed): fields and errors.",
    "error-over-time": "Error against time, mean over the test set, every seed.",
    "reconstructions": "Middle slice of the first test volume (first seed), zoom and errors.",
    "training": "Validation error during training, every seed.",
}


def _caption(figure: str) -> str:
    """Say what a figure shows."""
    learned = "The first learned transform of each network against its initialisation"
    name = figure.removeprefix("transform-")
    return _CAPTIONS.get(figure, f"{learned}: {name}.")


def _seeds_of(contender: Contender, data: DataModule, seeds: Sequence[int]) -> Sequence[int]:
    """Measure what has nothing to learn once."""
    model = build(contender.network, data, seed=0)
    return seeds if any(p.requires_grad for p in model.parameters()) else seeds[:1]


def _summary(data: DataModule, runs: Sequence[Run], seeds: Sequence[int]) -> str:
    sizes = asdict(data.spec).items()
    spec = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sizes
    )
    units = len(next(iter(runs[0].metrics.values())))
    return (
        f"Every network saw the same data, budget and seeds ({len(seeds)}). Errors are means over "
        f"{units} test units; the spread is the standard deviation over seeds. Data: {spec}."
    )


def _run_configuration(configuration: str, name: str, seed: int) -> str:
    """Cut the configuration of one `train` run out of that of the comparison."""
    everything: dict[str, Any] = yaml.safe_load(configuration) or {}
    contender = everything.pop("networks", {}).get(name, {})
    kept = {key: everything[key] for key in ("data", "objective", "budget") if key in everything}
    return yaml.safe_dump({**kept, **contender, "seed": seed}, sort_keys=False)
