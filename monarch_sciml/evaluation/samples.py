"""The results of networks on every test sample as long rows, with means and standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from torch import Tensor

from monarch_sciml.evaluation.rendering import header, laid_out, summary_text
from monarch_sciml.evaluation.results import ResultRow
from monarch_sciml.evaluation.summary import Summary
from monarch_sciml.evaluation.tables import ComparisonTable

ELSEWHERE = "evaluated_on"
"""Column of the further data set that a row belongs to; empty for the test samples of the data."""


def sample_rows(
    run: Mapping[str, Any],
    metrics: Mapping[str, Tensor],
    *,
    unit: str,
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return one row for every test sample of a run.

    Parameters
    ----------
    run
        First columns of all rows: `network`, `seed` and possibly the further data set.
    metrics
        For each metric the values (V,) of all trajectories or volumes, as `evaluate_model` returns
        them.
    unit
        Column that names the sample: "sample" or "volume".
    names
        Names of the V samples; by default their numbers from 0.

    Returns
    -------
    V rows; none where there are no metrics.

    Examples
    --------
    >>> import torch
    >>> run, metrics = {"network": "mSENSE", "seed": 0}, {"psnr": torch.tensor([31.0, 33.0])}
    >>> sample_rows(run, metrics, unit="volume", names=["a.h5", "b.h5"])[1]
    {'network': 'mSENSE', 'seed': 0, 'volume': 'b.h5', 'psnr': 33.0}
    """
    n_units = max((len(values) for values in metrics.values()), default=0)
    named = range(n_units) if names is None else names
    columns = {metric: values.tolist() for metric, values in metrics.items()}
    return [
        {**run, unit: name, **{metric: values[i] for metric, values in columns.items()}}
        for i, name in zip(range(n_units), named, strict=True)
    ]


def samples_table(table: ComparisonTable, rows: Iterable[ResultRow], *, unit: str) -> str:
    r"""Return, as GitHub Markdown, mean ± standard error over the test samples of each network.

    .. math:: \bar m = \frac1n \sum_v m_v, \qquad
              \mathrm{SE} = \sqrt{\frac{1}{n (n - 1)} \sum_v (m_v - \bar m)^2},

    with m_v the mean over seeds of the metric of test sample v.

    Parameters
    ----------
    table
        The comparison over seeds: its networks and metrics, in its order.
    rows
        The rows that `sample_rows` returned for the test samples, for all seeds.
    unit
        The column of `rows` that names the sample.

    Notes
    -----
    The standard error measures the effect of other test samples, and the spread over seeds in
    `table` that of other initial weights. A seed whose value is not finite is left out.
    """
    values: dict[str, dict[Any, list[ResultRow]]] = {}
    for row in rows:
        values.setdefault(str(row["network"]), {}).setdefault(row[unit], []).append(row)
    lines, n_most = [], 0
    for result in table.results:
        units = values.get(result.network, {})
        n_most = max(n_most, len(units))
        cells = [summary_text(_over_units(units.values(), metric)) for metric in table.metrics]
        lines.append([result.network, str(len(units)), *cells])
    headers = ["network", f"{unit}s", *(header(table, metric) for metric in table.metrics)]
    note = f"One test {unit}, hence no standard error."
    if n_most > 1:
        note = f"±: standard error of the mean over test {unit}s"
        note += f", s / sqrt(n); the value of a {unit} is the mean over seeds."
    return f"{laid_out(headers, lines, markdown=True)}\n\n{note}"


def _over_units(units: Iterable[Sequence[ResultRow]], metric: str) -> Summary:
    """Return the mean over units, and its standard error as spread, of means over seeds."""
    means = []
    for rows in units:
        good = [float(row[metric]) for row in rows if math.isfinite(row.get(metric, math.nan))]
        means.append(fmean(good) if good else math.nan)
    summary = Summary.of(means or [math.nan])
    if summary.spread is None:
        return summary
    return replace(summary, spread=summary.spread / math.sqrt(summary.n_runs - summary.n_failed))
