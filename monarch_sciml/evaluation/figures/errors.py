"""Figures of errors by wavenumber, by band and by distance from the boundary."""

# letters: r runs (seeds), k wavenumbers, d distances

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.figures.fields import band_note, run_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDS = ("low\n(k < 4)", "middle\n(4 ≤ k < 12)", "high\n(k ≥ 12)")


def spectrum_figure(
    target: Any,
    predictions: _style.Arrays,
    *,
    title: str = "Energy spectrum at the last time",
) -> Figure:
    """Draw the energy spectrum of the truth and of every network's predictions, log-log.

    Parameters
    ----------
    target
        (k,), E(κ) of the truth, κ = 0, 1, ... as `metrics.energy_spectrum` gives it; κ = 0 and
        zeros are not drawn.
    predictions
        For each network (r, k), one spectrum per seed: the line is their mean, the band reaches
        from the smallest to the largest.
    title
        Title of the figure.

    Returns
    -------
    Figure
        One axes.

    Raises
    ------
    ValueError
        When there is nothing to draw, no wavenumber but 0, or a length differs.
    """
    truth = _style.as_array("target", target, ndim=1).astype(float)
    if len(truth) < 2:
        rule = "`target` must have at least two wavenumbers"
        raise ValueError(message(rule, len(truth), "Use a finer grid."))
    waves = np.arange(len(truth))[1:]
    label = "energy E(k), dimensionless"
    figure = _style.new_figure(6.4, 4.2)
    axes = _style.line_axes(figure, "wavenumber k (waves per domain)", label, title)
    positive = np.where(truth > 0, truth, np.nan)[1:]
    axes.plot(waves, positive, color="black", lw=2.6, alpha=0.6, label="truth")
    drawn = _curves(axes, predictions, waves, len(truth), "predictions", first=1)
    axes.set(xscale="log", yscale="log", xlim=(1, waves[-1]))
    _floor(axes, [positive, *drawn], decades=12)
    _wave_ticks(axes, int(waves[-1]))
    _style.add_legend(axes, band_note(drawn))
    return figure


def boundary_figure(
    errors: _style.Arrays, *, title: str = "Error against the distance from the boundary"
) -> Figure:
    """Draw the RMSE against the distance from the boundary, one line and band per network.

    Parameters
    ----------
    errors
        For each network (r, d), `metrics.boundary_profile` of every seed: d = 0 is the boundary.
    title
        Title of the figure.

    Returns
    -------
    Figure
        One axes; the vertical one is logarithmic when the errors span more than a factor of 20.

    Raises
    ------
    ValueError
        When there is nothing to draw or the lengths differ.
    """
    _style.not_empty("errors", errors)
    first = _style.as_array("errors", next(iter(errors.values())), ndim=2)
    figure = _style.new_figure(6.4, 3.8)
    label = "distance from the boundary (grid points)"
    axes = _style.line_axes(figure, label, "RMSE (dimensionless)", title)
    distances = np.arange(first.shape[1])
    drawn = _curves(axes, errors, distances, first.shape[1], "errors", marker="o")
    _style.log_if_wide(axes, drawn)
    axes.xaxis.set_major_locator(_style.few_ticks(10, integer=True))
    _style.add_legend(axes, band_note(drawn))
    return figure


def bands_figure(
    errors: _style.Arrays, *, title: str = "Error by wavenumber (banded Fourier RMSE)"
) -> Figure:
    """Draw the low, middle and high band of the Fourier RMSE as one group of bars each.

    Parameters
    ----------
    errors
        For each network (r, b), `metrics.fourier_rmse` of every seed, b the 1 to 3 bands that the
        grid has; the bar is the mean, the whisker reaches from the smallest to the largest seed.
    title
        Title of the figure.

    Returns
    -------
    Figure
        One axes, logarithmic.

    Raises
    ------
    ValueError
        When there is nothing to draw or the numbers of bands differ.
    """
    _style.not_empty("errors", errors)
    arrays = {
        name: _style.as_array(f"errors[{name!r}]", value, ndim=2).astype(float)
        for name, value in errors.items()
    }
    n_bands = next(iter(arrays.values())).shape[1]
    figure = _style.new_figure(6.4, 3.8)
    axes = _style.line_axes(figure, "band of wavenumbers", "Fourier RMSE (dimensionless)", title)
    width = 0.8 / len(arrays)
    runs = []
    for index, (name, value) in enumerate(arrays.items()):
        _check_length(name, value, n_bands)
        value = np.where(np.isfinite(value), value, np.nan)
        runs.append(value)
        mean = value.mean(0)
        reach = np.stack([mean - value.min(0), value.max(0) - mean])
        place = np.arange(n_bands) - 0.4 + width * (index + 0.5)
        color = _style.COLORS[index % len(_style.COLORS)]
        hatch = ("", "//", "..", "xx")[index // len(_style.COLORS) % 4]
        bars = axes.bar(place, mean, width, label=run_label(name, value), color=color, hatch=hatch)
        for bar in bars:
            bar.set(edgecolor="white", linewidth=0.5)
        if len(value) > 1:
            axes.errorbar(place, mean, reach, fmt="none", ecolor="#303030", elinewidth=1, capsize=2)
    axes.set_yscale("log")
    _floor(axes, runs, decades=8)
    axes.set_xticks(np.arange(n_bands), BANDS[:n_bands])
    axes.grid(False, axis="x")
    _style.add_legend_below(figure, axes, band_note(runs, band="whisker"))
    return figure


def _curves(
    axes: Axes,
    values: _style.Arrays,
    x: np.ndarray,
    n_values: int,
    what: str,
    *,
    first: int = 0,
    marker: str | None = None,
) -> list[np.ndarray]:
    """Draw the mean of the runs of every network and a band; return the drawn values (r, k)."""
    _style.not_empty(what, values)
    drawn = []
    for index, (name, value) in enumerate(values.items()):
        runs = _style.as_array(f"{what}[{name!r}]", value, ndim=2).astype(float)
        _check_length(name, runs, n_values)
        runs = np.where(np.isfinite(runs) & (runs > 0), runs, np.nan)[:, first:]
        style = _style.line_style(index)
        few = marker if len(x) <= 25 else None
        label = run_label(name, runs[:, np.isfinite(runs).any(0)])
        axes.plot(x, runs.mean(0), lw=1.8, marker=few, markersize=3.5, label=label, **style)
        if len(runs) > 1:
            low, high = runs.min(0), runs.max(0)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.18, lw=0)
        drawn.append(runs)
    return drawn


def _check_length(name: str, runs: np.ndarray, expected: int) -> None:
    if runs.shape[1] != expected:
        rule = f"the values of {name} must have length {expected}"
        raise ValueError(message(rule, runs.shape[1], "Draw fields of one grid."))


def _floor(axes: Axes, values: list[np.ndarray], *, decades: float) -> None:
    """Bound a logarithmic axis by the values, within a number of decades below the largest."""
    flat = np.concatenate([np.ravel(value) for value in values])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    if flat.size:
        axes.set_ylim(max(flat.min() / 2, flat.max() / 10**decades), flat.max() * 2)


def _wave_ticks(axes: Axes, last: int) -> None:
    """Label powers of two on a logarithmic axis of wavenumbers."""
    ticks = [2**power for power in range(last.bit_length()) if 2**power <= last]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
