"""What `reconstruct` says of many scans: tables over the files, and what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monarch_sciml.commands.reconstruction_report import aligned
from monarch_sciml.evaluation._format import MISSING

METRICS = {"nmse": ("NMSE", ".4g"), "psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f")}
MANY = 50
"""Files above which the tables have no line for each of them; results.csv has."""
SHOWN = 10
"""Skipped files of one reason that are named."""


class PartlyFailed(RuntimeError):
    """Some scans failed; the others were reconstructed.

    Attributes
    ----------
    summary
        What is said about all of them.
    """

    def __init__(self, summary: str, failed: Sequence[str], total: int) -> None:
        names = ", ".join(failed[:SHOWN]) + (", ..." if len(failed) > SHOWN else "")
        super().__init__(f"{len(failed)} of {total} scans failed: {names}. See the summary.")
        self.summary = summary


@dataclass(frozen=True)
class Outcome:
    """What became of one scan.

    Attributes
    ----------
    path
        Its file.
    rows
        A row of results for each method; none when it failed.
    notes
        What has to be said about it.
    failure
        Why it failed; empty otherwise.
    resumed
        Whether it was finished before this call.
    """

    path: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    resumed: bool = False

    @property
    def csv_rows(self) -> list[dict[str, Any]]:
        """The rows of results.csv, one for a scan that failed as well."""
        if self.failure:
            return [{"path": self.path, "file": Path(self.path).name, "failure": self.failure}]
        return self.rows


def summary(outcomes: Sequence[Outcome], skipped: Mapping[str, str], table: Path | None) -> str:
    """Return tables of the metrics, files by methods with their means, notes and failures."""
    good = [outcome for outcome in outcomes if outcome.rows]
    failed = [outcome for outcome in outcomes if outcome.failure]
    before = sum(outcome.resumed for outcome in outcomes)
    counts = f"{len(good)} of {len(outcomes)} scans reconstructed"
    counts += f", {before} of them before" if before else ""
    others = f"{len(skipped)} other file{'s' if len(skipped) > 1 else ''}"
    blocks = [counts + (f", {others} skipped" if skipped else "")]
    labels = _labels([outcome.path for outcome in outcomes])
    if good:
        blocks += [_scans(good, labels)] if len(good) <= MANY else []
        blocks += [_metric_table(metric, good, labels) for metric in METRICS if _any(good, metric)]
        blocks.append(_times(good))
    listed = {
        "notes:": [f"{labels[one.path]}: {note}" for one in outcomes for note in one.notes],
        "failed:": [f"{labels[outcome.path]}: {outcome.failure}" for outcome in failed],
        "skipped:": _skipped(skipped),
    }
    for title, lines in listed.items():
        if lines:
            blocks.append("\n".join([title, *(f"  {line}" for line in lines)]))
    if table is not None:
        blocks.append(f"results: {table}")
    return "\n\n".join(blocks)


def _any(outcomes: Sequence[Outcome], metric: str) -> bool:
    return any(metric in row for outcome in outcomes for row in outcome.rows)


def _scans(outcomes: Sequence[Outcome], labels: Mapping[str, str]) -> str:
    """Return size and achieved acceleration of every scan."""
    lines = []
    for outcome in outcomes:
        row = outcome.rows[0]
        lines.append(
            {
                "scan": labels[outcome.path],
                "format": row["format"],
                "slices": str(row["slices"]),
                "coils": str(row["coils"]),
                "matrix": f"{row['height']} x {row['width']}",
                "acceleration": f"{row['acceleration']:.2f}",
            }
        )
    return aligned(lines)


def _metric_table(metric: str, outcomes: Sequence[Outcome], labels: Mapping[str, str]) -> str:
    """Return files by methods, and the mean over the files."""
    title, digits = METRICS[metric]
    methods = _methods(outcomes)
    lines, values = [], {method: [] for method in methods}
    for outcome in outcomes:
        found = {row["method"]: row[metric] for row in outcome.rows if metric in row}
        cells = {m: format(found[m], digits) if m in found else MISSING for m in methods}
        lines.append({title: labels[outcome.path], **cells})
        for method, value in found.items():
            values[method].append(value)
    lines = lines if len(lines) <= MANY else []
    counts = sorted({len(column) for column in values.values()})
    name = f"mean of {'-'.join(map(str, counts))}"
    means = {m: format(_mean(column), digits) for m, column in values.items()}
    return aligned([*lines, {title: name, **means}])


def _times(outcomes: Sequence[Outcome]) -> str:
    """Return the mean time of a slice, by method."""
    seconds: dict[str, list[float]] = {method: [] for method in _methods(outcomes)}
    for outcome in outcomes:
        for row in outcome.rows:
            seconds[row["method"]].append(row["seconds_per_slice"])
    return aligned(
        [{"s per slice": "mean", **{m: f"{_mean(part):.2g}" for m, part in seconds.items()}}]
    )


def _methods(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(row["method"] for outcome in outcomes for row in outcome.rows))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """Return the name of each file, the whole path where names are not unique."""
    names = [Path(path).name for path in paths]
    return {path: name if names.count(name) == 1 else path for path, name in zip(paths, names)}


def _skipped(skipped: Mapping[str, str]) -> list[str]:
    """Return a line for each reason, with the files it is about."""
    reasons: dict[str, list[str]] = {}
    for path, reason in skipped.items():
        reasons.setdefault(reason, []).append(Path(path).name)
    lines = []
    for reason, names in reasons.items():
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"{', '.join(names[:SHOWN])}{rest}: {reason}")
    return lines
