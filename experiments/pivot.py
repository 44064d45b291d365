"""One metric of several results side by side: a row a method, a column a result.

    python experiments/pivot.py psnr 2x=runs/table4/2x 4x=runs/table4/4x
    python experiments/pivot.py psnr 2x=runs/real/2x:larson_se_t1_sag.mat

prints a Markdown table of mean ± sample standard deviation over seeds, from the results.csv of each
folder (of a comparison, or of one call of `reconstruct` a seed in seed-N, and there of one scan).
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from tabulate import tabulate

from monarch_sciml.evaluation.number_text import MISSING
from monarch_sciml.evaluation.results import as_float


def column(source: str, metric: str) -> dict[str, str]:
    folder, _, scan = source.partition(":")
    values = defaultdict(list)
    for path in sorted(Path(folder).glob("seed-*/results.csv" if scan else "results.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if not scan or row["file"] == scan:
                    values[row["method" if scan else "network"]].append(as_float(row[metric]))
    return {name: _text(found) for name, found in values.items()}


def _text(found: list[float]) -> str:
    spread = stdev(found) if len(found) > 1 else 0.0
    return f"{fmean(found):.4g}" + (f" ± {spread:.2g}" if spread else "")


def main(metric: str, *sources: str) -> None:
    columns = {name: column(path, metric) for name, path in (s.split("=") for s in sources)}
    methods = dict.fromkeys(name for found in columns.values() for name in found)
    rows = [[name, *(found.get(name, MISSING) for found in columns.values())] for name in methods]
    print(tabulate(rows, headers=[metric, *columns], tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
