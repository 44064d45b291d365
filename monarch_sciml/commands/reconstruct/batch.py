"""One scan or many in one call of `reconstruct`, shared out among processes."""

from __future__ import annotations

from pathlib import Path

from tqdm.auto import tqdm

from monarch_sciml.commands.reconstruct.output_files import Destination
from monarch_sciml.commands.reconstruct.pipeline import reconstruct_scan
from monarch_sciml.commands.reconstruct.plan import Plan, write_record
from monarch_sciml.commands.reconstruct.processes import Ranks
from monarch_sciml.commands.reconstruct.report import (
    Outcome,
    PartlyFailed,
    report,
    rows_of,
    summary,
)
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.evaluation.results import write_rows


def reconstruct_one(plan: Plan, settings: Settings) -> str:
    """Reconstruct the one scan of a plan into files of its own, and say what was done."""
    if not plan.jobs:
        (finished,) = plan.done
        return f"{finished.path} is finished: {finished.notes[0]}"
    ((path, destination),) = plan.jobs.items()
    result = reconstruct_scan(path, settings, settings.reader)
    lines = destination.write(result)
    return "\n\n".join([report(result), *(["\n".join(lines)] if lines else [])])


def reconstruct_all(plan: Plan, settings: Settings, ranks: Ranks) -> str:
    """Reconstruct the scans of a plan, shared out among the processes of the job.

    Returns
    -------
    Tables over the files; empty in all processes but the first.

    Raises
    ------
    PartlyFailed
        In the first process, when a scan failed; the others were reconstructed all the same.
    """
    bar = tqdm(
        list(plan.jobs.items())[ranks.rank :: ranks.size],
        "scans",
        unit="scan",
        disable=None if settings.progress else True,
    )
    mine = [_reconstruct(path, destination, settings) for path, destination in bar]
    outcomes = [outcome for part in ranks.gathered(mine) for outcome in part]
    if not ranks.first:
        return ""
    # in the order of the plan, the finished ones first
    order = {str(path): number for number, path in enumerate(plan.jobs)}
    outcomes = plan.done + sorted(outcomes, key=lambda outcome: order[outcome.path])
    if plan.results is not None:
        rows = [row for outcome in outcomes for row in outcome.csv_rows]
        write_rows(rows, plan.results, overwrite=True)
    text = summary(outcomes, plan.skipped, plan.results)
    failed = [Path(outcome.path).name for outcome in outcomes if outcome.failure]
    if failed:
        raise PartlyFailed(text, failed, len(outcomes))
    return text


def _reconstruct(path: Path, destination: Destination, settings: Settings) -> Outcome:
    """Reconstruct and write one scan; what goes wrong is part of the outcome."""
    try:
        reader = settings.reader_of(path)
        result = reconstruct_scan(path, settings, reader)
        destination.write(result)
        rows = [{"path": str(path), **row} for row in rows_of(result)]
        outcome = Outcome(str(path), rows, [*result.notes, *result.left_out])
        write_record(destination, settings, outcome)
        return outcome
    except Exception as error:  # a reader or method that breaks must not stop the other scans
        known = isinstance(error, ValueError | TypeError | OSError | ImportError)
        kind = "" if known else f"{type(error).__name__}: "
        return Outcome(str(path), failure=kind + " ".join(str(error).split()))
