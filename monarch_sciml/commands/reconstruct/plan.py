"""The scans of a call of `reconstruct`, their output files, and those already finished."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file, writable_folder
from monarch_sciml.commands.reconstruct.output_files import (
    HDF5,
    Destination,
    ending_of,
    files_of,
)
from monarch_sciml.commands.reconstruct.report import Outcome
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.formats.bart import is_pair, pair_of
from monarch_sciml.data.scans.recognise import scans_in

RECORDS = "records"
"""Folder in the output with a JSON file for every finished scan: what was done, and its numbers."""
RESULTS = "results.csv"


@dataclass(frozen=True)
class Plan:
    """Describe the work of a call.

    Attributes
    ----------
    results
        File of the table to write, or None for no table.
    jobs
        The scans to reconstruct, with their output files.
    done
        The scans that are finished already.
    skipped
        Files of the folders that are not scans, with the reasons.
    single
        Whether it is about one scan with a file, or nothing, as its output.
    """

    results: Path | None
    jobs: dict[Path, Destination]
    done: list[Outcome]
    skipped: dict[str, str]
    single: bool = False


def make_plan(paths: Sequence[Path], settings: Settings, *, several: bool) -> Plan:
    """Find the scans, and where each of them goes; refuse what cannot be written.

    Parameters
    ----------
    paths
        Files and folders.
    settings
        Whose output, format and figure are meant.
    several
        Whether several processes share the work, for which the output must be a folder.

    Raises
    ------
    FileExistsError, FileNotFoundError, OSError, ValueError
        When the work cannot begin.
    """
    several = several or len(paths) > 1 or paths[0].is_dir()
    _check_output(settings, several=several)
    output = settings.output
    if not (several or _is_folder(output)):
        return _plan_of_one(paths[0], settings)
    named = (settings.mask_file, settings.coil_maps, settings.reference_scan, settings.sequence)
    named = (*named, settings.encoding)
    others = [path for path in named if isinstance(path, Path)]
    scans, skipped = scans_in(paths, files_of(others))
    if output is None:
        return Plan(None, dict.fromkeys(scans, Destination()), [], skipped)
    _check_folder(output, replace=settings.replaces)
    plan, sources = Plan(output / RESULTS, {}, [], skipped), files_of(scans)
    for path, name in zip(scans, _names(scans)):
        destination = Destination.checked(
            sources,
            output / f"{name}.{settings.output_format or 'h5'}",
            None,
            settings.names,
            overwrite=settings.replaces,
            record=output / RECORDS / f"{name}.json",
        )
        finished = _finished(path, destination, settings) if settings.resume else None
        if finished is None:
            plan.jobs[path] = destination
        else:
            plan.done.append(finished)
    writable_folder(output)
    writable_folder(output / RECORDS)
    return plan


def _plan_of_one(path: Path, settings: Settings) -> Plan:
    """Return the plan of one scan with files of its own; `jobs` is empty when they are there."""
    destination = Destination.checked(
        files_of([path]),
        settings.output,
        settings.figure,
        settings.names,
        overwrite=settings.replaces,
    )
    files = destination.files(settings.names)
    if settings.resume and files and all(file.exists() for file in files):
        there = ", ".join(map(str, files))
        return Plan(None, {}, [Outcome(str(path), notes=[there], resumed=True)], {}, single=True)
    for folder in {file.absolute().parent for file in files}:
        writable_folder(folder)
    return Plan(None, {path: destination}, [], {}, single=True)


def _is_folder(output: Path | None) -> bool:
    """Return whether an output stands for a folder: it is one, or has no ending."""
    return output is not None and (output.is_dir() or not output.suffix)


def _check_output(settings: Settings, *, several: bool) -> None:
    """Refuse the name of a file where a folder is needed, or one of another format."""
    output, form, figure = settings.output, settings.output_format, settings.figure
    ending = "" if output is None or _is_folder(output) else ending_of(output)
    if several and ending:
        rule = "`output` must be a folder for several scans or processes"
        raise ValueError(message(rule, str(output), "Choose the format with --output_format."))
    if figure is not None and (several or _is_folder(output)):
        rule = "`figure` is for a single scan with a file as its output"
        raise ValueError(message(rule, str(figure), "Figures go into the folder of `output`."))
    if form is not None and output is None:
        rule = "`output_format` is for images in a folder, which `output` names"
        raise ValueError(message(rule, form, "Pass --output FOLDER too."))
    wanted = HDF5 if form == "h5" else (f".{form}",)
    if form is not None and ending and ending not in wanted:
        rule = f"`output` must end in .{form}, or be a folder"
        raise ValueError(message(rule, output, "Leave out `output_format`."))


def _check_folder(output: Path, *, replace: bool) -> None:
    """Refuse an output that is a file, or holds results that must not be replaced."""
    if output.exists() and not output.is_dir():
        rule = "`output` must be a folder for several scans"
        raise FileExistsError(message(rule, f"the file {output}", "Name another."))
    if (output / RESULTS).exists() and not replace:
        rule = "`output` must not hold results yet"
        remedy = "Pass --resume true to go on, --overwrite true, or another folder."
        raise FileExistsError(message(rule, str(output / RESULTS), remedy))


def _names(files: Sequence[Path]) -> list[str]:
    """Return a name without ending for each file, all of them different."""
    names: dict[str, None] = {}
    stems = Counter(path.stem for path in files)
    for path in files:
        full = path.name.replace(".", "_")
        candidates = chain(
            [path.stem] if stems[path.stem] == 1 else [],
            [full, f"{path.absolute().parent.name}_{full}"],
            (f"{full}_{number}" for number in count(2)),
        )
        names[next(name for name in candidates if name not in names)] = None
    return list(names)


def _finished(path: Path, destination: Destination, settings: Settings) -> Outcome | None:
    """Return the outcome of a scan that is finished; None when it has to be done.

    Raises
    ------
    FileExistsError
        When it was finished with other settings.
    """
    record = destination.record
    if record is None or not record.exists():
        return None
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
        before, outputs = dict(stored["settings"]), stored["outputs"]
        outcome = Outcome(stored["path"], stored["rows"], stored["notes"], resumed=True)
        same = stored["source"] == _stamp(path)
    except (ValueError, KeyError, TypeError, OSError):
        return None
    if not same or not all((record.parents[1] / name).exists() for name in outputs):
        return None
    now = settings.description
    for key in sorted(now.keys() | before.keys()):
        if now.get(key) != before.get(key):
            rule = f"to resume, `{key}` must be {before.get(key)} as for the scans that are done"
            remedy = "Pass it, or --overwrite true in the place of --resume, or another folder."
            raise FileExistsError(message(rule, now.get(key), remedy))
    return outcome


def write_record(destination: Destination, settings: Settings, outcome: Outcome) -> None:
    """Record that a scan is finished, after all its files are written."""
    if destination.record is None:
        return
    methods = dict.fromkeys(row["method"] for row in outcome.rows)
    record = {
        "path": outcome.path,
        "source": _stamp(Path(outcome.path)),
        "settings": settings.description,
        "outputs": [path.name for path in destination.files(methods)],
        "rows": outcome.rows,
        "notes": outcome.notes,
    }
    with whole_file(destination.record, overwrite=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _stamp(path: Path) -> list[int]:
    """Return size and time of change of a scan, of the values of a BART pair."""
    stat = (pair_of(path)[1] if is_pair(path) else path).stat()
    return [stat.st_size, stat.st_mtime_ns]
