"""The corrected transform on the tasks with walls, beside the best fixed transform.

python experiments/non_periodic/corrected.py collect  # runs/non_periodic -> TASK/corrected.csv
python experiments/non_periodic/corrected.py          # prints the table of the page from them

The start (DFT, DCT or DST) of a task is the one of the smaller validation error with seed 0; a row
of both starts has seed 0 only. Fixed transforms count with the seeds of the chosen row.
"""

import csv
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from validation import best

from monarch_sciml.evaluation.number_text import number_text, spread_text

HERE = Path(__file__).parent
RUNS = Path("runs/non_periodic")
METRIC = "relative_l2"
FIXED = ("FNO", "FNO, padded", "cosine")
STARTS = {"corrected, rank 2" + start: start[2:] or "DFT" for start in ("", ", DCT", ", DST")}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def collect():
    """Copy the results of the runs, with the least validation error of each."""
    for source in sorted(RUNS.glob("*/results.csv")):
        rows = [row for row in rows_of(source) if row["network"].startswith("corrected")]
        for row in rows:
            metrics = source.parent / row["network"] / f"seed-{row['seed']}" / "metrics.csv"
            row[f"validation_{METRIC}"] = best(metrics, METRIC)
        target = HERE / source.parent.name
        with (target / "corrected.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        shutil.copy(source.parent / "environment.json", target / "corrected_environment.json")


def errors(rows, network, seeds=None):
    wanted = [row for row in rows if row["network"] == network]
    return [float(r[METRIC]) for r in wanted if seeds is None or r["seed"] in seeds]


def main():
    print("| task | start | seeds | corrected | other start | best fixed | its error | ratio |")
    print("|:--|:--|--:|--:|--:|:--|--:|--:|")
    lines = []
    for path in HERE.glob("*/corrected.csv"):
        ours, fixed = rows_of(path), rows_of(path.with_name("results.csv"))
        by_validation = {
            row["network"]: float(row[f"validation_{METRIC}"])
            for row in ours
            if row["seed"] == "0" and row["network"] in STARTS
        }
        chosen, *others = sorted(by_validation, key=by_validation.__getitem__)
        seeds = {row["seed"] for row in ours if row["network"] == chosen}
        means = {name: statistics.mean(errors(fixed, name, seeds)) for name in FIXED}
        rival = min(means, key=means.__getitem__)
        found = errors(ours, chosen)
        ratio = statistics.mean(found) / means[rival]
        spread = statistics.stdev(found) if len(found) > 1 else None
        other = ", ".join(number_text(errors(ours, name, {"0"})[0]) for name in others)
        cells = [path.parent.name.replace("_", " "), STARTS[chosen], str(len(seeds))]
        cells += [spread_text(statistics.mean(found), spread), other, rival]
        cells += [number_text(means[rival]), f"{ratio:.2f}"]
        lines.append((ratio, "| " + " | ".join(cells) + " |"))
    for _, line in sorted(lines):
        print(line)


if __name__ == "__main__":
    collect() if sys.argv[1:] == ["collect"] else main()
