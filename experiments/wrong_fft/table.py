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


def cell(*key) -> str:
    """Return mean ± standard deviation of the NMSE over the scanners, or nothing."""
    values = list(FOUND.get(tuple(map(str, key)), {}).values())
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def ratio(ours: tuple, theirs: tuple) -> str:
    """Return the mean over scanners of the ratio of two entries, and its range."""
    a, b = (FOUND.get(tuple(map(str, key)), {}) for key in (ours, theirs))
    values = [a[seed] / b[seed] for seed in a.keys() & b.keys()]
    if not values:
        return "-"
    return (
        f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}, n={len(values)})"
    )


def main() -> None:
    methods = sorted({(m, e, int(c)) for m, e, c, _ in FOUND}, key=lambda k: (k[0], k[2], k[1]))
    print("method | encoding | slices | R = 1 | R = 2 | R = 3 | scanners")
    for method, encoding, slices in methods:
        cells = [cell(method, encoding, slices, r) for r in (1, 2, 3)]
        n = len(FOUND.get((method, encoding, str(slices), "2"), {}))
        print(method, encoding, slices, *cells, n, sep=" | ")
    networks = ("U-Net", "VarNet", "MoDL")
    print("\nratios of `corrected`, 4 slices")
    for r in (1, 2, 3):
        for method in ("CG-SENSE", "l1-wavelet"):
            ours = (method, "corrected", 4, r)
            print(r, method, "to the FFT", ratio(ours, (method, "FFT", 0, r)))
            for name in ("oracle", "28 physical numbers", "ridge, smooth bands"):
                other = (method, name, 0 if name == "oracle" else 4, r)
                print(r, method, f"to {name}", ratio(ours, other))
        modl = ("MoDL of an ideal scanner", "corrected", 4, r)
        print(r, "MoDL to MoDL with the FFT", ratio(modl, ("MoDL", "FFT", 0, r)))
        for name in networks:
            print(
                r,
                f"CG-SENSE to {name}",
                ratio(("CG-SENSE", "corrected", 4, r), (name, "FFT", 0, r)),
            )


if __name__ == "__main__":
    main()
