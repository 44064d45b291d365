"""Add the results of a comparison to those that are kept beside its configuration.

    python experiments/gather.py runs/fixed_medium/wave_2d experiments/fixed_medium/wave_2d
    python experiments/gather.py runs/non_periodic/darcy experiments/non_periodic/darcy/corrected

The second argument is a folder (results.csv and environment.json in it), or the start of two file
names (corrected.csv and corrected_environment.json). Rows of other networks and seeds stay, those
of the same network and seed are replaced. `commit` says which commit a row is of,
`validation_METRIC` is the least validation error of its run (the metric that stands first); an
environment of another commit comes beside the first, with the commit in its name.
"""

import csv
import json
import sys
from pathlib import Path

from validation import best

from monarch_sciml._files import write_text


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def commit_of(path: Path) -> str:
    environment = json.loads(path.read_text(encoding="utf-8"))
    return (environment["git_commit"] or "unknown")[:7] + "+" * bool(environment["git_modified"])


def rows_of(run: Path) -> list[dict[str, str]]:
    """The rows of a comparison, with their commit and validation error."""
    rows = read(run / "results.csv")
    for row in rows:
        row["commit"] = commit_of(run / "environment.json")
        metrics = run / row["network"] / f"seed-{row['seed']}" / "metrics.csv"
        logged = next(iter(read(metrics)), {})
        if names := [name for name in logged if name.startswith("validation_")]:
            row[names[0]] = str(best(metrics, names[0].removeprefix("validation_")))
    return rows


def main(run: str, target: str) -> None:
    source, place = Path(run), Path(target)
    kept = place / "results.csv" if place.is_dir() else place.with_name(place.name + ".csv")
    stem = "environment" if place.is_dir() else place.name + "_environment"
    first = kept.with_name(stem + ".json")
    old, new = read(kept), rows_of(source)
    replaced = {(row["network"], row["seed"]) for row in new}
    for row in old:
        row.setdefault("commit", commit_of(first))
    rows = [row for row in old if (row["network"], row["seed"]) not in replaced] + new
    order = list(dict.fromkeys(row["network"] for row in rows))
    rows.sort(key=lambda row: (order.index(row["network"]), int(row["seed"])))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    commit = commit_of(source / "environment.json")
    if first.exists() and commit_of(first) != commit:
        first = first.with_name(f"{stem}_{commit}.json")
    write_text(first, (source / "environment.json").read_text(encoding="utf-8"))
    with kept.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{kept}: {len(new)} rows of {source}, {len(rows) - len(new)} kept")


if __name__ == "__main__":
    main(*sys.argv[1:])
