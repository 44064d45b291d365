"""Many scans in one call of `reconstruct`, shared out among processes; failures do not stop it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from monarch_sciml.commands.ranks import Ranks
from monarch_sciml.commands.reconstruction_plan import RESULTS, Job, make_plan, write_record
from monarch_sciml.commands.reconstruction_report import rows_of
from monarch_sciml.commands.reconstruction_settings import Settings, reconstruct_scan
from monarch_sciml.commands.reconstruction_summary import Outcome, PartlyFailed, summary
from monarch_sciml.evaluation.results import write_rows


def reconstruct_all(
    paths: Sequence[Path],
    output: Path | None,
    output_format: str,
    settings: Settings,
    ranks: Ranks,
    *,
    resume: bool,
    overwrite: bool,
) -> str:
    """Reconstruct several scans, the files shared out among the processes of the job.

    Parameters
    ----------
    paths
        Files, and folders of which every scan is taken.
    output
        Folder for images, figures, records and results.csv; None writes nothing.
    output_format
        Ending of the images, without its dot.
    settings
        How each of them is reconstructed.
    ranks
        The processes; the first plans and sums up.
    resume
        Leave out what is finished, replace what is not.
    overwrite
        Replace existing files.

    Returns
    -------
    str
        Tables over the files; empty in all processes but the first.

    Raises
    ------
    PartlyFailed
        In the first process, when a scan failed; the others were reconstructed all the same.
    FileExistsError, FileNotFoundError, ValueError
        When the work cannot begin.
    """
    plan = None
    try:
        if ranks.first:
            plan = make_plan(
                paths, output, output_format, settings, resume=resume, overwrite=overwrite
            )
    finally:
        plan = ranks.from_first(plan)  # also when planning failed: the others wait for it
    if plan is None:
        return ""
    bar = tqdm(
        plan.jobs[ranks.rank :: ranks.size],
        "scans",
        unit="scan",
        disable=None if settings.progress else True,
    )
    mine = [_reconstruct(job, settings) for job in bar]
    outcomes = [outcome for part in ranks.gathered(mine) for outcome in part]
    if not ranks.first:
        return ""
    # in the order of the plan, the finished ones first
    order = [str(job.path) for job in plan.jobs]
    outcomes = plan.done + sorted(outcomes, key=lambda outcome: order.index(outcome.path))
    table = None if output is None else output / RESULTS
    if table is not None:
        write_rows([row for one in outcomes for row in one.csv_rows], table, overwrite=True)
    text = summary(outcomes, plan.skipped, table)
    failed = [outcome for outcome in outcomes if outcome.failure]
    if failed:
        raise PartlyFailed(text, [Path(outcome.path).name for outcome in failed], len(outcomes))
    return text


def _reconstruct(job: Job, settings: Settings) -> Outcome:
    """Reconstruct and write one scan; what goes wrong is part of the outcome."""
    try:
        reader = settings.reader_of(job.path)
        result = reconstruct_scan(job.path, settings, reader, job.destination.check)
        job.destination.write(result)
        rows = [{"path": str(job.path), **row} for row in rows_of(result)]
        notes = [*result.problem.notes, *result.notes]
        outcome = Outcome(str(job.path), rows, notes)
        if job.record is not None:
            write_record(job, settings, outcome)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return Outcome(str(job.path), failure=" ".join(str(error).split()))
    except Exception as error:  # a reader or method that breaks must not stop the other scans
        reason = " ".join(str(error).split())
        return Outcome(str(job.path), failure=f"{type(error).__name__}: {reason}")
    return outcome
