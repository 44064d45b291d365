"""The comparison of networks over seeds: means, spreads and changes against a baseline."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from monarch_sciml._checks import message, one_of
from monarch_sciml.evaluation.rendering import render_table, result_cells
from monarch_sciml.evaluation.results import ResultRow, write_rows
from monarch_sciml.evaluation.summary import NetworkResult, Summary


@dataclass(frozen=True)
class ComparisonTable:
    """Compare networks on the same test set under one budget.

    Build it with `from_rows`. Losses against the baseline are shown like gains, and a failed run
    (with a NaN, infinite or missing value) is counted in its cell and never dropped.

    Attributes
    ----------
    results
        One `NetworkResult` per network, in order of first appearance.
    metrics
        Names of the metric columns.
    baseline
        Name of the network with which the others are compared. None leaves out the comparison.
    lower_is_better
        Metrics of which a smaller value is better, such as errors, unlike PSNR and SSIM.

    Examples
    --------
    >>> rows = [
    ...     {"network": "FNO", "seed": 0, "rel_l2": 0.20},
    ...     {"network": "FNO", "seed": 1, "rel_l2": 0.22},
    ...     {"network": "Monarch-NO", "seed": 0, "rel_l2": 0.10},
    ...     {"network": "Monarch-NO", "seed": 1, "rel_l2": 0.11},
    ... ]
    >>> table = ComparisonTable.from_rows(rows, metrics=["rel_l2"], baseline="FNO")
    >>> round(table.change("Monarch-NO", "rel_l2"), 6)
    -50.0
    >>> table.best("rel_l2")
    ('Monarch-NO',)
    """

    results: tuple[NetworkResult, ...]
    metrics: tuple[str, ...]
    baseline: str | None
    lower_is_better: frozenset[str]

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[ResultRow],
        metrics: Sequence[str],
        *,
        baseline: str | None = None,
        lower_is_better: Collection[str] | None = None,
    ) -> ComparisonTable:
        """Build the table from long rows, one per network and seed.

        Parameters
        ----------
        rows
            Each row maps `network`, `seed` (None or absent for an untrained method), every name
            in `metrics` (test-set mean of that run), `n_parameters`, `epochs`,
            `seconds_per_epoch` and `seconds` to a value; all but `network` may be absent.
        metrics
            Metric columns to show, in this order.
        baseline
            Network of reference.
        lower_is_better
            Metrics of which a smaller value is better; by default all whose name holds neither
            "psnr" nor "ssim".

        Raises
        ------
        ValueError
            When there are no rows, a metric is in no row, the baseline is not among the networks,
            or a network has two rows for one seed or two numbers of parameters.
        """
        rows = list(rows)
        if not rows:
            raise ValueError(message("a table needs at least one row", "none", "Add results."))
        columns = dict.fromkeys(column for row in rows for column in row)
        for metric in metrics:
            one_of("metrics", metric, columns)
        groups: dict[str, list[ResultRow]] = {}
        for row in rows:
            groups.setdefault(str(row["network"]), []).append(row)
        if baseline is not None:
            one_of("baseline", baseline, groups)
        if lower_is_better is None:
            lower_is_better = [name for name in metrics if not _is_quality(name)]
        return cls(
            results=tuple(NetworkResult.of(name, group, metrics) for name, group in groups.items()),
            metrics=tuple(metrics),
            baseline=baseline,
            lower_is_better=frozenset(lower_is_better),
        )

    def __getitem__(self, network: str) -> NetworkResult:
        """Return the results of one network; KeyError when it is not in the table."""
        return {result.network: result for result in self.results}[network]

    def best(self, metric: str) -> tuple[str, ...]:
        """Return the networks with the best mean; a network with a failed run does not compete."""
        means = {
            result.network: result.metrics[metric].mean
            for result in self.results
            if not result.metrics[metric].n_failed
        }
        if len(self.results) < 2 or not means:
            return ()
        pick = min if metric in self.lower_is_better else max
        return tuple(name for name, mean in means.items() if mean == pick(means.values()))

    def change(self, network: str, metric: str) -> float | None:
        """Return the change of the mean against the baseline's.

        For an error 100 (m - b) / b in percent, negative where the network is better; for a quality
        such as PSNR or SSIM the difference m - b (in dB for PSNR), positive where it is better.
        None for the baseline itself, and if either has a failed run.
        """
        if self.baseline is None or network == self.baseline:
            return None
        ours, base = self[network].metrics[metric], self[self.baseline].metrics[metric]
        if ours.n_failed or base.n_failed:
            return None
        if metric not in self.lower_is_better:
            return ours.mean - base.mean
        return 100 * (ours.mean - base.mean) / base.mean if base.mean else None

    def paired(self, network: str, metric: str) -> Summary | None:
        """Compare with the baseline seed by seed if both were trained with the same seeds.

        For an error the ratio r_s = m_s / b_s of each common seed s, for a quality the difference
        d_s = m_s - b_s. The mean is sum r_s / n, the spread sqrt(sum (r_s - mean)^2 / (n - 1)):
        effects that both networks share in a seed (data order, test set) cancel, so that this
        spread is smaller than two separate ones. A pair with a failed run counts as failed. None
        for the baseline itself, for untrained methods, and without a common seed.
        """
        if self.baseline is None or network == self.baseline:
            return None
        ours, base = self[network], self[self.baseline]
        if not (ours.trained and base.trained):
            return None
        base_of = dict(zip(base.seeds, base.values[metric]))
        pairs = [(x, base_of[s]) for s, x in zip(ours.seeds, ours.values[metric]) if s in base_of]
        if not pairs:
            return None
        if metric in self.lower_is_better:
            return Summary.of([x / y if y else math.nan for x, y in pairs])
        return Summary.of([x - y for x, y in pairs])

    def to_text(self) -> str:
        """Return the table for a terminal; the best value of a column is marked by a star."""
        return render_table(self, markdown=False)

    def to_markdown(self) -> str:
        """Return the table as GitHub Markdown; the best value of a column is bold."""
        return render_table(self, markdown=True)

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write one row per network with unrounded numbers, readable by `read_rows`.

        For each metric M the columns M (mean), M_std, M_failed (number of failed runs), M_change
        and, where seeds pair up, M_paired and M_paired_std.

        Raises
        ------
        FileExistsError
            When `path` exists and `overwrite` is false.
        """
        write_rows(result_cells(self), path, overwrite=overwrite)


def _is_quality(metric: str) -> bool:
    return any(name in metric.lower() for name in ("psnr", "ssim"))
