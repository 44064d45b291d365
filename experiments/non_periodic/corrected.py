"""The corrected transform on the tasks with walls, beside the best fixed transform.

python experiments/gather.py runs/non_periodic/TASK experiments/non_periodic/TASK/corrected
python experiments/non_periodic/corrected.py  # prints the table from every TASK/corrected.csv

The variant of a task (start DFT, DCT or DST, padded, another rate) is the one of the smallest
validation error with seed 0; the others have seed 0 only. Fixed transforms count with the seeds of
the chosen row.
"""

import csv
import statistics
from pathlib import Path

from monarch_sciml.evaluation.number_text import number_text, spread_text

HERE = Path(__file__).parent
METRIC = "relative_l2"
FIXED = ("FNO", "FNO, padded", "cosine", "PODNO")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def variant(network):
    return network.removeprefix("corrected, ").removeprefix("rank 2").removeprefix(", ") or "DFT"


def errors(rows, network, seeds=None):
    wanted = [row for row in rows if row["network"] == network]
    return [float(r[METRIC]) for r in wanted if seeds is None or r["seed"] in seeds]


def main():
    print(
        "| task | variant | seeds | corrected | others, seed 0 | best fixed | its error | ratio |"
    )
    print("|:--|:--|--:|--:|--:|:--|--:|--:|")
    lines = []
    for path in HERE.glob("*/corrected.csv"):
        ours, fixed = rows_of(path), rows_of(path.with_name("results.csv"))
        by_validation = {
            row["network"]: float(row[f"validation_{METRIC}"])
            for row in ours
            if row["seed"] == "0" and row[f"validation_{METRIC}"]  # none where it diverged
        }
        chosen, *others = sorted(by_validation, key=by_validation.__getitem__)
        seeds = {row["seed"] for row in ours if row["network"] == chosen}
        rivals = {name: errors(fixed, name, seeds) for name in FIXED}  # PODNO on one task only
        means = {name: statistics.mean(values) for name, values in rivals.items() if values}
        rival = min(means, key=means.__getitem__)
        found = errors(ours, chosen)
        ratio = statistics.mean(found) / means[rival]
        spread = statistics.stdev(found) if len(found) > 1 else None
        other = ", ".join(
            f"{number_text(errors(ours, name, {'0'})[0])} ({variant(name)})" for name in others
        )
        cells = [path.parent.name.replace("_", " "), variant(chosen), str(len(seeds))]
        cells += [spread_text(statistics.mean(found), spread), other, rival]
        cells += [number_text(means[rival]), f"{ratio:.2f}"]
        lines.append((ratio, "| " + " | ".join(cells) + " |"))
    for _, line in sorted(lines):
        print(line)


if __name__ == "__main__":
    main()
