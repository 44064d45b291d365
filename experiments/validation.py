"""The best validation figure of every run of a comparison: what learning rates are chosen by.

    python experiments/validation.py relative_l2 runs/non_periodic/tuning/darcy

prints a Markdown table, from the metrics.csv of each run; the smallest of a row's figures counts.
"""

import csv
import math
import sys
from pathlib import Path

from tabulate import tabulate

from monarch_sciml.evaluation.number_text import number_text
from monarch_sciml.evaluation.results import as_float


def best(path: Path, metric: str) -> float:
    with path.open(newline="", encoding="utf-8") as file:
        figures = [as_float(row[f"validation_{metric}"]) for row in csv.DictReader(file)]
    return min((figure for figure in figures if math.isfinite(figure)), default=math.nan)


def main(metric: str, folder: str) -> None:
    paths = sorted(Path(folder).glob("*/seed-*/metrics.csv"))
    rows = [[p.parts[-3], p.parts[-2][5:], number_text(best(p, metric))] for p in paths]
    headers = ["network", "seed", f"validation {metric}"]
    print(tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
