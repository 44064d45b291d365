"""The table of one network: its metrics over the test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate
from torch import Tensor


def summarise(metrics: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return mean, standard deviation and range over trajectories or volumes of each metric."""
    return [
        {
            "metric": name,
            "mean": float(values.double().mean()),
            "std": float(values.double().std()) if len(values) > 1 else 0.0,
            "min": float(values.min()),
            "max": float(values.max()),
            "n": len(values),
        }
        for name, values in metrics.items()
    ]


def metrics_text(metrics: Mapping[str, Tensor]) -> str:
    """Return the table of `summarise`, and a line on every metric that is not finite."""
    lines = [tabulate(summarise(metrics), headers="keys", floatfmt=".4g")]
    for name, values in metrics.items():
        bad = int((~values.isfinite()).sum())
        if bad:
            why = "the predictions diverged, or a field of the target is zero"
            lines.append(f"{name}: not finite for {bad} of {len(values)} samples: {why}.")
    return "\n".join(lines)
