"""What `reconstruct` says of a scan: what was done, errors and times."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from monarch_sciml.commands.reconstruction_reference import errors_of
from monarch_sciml.commands.reconstruction_settings import Result


def report(result: Result) -> str:
    """Return what was reconstructed, and a table of times and, with a reference, of errors."""
    problem, scan = result.problem, result.problem.scan
    reference = problem.reference
    slices = "1 slice" if scan.n_slices == 1 else f"{scan.n_slices} slices"
    coils = "1 coil" if scan.n_coils == 1 else f"{scan.n_coils} coils"
    matrix = "{} x {}".format(*scan.matrix)
    region = "{} x {}".format(*scan.calibration)
    facts = {
        "scan": f"{scan.name} ({scan.header['format']}), {slices}, {coils}, {matrix}",
        "sampling": result.sampling,
        "acceleration": f"{scan.acceleration:.2f} achieved, fully sampled centre {region}",
        "coil maps": problem.maps.origin,
        "reference": "none: no errors can be given" if reference is None else reference.origin,
    }
    lines = [f"{name + ':':<14}{value}" for name, value in facts.items()]
    lines += [f"{'note:':<14}{note}" for note in problem.notes]
    notes = ["", *result.notes] if result.notes else []
    return "\n".join([*lines, "", _table(rows_of(result)), *notes])


def rows_of(result: Result) -> list[dict[str, Any]]:
    """Return a row for each method: the scan, errors where there is a reference, time."""
    problem, scan = result.problem, result.problem.scan
    first = {
        "file": scan.name,
        "format": scan.header["format"],
        "slices": scan.n_slices,
        "coils": scan.n_coils,
        "height": scan.matrix[0],
        "width": scan.matrix[1],
        "sampling": result.sampling,
        "acceleration": scan.acceleration,
        "coil_maps": problem.maps.origin,
        "reference": "none" if problem.reference is None else problem.reference.origin,
    }
    rows = []
    for name, found in result.found.items():
        row: dict[str, Any] = {**first, "method": name}
        if problem.reference is not None:
            row |= errors_of(found.magnitude, problem.reference.image)
        rows.append({**row, "seconds_per_slice": found.seconds})
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    shown = []
    for row in rows:
        cells: dict[str, Any] = {"method": row["method"]}
        if "nmse" in row:
            cells |= {
                "NMSE": f"{row['nmse']:.4g}",
                "PSNR (dB)": f"{row['psnr']:.2f}",
                "SSIM": f"{row['ssim']:.4f}",
            }
        shown.append({**cells, "s per slice": f"{row['seconds_per_slice']:.2g}"})
    return aligned(shown)


def aligned(rows: list[dict[str, Any]]) -> str:
    """Return a table of cells of text, the first column to the left."""
    align = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, headers="keys", colalign=align, disable_numparse=True)
