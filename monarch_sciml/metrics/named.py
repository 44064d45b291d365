"""Errors of fields by the names that configurations use.

Letters: B samples, T time steps, F fields, then the grid: (B, T, F, *grid).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from torch import Tensor

from monarch_sciml._checks import one_of
from monarch_sciml.metrics.boundary import boundary_rmse
from monarch_sciml.metrics.fields import max_error, nrmse, relative_l2, rmse, vrmse
from monarch_sciml.metrics.spectrum import band_sizes, fourier_rmse

FieldMetric = Literal[
    "relative_l2", "nrmse", "rmse", "vrmse", "max_error", "boundary_rmse", "fourier_rmse"
]
"""What `field_metrics` knows."""

_ONE_VALUE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relative_l2": relative_l2,
    "nrmse": partial(nrmse, check=False),
    "rmse": rmse,
    "vrmse": vrmse,
    "max_error": max_error,
    "boundary_rmse": boundary_rmse,
}
FIELD_METRICS = (*_ONE_VALUE, "fourier_rmse")
"""Names of the metrics, in the order of `FieldMetric`."""
BAND_NAMES = ("low", "middle", "high")


def field_metrics(prediction: Tensor, target: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
    """Compute the named errors of each sample.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    names
        Names of `FIELD_METRICS`.

    Returns
    -------
    Each (B,). `fourier_rmse` gives `fourier_rmse_low`, `_middle` and `_high`, without the bands
    that a coarse grid does not have. Where a field of the target is zero everywhere at some time,
    `nrmse` is not finite.

    Raises
    ------
    ValueError
        When a name is unknown, the shapes differ, or, for `relative_l2`, the whole target of a
        sample is zero.

    Examples
    --------
    >>> import torch
    >>> target = torch.ones(2, 1, 1, 8, 8)
    >>> field_metrics(1.5 * target, target, ["rmse", "max_error"])
    {'rmse': tensor([0.5000, 0.5000]), 'max_error': tensor([0.5000, 0.5000])}
    """
    found: dict[str, Tensor] = {}
    for name in names:
        one_of("metrics", name, FIELD_METRICS)
        if name != "fourier_rmse":
            found[name] = _ONE_VALUE[name](prediction, target)
            continue
        bands = fourier_rmse(prediction, target)  # (B, 3)
        for index, n_shells in enumerate(band_sizes(target.shape[3:])):
            if n_shells:
                found[f"fourier_rmse_{BAND_NAMES[index]}"] = bands[:, index]
    return found
