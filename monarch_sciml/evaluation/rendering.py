"""Lay a comparison table out as text, Markdown and flat rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monarch_sciml.evaluation import number_text as fmt

if TYPE_CHECKING:
    from monarch_sciml.evaluation.summary import NetworkResult, Summary
    from monarch_sciml.evaluation.tables import ComparisonTable


def render_table(table: ComparisonTable, *, markdown: bool) -> str:
    """Return the table, the paired comparison if seeds allow one, and notes for reading them."""
    headers = ["network", *(h for _, h in _columns(table))]
    rows = [
        [result.network, *(_cell(table, result, key, markdown) for key, _ in _columns(table))]
        for result in table.results
    ]
    blocks = [laid_out(headers, rows, markdown=markdown)]
    paired = _paired_rows(table)
    if paired:
        blocks += [f"Against {table.baseline}, seed by seed:", laid_out(*paired, markdown=markdown)]
    blocks.append(("\n\n" if markdown else "\n").join(_notes(table, markdown=markdown)))
    return "\n\n".join(blocks)


def laid_out(headers: list[str], rows: list[list[str]], *, markdown: bool) -> str:
    """Return cells as a table, the first column to the left, the others to the right."""
    from tabulate import tabulate

    if markdown:
        headers, rows = [_escaped(h) for h in headers], [[_escaped(c) for c in r] for r in rows]
    style = "pipe" if markdown else "simple"
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align)


def result_cells(table: ComparisonTable) -> list[dict[str, Any]]:
    """Return one flat row per network with unrounded numbers and None for missing ones."""
    rows: list[dict[str, Any]] = []
    for result in table.results:
        row: dict[str, Any] = {"network": result.network, "n_seeds": _n_seeds(result)}
        for metric in table.metrics:
            summary, paired = result.metrics[metric], table.paired(result.network, metric)
            row |= {
                metric: summary.mean,
                f"{metric}_std": summary.spread,
                f"{metric}_failed": summary.n_failed,
                f"{metric}_change": table.change(result.network, metric),
                f"{metric}_paired": paired.mean if paired else None,
                f"{metric}_paired_std": paired.spread if paired else None,
            }
        names = ("n_parameters", "epochs", "seconds_per_epoch", "seconds")
        rows.append(row | {name: getattr(result, name) for name in names})
    return rows


def _columns(table: ComparisonTable) -> list[tuple[tuple[str, str], str]]:
    """Return ((kind, metric), header) of every column after the first that has any content."""
    columns: list[tuple[tuple[str, str], str]] = []
    if any(_n_seeds(result) for result in table.results):
        columns.append((("seeds", ""), "seeds"))
    for metric in table.metrics:
        columns.append((("metric", metric), header(table, metric)))
        if table.baseline is not None:
            columns.append((("change", metric), f"vs {table.baseline}"))
    if any(result.n_parameters is not None for result in table.results):
        columns.append((("n_parameters", ""), "parameters"))
    if len(_epochs(table)) > 1:  # one budget for all is told in a note instead
        columns.append((("epochs", ""), "epochs"))
    if any(result.seconds_per_epoch is not None for result in table.results):
        columns.append((("seconds_per_epoch", ""), "time / epoch"))
    return columns


def _epochs(table: ComparisonTable) -> set[float]:
    """Return the numbers of epochs that the trained networks were trained for."""
    return {result.epochs for result in table.results if result.trained and result.epochs}


def _cell(
    table: ComparisonTable, result: NetworkResult, key: tuple[str, str], markdown: bool
) -> str:
    """Return the text of one cell."""
    kind, metric = key
    if kind == "seeds":
        return str(_n_seeds(result)) if _n_seeds(result) else fmt.MISSING
    if kind == "metric":
        text = summary_text(result.metrics[metric])
        if result.network not in table.best(metric):
            return text
        return f"**{text}**" if markdown else f"* {text}"
    if kind == "change":
        return _change_text(table, result.network, metric)
    if kind == "n_parameters":
        return fmt.integer_text(result.n_parameters)
    if kind == "epochs":
        return f"{result.epochs:g}" if result.epochs else fmt.MISSING
    return fmt.seconds_text(getattr(result, kind))


def summary_text(summary: Summary) -> str:
    """Return "mean ± spread", followed by the number of failed runs where there are any."""
    if summary.n_failed == summary.n_runs:
        return "failed" if summary.n_runs == 1 else f"failed ({summary.n_runs} of {summary.n_runs})"
    text = fmt.spread_text(summary.mean, summary.spread)
    if summary.n_failed:
        text += f" ({summary.n_failed} of {summary.n_runs} failed)"
    return text


def _change_text(table: ComparisonTable, network: str, metric: str) -> str:
    change = table.change(network, metric)
    if change is None:
        return "baseline" if network == table.baseline else fmt.MISSING
    if metric in table.lower_is_better:
        return fmt.percent_text(change)
    return f"{change:+.2f} dB" if "psnr" in metric.lower() else f"{change:+.4f}"


def _paired_rows(table: ComparisonTable) -> tuple[list[str], list[list[str]]] | None:
    """Return headers and rows of the seed-by-seed comparison; None when no network has two."""
    pairs = {
        result.network: [table.paired(result.network, metric) for metric in table.metrics]
        for result in table.results
    }
    shown = {
        name: [pair for pair in found if pair is not None]
        for name, found in pairs.items()
        if any(pair is not None and pair.n_runs > 1 for pair in found)
    }
    if not shown:
        return None
    headers = ["network", "pairs"]
    for metric in table.metrics:
        kind = "ratio" if metric in table.lower_is_better else "difference"
        headers.append(f"{metric} {kind}" + (" (dB)" if "psnr" in metric.lower() else ""))
    rows = [
        [name, str(found[0].n_runs), *(summary_text(pair) for pair in found)]
        for name, found in shown.items()
    ]
    return headers, rows


def _notes(table: ComparisonTable, *, markdown: bool) -> list[str]:
    """Return sentences on how to read the table."""
    best = "bold" if markdown else "*"
    reading = f"↓ lower is better, ↑ higher is better, {best}: best mean."
    if any(s.spread is not None for r in table.results for s in r.metrics.values()):
        notes = [f"±: sample standard deviation over seeds. {reading}"]
    else:
        notes = [f"One run each, hence no spread. {reading}"]
    if len(_epochs(table)) == 1:
        notes.append(f"Training budget: {_epochs(table).pop():g} epochs each.")
    if table.baseline is not None:
        notes.append(
            f"vs {table.baseline}: change of the mean, in percent for errors (negative: smaller "
            "error), as a difference otherwise."
        )
    if _paired_rows(table):
        notes.append(
            "Seed by seed: mean ± sample standard deviation of network / baseline (errors) or "
            "network - baseline, over seeds that both were trained with."
        )
    if any(s.n_failed for r in table.results for s in r.metrics.values()):
        notes.append("Failed runs (no finite value) are counted in their cell, not in its mean.")
    return notes


def header(table: ComparisonTable, metric: str) -> str:
    """Return the name of a metric with its unit and which way is better."""
    unit = " (dB)" if "psnr" in metric.lower() else ""
    return f"{metric}{unit} {'↓' if metric in table.lower_is_better else '↑'}"


def _n_seeds(result: NetworkResult) -> int | None:
    return len(result.seeds) if result.trained else None


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
