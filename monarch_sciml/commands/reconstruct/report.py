"""What `reconstruct` says of a scan: what was done, errors and times."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from monarch_sciml.commands.reconstruct.scan import Result

METRICS = {"nmse": ("NMSE", ".4g"), "psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f")}
"""Title and digits of each metric in tables."""


def report(result: Result) -> str:
    """Return what was reconstructed, and a table of times and, with a reference, of errors."""
    scan, reference = result.scan, result.reference
    slices = "1 slice" if scan.n_slices == 1 else f"{scan.n_slices} slices"
    coils = "1 coil" if scan.n_coils == 1 else f"{scan.n_coils} coils"
    matrix = "{} x {}".format(*scan.matrix)
    region = "{} x {}".format(*scan.calibration)
    facts = {
        "scan": f"{scan.name} ({scan.header['format']}), {slices}, {coils}, {matrix}",
        "sampling": result.sampling,
        "acceleration": f"{scan.acceleration:.2f} achieved, fully sampled centre {region}",
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
