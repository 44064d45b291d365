"""Long tables of results as CSV, with one row for every network and seed."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml._reading import existing_file

ResultRow = Mapping[str, Any]


def count_parameters(model: nn.Module) -> int:
    """Count the learnable real numbers of a model.

    A complex number counts as two; a parameter shared by several modules counts once; parameters
    with `requires_grad=False` and buffers do not count.

    Parameters
    ----------
    model
        Any module.

    Returns
    -------
    Number of real degrees of freedom that training may change.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(3, 2)
    >>> count_parameters(layer), count_parameters(torch.nn.Sequential(layer, layer))
    (8, 8)
    """
    learnable = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return sum(parameter.numel() * (2 if parameter.is_complex() else 1) for parameter in learnable)


def write_rows(rows: Iterable[ResultRow], path: str | Path, *, overwrite: bool = False) -> None:
    """Write long rows as CSV: the columns are those of all rows, in order of first appearance.

    Floats are written with every digit they have, a missing value as an empty cell.

    Raises
    ------
    ValueError
        When there are no rows.
    FileExistsError
        When `path` exists and `overwrite` is false.
    """
    rows = list(rows)
    if not rows:
        raise ValueError(message("results need at least one row", "none", "Evaluate a network."))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (
        whole_file(path, overwrite=overwrite) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Read the rows that `write_rows` wrote: numbers as int or float, empty cells as None.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is not a CSV table with a `network` column.
    """
    path = existing_file(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            rows = [{key: _value(key, text) for key, text in row.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        rule = "results must be a CSV table"
        raise ValueError(message(rule, f"{path} ({error})", "Pass a results.csv.")) from error
    if "network" not in columns:
        rule = f"{path} must have a column `network`"
        raise ValueError(message(rule, ", ".join(columns) or "no columns", "Pass a results.csv."))
    return rows


def as_float(value: Any) -> float:
    """Return `value` as float; NaN for an empty cell, None or text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _value(column: str | None, text: Any) -> Any:
    """Return the int, float or text of one cell; a network's name always stays text."""
    if column == "network" or not isinstance(text, str):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
