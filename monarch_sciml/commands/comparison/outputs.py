"""Results, tables, figures and report of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from monarch_sciml._files import write_text
from monarch_sciml.commands.comparison.figures import caption, draw_figures
from monarch_sciml.commands.comparison.trained_run import TrainedRun, describe_run, metric_on
from monarch_sciml.data.spec import DataModule, ScanSpec
from monarch_sciml.evaluation import (
    ComparisonTable,
    cost_figure,
    metrics_figure,
    samples_table,
    save,
    write_report,
    write_rows,
)
from monarch_sciml.evaluation.environment import environment
from monarch_sciml.evaluation.samples import ELSEWHERE, sample_rows
from monarch_sciml.training import Budget, Objective


def write_report_files(
    runs: Sequence[TrainedRun],
    data: DataModule,
    objective: Objective,
    budget: Budget,
    output: Path,
    *,
    baseline: str,
    title: str,
    configuration: str,
    evaluate_on: Mapping[str, DataModule] | None = None,
    notes: Sequence[str] = (),
    command: str = "monarch-sciml compare --config config.yaml",
) -> str:
    """Write results, tables, figures and report of finished runs; return the text to print.

    Parameters
    ----------
    runs
        The runs in the order of the table. A run that diverged counts as failed there.
    data, objective, budget
        Data, objective and budget of all runs.
    output
        The folder of the comparison.
    baseline
        Network of reference, which is left out if none of its runs is given.
    title, configuration
        Title and configuration of the report.
    evaluate_on
        The further data sets that the runs were measured on.
    notes
        Sentences on runs that diverged or are missing.
    command
        Command that made the runs, for the report.
    """
    describe_run(output, configuration)
    columns = list(dict.fromkeys(name for run in runs for name in run.means))
    rows = [run.row(columns or [objective.monitor]) for run in runs]
    write_rows(rows, output / "results.csv", overwrite=True)
    tables = _tables(runs, rows, objective.monitor, baseline, evaluate_on or {}, data)
    first = next(iter(tables.values()))
    first.to_csv(output / "table.csv", overwrite=True)
    others = list(tables)[1:]
    over_samples = _over_samples(runs, data, evaluate_on or {}, first, output)
    texts = [first.to_markdown()]
    texts += [f"{name}:\n\n{tables[name].to_markdown()}" for name in others]
    texts += [f"{name}:\n\n{text}" for name, text in over_samples.items()] + [*notes]
    write_text(output / "table.md", "\n\n".join(texts) + "\n")
    overview = {"metrics": metrics_figure(first), "cost": cost_figure(first, objective.monitor)}
    figures = {
        **draw_figures(
            runs, data, objective, batch_size=budget.batch_size, evaluate_on=evaluate_on or {}
        ),
        **{name: figure for name, figure in overview.items() if figure is not None},
    }
    seeds = sorted({run.seed for run in runs})
    write_report(
        output / "report.html",
        title=title,
        summary="\n\n".join([_summary(data, runs, seeds), *notes]),
        tables={**tables, **over_samples},
        figures=_saved(figures, output / "figures"),
        environment=environment(),
        configuration=configuration,
        command=command,
        seeds=seeds,
        budget=f"{budget.epochs} epochs, batch size {budget.batch_size}"
        + (", for every network" if len(runs) > 1 else ""),
        overwrite=True,
    )
    printed = [first.to_text()] + [f"{name}:\n\n{tables[name].to_text()}" for name in others]
    printed += ["\n".join(notes)] if notes else []
    return "\n\n".join([*printed, f"report: {output / 'report.html'}"])


def _saved(figures: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Save figures as .png, and return the file of each by its caption."""
    return {
        caption(name): save(figure, folder / f"{name}.png", overwrite=True)
        for name, figure in figures.items()
    }


def _tables(
    runs: Sequence[TrainedRun],
    rows: Sequence[dict],
    monitor: str,
    baseline: str,
    evaluate_on: Mapping[str, DataModule],
    data: DataModule,
) -> dict[str, ComparisonTable]:
    """Return the table of the test results, and that of the further data sets where there are."""
    reference = baseline if any(run.name == baseline for run in runs) else None
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics)) or [monitor]
    tables = {"Test results": ComparisonTable.from_rows(rows, metrics, baseline=reference)}
    if evaluate_on and any(run.elsewhere for run in runs):
        further = [monitor, *(metric_on(monitor, name) for name in evaluate_on)]
        shape = " x ".join(map(str, data.spec.grid_shape))
        caption = f"On other data without retraining (trained on {shape})"
        tables[caption] = ComparisonTable.from_rows(rows, further, baseline=reference)
    return tables


def _over_samples(
    runs: Sequence[TrainedRun],
    data: DataModule,
    evaluate_on: Mapping[str, DataModule],
    table: ComparisonTable,
    output: Path,
) -> dict[str, str]:
    """Write samples.csv, one row per run and test sample; return their table with its caption."""
    unit = "volume" if isinstance(data.spec, ScanSpec) else "sample"

    def rows(name: str, part: DataModule) -> Iterator[dict[str, Any]]:
        for run in runs:
            metrics = run.elsewhere.get(name, {}) if name else run.metrics
            about = {"network": run.name, "seed": run.seed}
            about |= {ELSEWHERE: name} if evaluate_on else {}
            names = _volume_names(part, metrics) if unit == "volume" else None
            yield from sample_rows(about, metrics, unit=unit, names=names)

    here = list(rows("", data))
    further = [row for name, part in evaluate_on.items() for row in rows(name, part)]
    if not here:  # every training diverged
        return {}
    write_rows([*here, *further], output / "samples.csv", overwrite=True)
    return {f"Over test {unit}s": samples_table(table, here, unit=unit)}


def _volume_names(data: DataModule, metrics: Mapping[str, Tensor]) -> list[str] | None:
    """Return the names of the test volumes' files; None where volumes are not files."""
    names = [Path(path).name for path in getattr(data.test, "paths", ())]
    alike = {len(names), *map(len, metrics.values())} == {len(names)}  # each file has slices
    return names if names and metrics and alike else None


def _summary(data: DataModule, runs: Sequence[TrainedRun], seeds: Sequence[int]) -> str:
    sizes = asdict(data.spec).items()
    spec = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in sizes
    )
    units = max((len(values) for run in runs for values in run.metrics.values()), default=0)
    many = f"Every network saw the same data and budget (seeds {', '.join(map(str, seeds))}). "
    spread = "; the spread is the standard deviation over seeds"
    if len(runs) == 1:
        many = spread = ""
    return f"{many}Errors are means over {units} test units{spread}. Data: {spec}."
