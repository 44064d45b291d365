"""The results of one network over its seeds: mean, spread and failures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from monarch_sciml._checks import message
from monarch_sciml.evaluation.results import ResultRow, as_float


@dataclass(frozen=True)
class Summary:
    """Hold mean and spread of one number over seeds.

    Attributes
    ----------
    mean
        Arithmetic mean over the seeds that did not fail; NaN when all of them failed.
    spread
        Sample standard deviation, sqrt(sum (x_s - mean)^2 / (n - 1)), over the same seeds; None
        for fewer than two of them, and for an untrained network whose values are all equal.
    n_runs
        Number of seeds, failed ones included.
    n_failed
        Number of seeds whose value is missing, NaN or infinite.
    """

    mean: float
    spread: float | None
    n_runs: int
    n_failed: int

    @classmethod
    def of(cls, values: Sequence[float], *, trained: bool = True) -> Summary:
        """Summarise one value per seed."""
        good = [value for value in values if math.isfinite(value)]
        shown = len(good) > 1 and (trained or len(set(good)) > 1)
        return cls(
            mean=fmean(good) if good else math.nan,
            spread=stdev(good) if shown else None,
            n_runs=len(values),
            n_failed=len(values) - len(good),
        )


@dataclass(frozen=True)
class NetworkResult:
    """Hold the results of one network over its seeds.

    Attributes
    ----------
    network
        Name.
    seeds
        Seeds in order of appearance; (None,) for a method that was not trained.
    trained
        False when it has no learnable parameters or was trained for no epoch.
    values
        For each metric one test-set mean per seed, NaN where a run failed.
    metrics
        For each metric the `Summary` of these values.
    n_parameters
        Number of learnable real numbers. None if no row states it.
    epochs, seconds_per_epoch, seconds
        Means over the seeds. None if no row states them.
    """

    network: str
    seeds: tuple[object, ...]
    trained: bool
    values: dict[str, tuple[float, ...]]
    metrics: dict[str, Summary]
    n_parameters: int | None
    epochs: float | None
    seconds_per_epoch: float | None
    seconds: float | None

    @classmethod
    def of(cls, network: str, rows: Sequence[ResultRow], metrics: Sequence[str]) -> NetworkResult:
        """Gather the rows of one network."""
        seeds = tuple(None if row.get("seed") in ("", None) else row["seed"] for row in rows)
        if len(set(seeds)) < len(seeds):
            rule = f"{network} must have one row per seed"
            got = f"seeds {', '.join(map(str, seeds))}"
            raise ValueError(message(rule, got, "Remove the repeated rows."))
        sizes = {int(size) for row in rows if math.isfinite(size := _of(row, "n_parameters"))}
        if len(sizes) > 1:
            rule = f"{network} must have one number of parameters"
            got = ", ".join(map(str, sorted(sizes)))
            raise ValueError(message(rule, got, "Give different networks different names."))
        size = sizes.pop() if sizes else None
        epochs = _mean(rows, "epochs")
        trained = size != 0 and epochs != 0 and any(seed is not None for seed in seeds)
        values = {metric: tuple(_of(row, metric) for row in rows) for metric in metrics}
        return cls(
            network=network,
            seeds=seeds,
            trained=trained,
            values=values,
            metrics={key: Summary.of(value, trained=trained) for key, value in values.items()},
            n_parameters=size,
            epochs=epochs,
            seconds_per_epoch=_mean(rows, "seconds_per_epoch") if trained else None,
            seconds=_mean(rows, "seconds"),
        )


def _of(row: Mapping[str, object], column: str) -> float:
    return as_float(row.get(column))


def _mean(rows: Sequence[ResultRow], column: str) -> float | None:
    values = [value for row in rows if math.isfinite(value := _of(row, column))]
    return fmean(values) if values else None
