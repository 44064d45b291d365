"""The `reconstruct` command: undersample scans, reconstruct them, say how well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from monarch_sciml._checks import message
from monarch_sciml.commands.reconstruct.output_files import Destination
from monarch_sciml.commands.reconstruct.pipeline import reconstruct_scan
from monarch_sciml.commands.reconstruct.plan import Plan, make_plan, write_record
from monarch_sciml.commands.reconstruct.processes import Processes, joined
from monarch_sciml.commands.reconstruct.report import (
    Outcome,
    PartlyFailed,
    report,
    rows_of,
    summary_of_scans,
)
from monarch_sciml.commands.reconstruct.settings import Settings, listed
from monarch_sciml.data.scans.source import ScanFile
from monarch_sciml.evaluation.results import write_rows


def reconstruct(
    path: Path | list[Path],
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> str:
    """Reconstruct scans with several methods, after leaving out samples on request.

    A fully sampled scan gives errors; an undersampled one gives images only. Several scans, or a
    folder of them, go on when one of them fails; processes started by `torchrun` share them out.

    Parameters
    ----------
    path
        Scans of any format that `info` knows: files, or folders of which every scan is taken.
    settings
        How, and where to.

    Returns
    -------
    What was done, and a table of errors (if there is a reference) and times.

    Raises
    ------
    FileExistsError
        When a file to write exists and neither `overwrite` nor `resume` is true.
    FileNotFoundError
        When a file to read is missing.
    OSError
        When nothing can be written where the output goes.
    ValueError
        When the scan, mask or runs cannot be used, for the reason given.
    PartlyFailed
        When some of several scans failed; `summary` is what would have been returned.

    Notes
    -----
    Errors are fastMRI's NMSE, PSNR and SSIM of the volume of magnitudes. The reference is the fully
    sampled scan combined with coil maps of unit norm: the given ones, or maps that are estimated
    from the full scan, whatever mask the reconstructions have to do with. In the .h5 file
    `reconstruction` (s, h, w) is that of the last method of the table, `reconstructions/NAME` that
    of each, and `complex_images/NAME` the same with its phase; other formats have a file for each
    method, FILE_METHOD, where there are several. With several scans, options of a reader, as `axes`
    and `contrast`, apply to the files of a format that has them.
    """
    paths = listed(path)
    if not paths:
        raise ValueError(message("there must be a scan to reconstruct", "none", "Name a file."))
    with joined() as processes:
        settings = replace(
            settings,
            device=str(processes.device(settings.device)),
            progress=settings.progress and processes.first,
        )
        if not settings.names:
            rule = "there must be a method or a run to reconstruct with"
            raise ValueError(message(rule, "none", "Pass --method all, say."))
        plan = processes.from_first(lambda: make_plan(paths, settings, several=processes.size > 1))
        if plan is None:
            return ""  # the first process says what is wrong
        if plan.single:
            return _one(plan, settings)
        return _all(plan, settings, processes)


def _one(plan: Plan, settings: Settings) -> str:
    """Reconstruct the one scan of a plan into files of its own, and say what was done."""
    if not plan.jobs:
        (finished,) = plan.done
        return f"{finished.path} is finished: {finished.notes[0]}"
    ((path, destination),) = plan.jobs.items()
    result = reconstruct_scan(ScanFile.recognised(path, settings.reader), settings)
    lines = destination.write(result)
    return "\n\n".join([report(result), *(["\n".join(lines)] if lines else [])])


def _all(plan: Plan, settings: Settings, processes: Processes) -> str:
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
        list(plan.jobs.items())[processes.rank :: processes.size],
        "scans",
        unit="scan",
        disable=None if settings.progress else True,
    )
    mine = [_outcome(path, destination, settings) for path, destination in bar]
    outcomes = [outcome for part in processes.gathered(mine) for outcome in part]
    if not processes.first:
        return ""
    # in the order of the plan, the finished ones first
    order = {str(path): number for number, path in enumerate(plan.jobs)}
    outcomes = plan.done + sorted(outcomes, key=lambda outcome: order[outcome.path])
    if plan.results is not None:
        rows = [row for outcome in outcomes for row in outcome.csv_rows]
        write_rows(rows, plan.results, overwrite=True)
    text = summary_of_scans(outcomes, plan.skipped, plan.results)
    failed = [Path(outcome.path).name for outcome in outcomes if outcome.failure]
    if failed:
        raise PartlyFailed(text, failed, len(outcomes))
    return text


def _outcome(path: Path, destination: Destination, settings: Settings) -> Outcome:
    """Reconstruct and write one scan; what goes wrong is part of the outcome."""
    try:
        file = ScanFile.recognised(path, settings.reader, foreign=True)
        result = reconstruct_scan(file, settings)
        destination.write(result)
        rows = [{"path": str(path), **row} for row in rows_of(result)]
        outcome = Outcome(str(path), rows, [*result.notes, *result.left_out])
        write_record(destination, settings, outcome)
        return outcome
    except Exception as error:  # a reader or method that breaks must not stop the other scans
        known = isinstance(error, ValueError | TypeError | OSError | ImportError)
        kind = "" if known else f"{type(error).__name__}: "
        return Outcome(str(path), failure=kind + " ".join(str(error).split()))
