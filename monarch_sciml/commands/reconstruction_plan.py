"""Which scans a call of `reconstruct` is about, where each of them goes, and which are finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file, writable_folder
from monarch_sciml.commands.reconstruction_files import Destination
from monarch_sciml.commands.reconstruction_settings import Settings
from monarch_sciml.commands.reconstruction_summary import Outcome
from monarch_sciml.data.hdf5 import HDF5_SIGNATURE, open_hdf5
from monarch_sciml.data.kspace import recognise
from monarch_sciml.data.scan_source import SUFFIXES

RECORDS = "records"
"""Folder in the output with a JSON file for every finished scan: what was done, and its numbers."""
RESULTS = "results.csv"


@dataclass(frozen=True)
class Job:
    """One scan of a call and the files that it becomes; `record` is None without output."""

    path: Path
    destination: Destination
    record: Path | None


@dataclass(frozen=True)
class Plan:
    """What a call has to do.

    Attributes
    ----------
    jobs
        The scans to reconstruct.
    done
        Those that are finished already.
    skipped
        Files of the folders that are no scans, and why.
    """

    jobs: list[Job] = field(default_factory=list)
    done: list[Outcome] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def make_plan(
    paths: Sequence[Path],
    output: Path | None,
    output_format: str,
    settings: Settings,
    *,
    resume: bool,
    overwrite: bool,
) -> Plan:
    """Find the scans, and where each of them goes; refuse what cannot be written."""
    plan, files = Plan(), []
    excluded = [path for path in (settings.mask_file, settings.coil_maps) if path is not None]
    for path in paths:
        files += scans_in(path, plan.skipped, excluded) if path.is_dir() else [path]
    files = list(dict.fromkeys(files))
    if output is not None and output.exists() and not output.is_dir():
        rule = "`output` must be a folder for several scans"
        raise FileExistsError(message(rule, f"the file {output}", "Name another."))
    table = None if output is None else output / RESULTS
    if table is not None and table.exists() and not (resume or overwrite):
        rule = "`output` must not hold results yet"
        remedy = "Pass --resume true to go on, --overwrite true, or another folder."
        raise FileExistsError(message(rule, str(table), remedy))
    for path, name in zip(files, _names(files)):
        job = _job(path, name, files, output, output_format, settings, resume or overwrite)
        finished = _finished(job, settings) if resume else None
        if finished is None:
            plan.jobs.append(job)
        else:
            plan.done.append(finished)
    if output is not None:
        for folder in (output, output / RECORDS):
            writable_folder(folder)
    return plan


def _job(
    path: Path,
    name: str,
    files: Sequence[Path],
    output: Path | None,
    output_format: str,
    settings: Settings,
    overwrite: bool,
) -> Job:
    """Return where a scan goes; ValueError when a file to write is one of the scans."""
    if output is None:
        return Job(path, Destination(None, None, overwrite), None)
    destination = Destination.checked(
        path, output / f"{name}.{output_format}", None, settings.names, overwrite=overwrite
    )
    sources = {file.resolve() for file in files}
    for file in destination.files(settings.names):
        if file.resolve() in sources:
            rule = "the output must not be one of the scans"
            raise FileExistsError(message(rule, str(file), "Name another folder."))
    return Job(path, destination, output / RECORDS / f"{name}.json")


def scans_in(folder: Path, skipped: dict[str, str], excluded: Sequence[Any]) -> list[Path]:
    """Return the scans of a folder, in the order of their names, damaged ones among them.

    Parameters
    ----------
    folder
        Where to look; not in the folders inside it.
    skipped
        Gets the names of the other files, and why they are no scans.
    excluded
        Files that are something else, as that of the mask.

    Raises
    ------
    FileNotFoundError
        When there is no scan.
    """
    found = []
    others = [path.resolve() for path in excluded if isinstance(path, Path)]
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or path.resolve() in others:
            continue
        if path.suffix == ".hdr" and path.with_suffix(".cfl").exists():
            continue  # read with the .cfl
        reason = _foreign(path)
        if reason is None:
            found.append(path)
        else:
            skipped[str(path)] = reason
    if not found:
        rule = f"{folder} must hold scans that end in {', '.join(SUFFIXES)}"
        got = f"{len(skipped)} other files" if skipped else "no files"
        raise FileNotFoundError(message(rule, got, "Folders inside it are not looked into."))
    return found


def _foreign(path: Path) -> str | None:
    """Say why a file is no scan; None for a scan, also for one that is damaged."""
    if path.suffix.lower() not in SUFFIXES:
        return "not the name of a scan"
    try:
        with path.open("rb") as stream:
            start = stream.read(len(HDF5_SIGNATURE))
        if not start:
            return None  # cut off at the start
        if start == HDF5_SIGNATURE:
            with open_hdf5(path):
                pass
    except (OSError, ValueError):
        return None
    try:
        recognise(path)
    except OSError:
        return None  # one half of a pair
    except ValueError as error:
        return str(error)
    return None


def _names(files: Sequence[Path]) -> list[str]:
    """Return a name without ending for each file, all of them different."""
    names: list[str] = []
    for path in files:
        stem, full = path.stem, path.name.replace(".", "_")
        candidates = [stem, full, f"{path.absolute().parent.name}_{full}"]
        candidates += [f"{full}_{number}" for number in range(2, len(files) + 2)]
        twins = sum(other.stem == stem for other in files)
        names.append(next(name for name in candidates[twins > 1 :] if name not in names))
    return names


def _finished(job: Job, settings: Settings) -> Outcome | None:
    """Return the outcome of a scan that is finished; None when it has to be done.

    Raises
    ------
    FileExistsError
        When it was finished with other settings.
    """
    if job.record is None or not job.record.exists():
        return None
    try:
        stored = json.loads(job.record.read_text(encoding="utf-8"))
        before, outputs = dict(stored["settings"]), stored["outputs"]
        outcome = Outcome(stored["path"], stored["rows"], stored["notes"], resumed=True)
        same = stored["source"] == _stamp(job.path)
    except (ValueError, KeyError, TypeError, OSError):
        return None
    if not same or not all((job.record.parents[1] / name).exists() for name in outputs):
        return None
    now = settings.description
    for key in sorted(now.keys() | before.keys()):
        if now.get(key) != before.get(key):
            rule = f"to resume, `{key}` must be {before.get(key)} as for the scans that are done"
            remedy = "Pass it, or --overwrite true in the place of --resume, or another folder."
            raise FileExistsError(message(rule, now.get(key), remedy))
    return outcome


def write_record(job: Job, settings: Settings, outcome: Outcome) -> None:
    """Say that a scan is finished: last of all, when its files are written."""
    if job.record is None:
        return
    methods = list(dict.fromkeys(row["method"] for row in outcome.rows))
    record: Mapping[str, Any] = {
        "path": outcome.path,
        "source": _stamp(job.path),
        "settings": settings.description,
        "outputs": [path.name for path in job.destination.files(methods)],
        "rows": outcome.rows,
        "notes": outcome.notes,
    }
    with whole_file(job.record, overwrite=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _stamp(path: Path) -> list[int]:
    """Return size and time of change of a file."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
