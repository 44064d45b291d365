"""The report of `reconstruct` on a scan: the steps taken, errors and times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from monarch_sciml.commands.reconstruct.pipeline import Result
from monarch_sciml.evaluation.number_text import MISSING

METRICS = {"nmse": ("NMSE", ".4g"), "psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f")}
"""Title and digits of each metric in tables."""


def report(result: Result) -> str:
    """Return what was reconstructed, and a table of times and, with a reference, of errors."""
    scan, reference = result.scan, result.reference
    slices = "1 slice" if scan.n_slices == 1 else f"{scan.n_slices} slices"
    coils = "1 coil" if scan.n_coils == 1 else f"{scan.n_coils} coils"
    matrix = "{} x {}".format(*scan.matrix)
    region = "{} x {}".format(*scan.calibration)
    achieved = f"{scan.acceleration:.2f} achieved, fully sampled centre {region}"
    if not scan.header.get("order_known", True):
        achieved = "not known, as the order of the lines"
    facts = {
        "scan": f"{scan.name} ({scan.header['format']}), {slices}, {coils}, {matrix}",
        "sampling": result.sampling,
        "acceleration": achieved,
        "coil maps": result.maps.origin,
        "reference": "none: no errors can be given" if reference is None else reference.origin,
    }
    lines = [f"{name + ':':<14}{value}" for name, value in facts.items()]
    lines += [f"{'note:':<14}{note}" for note in result.notes]
    left_out = ["", *result.left_out] if result.left_out else []
    return "\n".join([*lines, "", _table(rows_of(result)), *left_out])


def rows_of(result: Result) -> list[dict[str, Any]]:
    """Return a row for each method: the scan, errors where there is a reference, time."""
    scan, reference = result.scan, result.reference
    first = {
        "file": scan.name,
        "format": scan.header["format"],
        "slices": scan.n_slices,
        "coils": scan.n_coils,
        "height": scan.matrix[0],
        "width": scan.matrix[1],
        "sampling": result.sampling,
        "acceleration": scan.acceleration,
        "coil_maps": result.maps.origin,
        "reference": "none" if reference is None else reference.origin,
    }
    return [
        {**first, "method": name, **result.errors[name], "seconds_per_slice": found.seconds}
        for name, found in result.found.items()
    ]


def _table(rows: list[dict[str, Any]]) -> str:
    shown = []
    for row in rows:
        errors = {title: f"{row[m]:{digits}}" for m, (title, digits) in METRICS.items() if m in row}
        seconds = f"{row['seconds_per_slice']:.2g}"
        shown.append({"method": row["method"], **errors, "s per slice": seconds})
    return aligned(shown)


def aligned(rows: list[dict[str, Any]]) -> str:
    """Return a table of cells of text, the first column to the left."""
    align = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, headers="keys", colalign=align, disable_numparse=True)


MANY = 50
"""Number of scans above which tables over the scans show the means only."""
SHOWN = 10
"""How many names of files are listed at most."""


class PartlyFailed(RuntimeError):
    """Error that some scans failed while the others were reconstructed.

    Attributes
    ----------
    summary
        Report on all scans.
    """

    def __init__(self, summary: str, failed: Sequence[str], total: int) -> None:
        names = ", ".join(failed[:SHOWN]) + (", ..." if len(failed) > SHOWN else "")
        super().__init__(f"{len(failed)} of {total} scans failed: {names}. See the summary.")
        self.summary = summary


@dataclass(frozen=True)
class Outcome:
    """Describe the outcome of one scan.

    Attributes
    ----------
    path
        Its file.
    rows
        A row of results for each method; none when it failed.
    notes
        Notes on the scan.
    failure
        Reason why the scan failed, otherwise empty.
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


def summary_of_scans(
    outcomes: Sequence[Outcome], skipped: Mapping[str, str], table: Path | None
) -> str:
    """Return tables of the metrics, files by methods with their means, notes and failures."""
    good = [outcome for outcome in outcomes if outcome.rows]
    before = sum(outcome.resumed for outcome in outcomes)
    counts = f"{len(good)} of {len(outcomes)} scans reconstructed"
    counts += f", {before} of them before" if before else ""
    others = f"{len(skipped)} other file{'s' if len(skipped) > 1 else ''}"
    blocks = [counts + (f", {others} skipped" if skipped else "")]
    labels = _labels([outcome.path for outcome in outcomes])
    if good:
        blocks += [_scans(good, labels)] if len(good) <= MANY else []
        known = {metric for one in good for row in one.rows for metric in row}
        blocks += [_metric_table(metric, good, labels) for metric in METRICS if metric in known]
        times = _means(_columns("seconds_per_slice", good), ".2g")
        blocks.append(aligned([{"s per slice": "mean", **times}]))
    listed = {
        "notes:": [f"{labels[one.path]}: {note}" for one in outcomes for note in one.notes],
        "failed:": [f"{labels[one.path]}: {one.failure}" for one in outcomes if one.failure],
        "skipped:": _skipped(skipped),
    }
    for title, lines in listed.items():
        if lines:
            blocks.append("\n".join([title, *(f"  {line}" for line in lines)]))
    if table is not None:
        blocks.append(f"results: {table}")
    return "\n\n".join(blocks)


def _scans(outcomes: Sequence[Outcome], labels: Mapping[str, str]) -> str:
    """Return size and achieved acceleration of every scan."""
    firsts = {labels[outcome.path]: outcome.rows[0] for outcome in outcomes}
    return aligned(
        [
            {
                "scan": label,
                "format": row["format"],
                "slices": str(row["slices"]),
                "coils": str(row["coils"]),
                "matrix": f"{row['height']} x {row['width']}",
                "acceleration": f"{row['acceleration']:.2f}",
            }
            for label, row in firsts.items()
        ]
    )


def _metric_table(metric: str, outcomes: Sequence[Outcome], labels: Mapping[str, str]) -> str:
    """Return files by methods, and the mean over the files."""
    title, digits = METRICS[metric]
    columns, lines = _columns(metric, outcomes), []
    for outcome in outcomes if len(outcomes) <= MANY else ():
        found = {
            row["method"]: format(row[metric], digits) for row in outcome.rows if metric in row
        }
        lines.append({title: labels[outcome.path], **{m: found.get(m, MISSING) for m in columns}})
    counts = sorted({len(column) for column in columns.values()})
    name = f"mean of {'-'.join(map(str, counts))}"
    return aligned([*lines, {title: name, **_means(columns, digits)}])


def _columns(metric: str, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Return the values of a metric, by method; a method may have none."""
    columns: dict[str, list[float]] = {}
    for row in (row for outcome in outcomes for row in outcome.rows):
        columns.setdefault(row["method"], []).extend([row[metric]] if metric in row else [])
    return columns


def _means(columns: Mapping[str, list[float]], digits: str) -> dict[str, str]:
    means = {m: math.fsum(part) / len(part) if part else math.nan for m, part in columns.items()}
    return {method: format(mean, digits) for method, mean in means.items()}


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
