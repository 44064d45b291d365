"""Print the tables of the page from results.csv: means and standard deviations over scanners.

python experiments/wrong_fft/table.py
"""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

ROWS = csv.DictReader((Path(__file__).parent / "results.csv").open(newline=""))
FOUND: dict[tuple, dict[str, float]] = {}
for _row in ROWS:
    _key = tuple(
        _row[name] for name in ("method", "encoding", "calibration_slices", "acceleration")
    )
    FOUND.setdefault(_key, {})[_row["seed"]] = float(_row["nmse"])

IDEAL = "MoDL of an ideal scanner"
ENCODINGS = (
    "ridge, a matrix per column",
    "ridge, one matrix",
    "ridge, smooth bands",
    "corrected",
    "28 physical numbers",
)
FIRST = [
    ("CG-SENSE", "FFT", 0),
    ("l1-wavelet", "FFT", 0),
    ("U-Net", "FFT", 0),
    ("VarNet", "FFT", 0),
    ("MoDL", "FFT", 0),
    *(("CG-SENSE", encoding, 4) for encoding in ENCODINGS),
    ("l1-wavelet", "corrected", 4),
    (IDEAL, "corrected", 4),
    ("CG-SENSE", "oracle", 0),
]
"""Rows of the first table: method, encoding, calibration slices."""


def values_of(*key) -> dict[str, float]:
    """Return the NMSE of each scanner."""
    return FOUND.get(tuple(map(str, key)), {})


def cell(*key) -> str:
    """Return mean ± standard deviation of the NMSE over the scanners, or nothing."""
    values = list(values_of(*key).values())
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def ratios(ours: tuple, theirs: tuple) -> list[float]:
    """Return the ratio of two entries for each scanner that has both."""
    a, b = values_of(*ours), values_of(*theirs)
    return [a[seed] / b[seed] for seed in sorted(a.keys() & b.keys())]


def ratio(ours: tuple, theirs: tuple) -> str:
    """Return the mean over scanners of the ratio of two entries, and its range."""
    values = ratios(ours, theirs)
    if not values:
        return ""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def line(*cells) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def main() -> None:
    print("NMSE\n")
    line("method", "encoding", "slices", "R = 1", "R = 2", "R = 3", "to the FFT, R = 2", "scanners")
    line(":--", ":--", *["--:"] * 6)
    for method, encoding, slices in FIRST:
        same = "MoDL" if method == IDEAL else method
        to_fft = (
            "" if encoding == "FFT" else ratio((method, encoding, slices, 2), (same, "FFT", 0, 2))
        )
        cells = [cell(method, encoding, slices, r) for r in (1, 2, 3)]
        n = len(values_of(method, encoding, slices, 2))
        line(method, encoding, slices or "", *cells, to_fft, n)
    print("\nCG-SENSE, R = 2, by calibration slices\n")
    line("encoding", 1, 4, 16, 64)
    line(":--", *["--:"] * 4)
    for encoding in ENCODINGS:
        line(encoding, *(cell("CG-SENSE", encoding, slices, 2) for slices in (1, 4, 16, 64)))
    print("\nMoDL of an ideal scanner, R = 2, 4 slices\n")
    for encoding in ENCODINGS:
        line(encoding, cell(IDEAL, encoding, 4, 2))
    line("oracle", cell(IDEAL, "oracle", 0, 2))
    print("\nRatios of `corrected` with 4 slices: mean over scanners (least to largest)\n")
    line("", "R = 1", "R = 2", "R = 3")
    line(":--", *["--:"] * 3)
    for method in ("CG-SENSE", "l1-wavelet", IDEAL):
        same = "MoDL" if method == IDEAL else method
        others = {"the FFT": (same, "FFT", 0), "the oracle": (method, "oracle", 0)}
        others |= {name: (method, name, 4) for name in ENCODINGS if name != "corrected"}
        for name, key in others.items():
            found = [ratio((method, "corrected", 4, r), (*key, r)) for r in (1, 2, 3)]
            line(f"{method}, to {name}", *found)
    for name in ("U-Net", "VarNet", "MoDL"):
        found = [ratio(("CG-SENSE", "corrected", 4, r), (name, "FFT", 0, r)) for r in (1, 2, 3)]
        line(f"CG-SENSE, to {name} with the FFT", *found)


if __name__ == "__main__":
    main()
