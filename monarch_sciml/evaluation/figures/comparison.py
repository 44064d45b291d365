"""Figures of a whole comparison: error against cost, and error on other data."""

# letters: r runs (seeds), s data sets

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.figures.fields import band_note, run_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from monarch_sciml.evaluation.tables import ComparisonTable


def cost_figure(table: ComparisonTable, metric: str) -> Figure | None:
    """Draw the mean error of each network against its parameters and its time per epoch.

    Parameters
    ----------
    table
        The comparison. Untrained networks and those without a finite mean are left out.
    metric
        One of its metrics.

    Returns
    -------
    Figure or None
        A figure of two axes, with the standard deviation over seeds as bars. None if fewer than two
        networks have parameters and a time.
    """
    shown = [
        result
        for result in table.results
        if result.n_parameters
        and result.seconds_per_epoch
        and math.isfinite(result.metrics[metric].mean)
    ]
    if len(shown) < 2:
        return None
    means = np.array([result.metrics[metric].mean for result in shown])
    figure = _style.new_figure(8.2, 4.1)
    both = figure.subplots(1, 2, sharey=True)
    costs = (
        ("parameters", "learnable real numbers", [float(r.n_parameters or 0) for r in shown]),
        ("time", "seconds per epoch", [r.seconds_per_epoch or 0.0 for r in shown]),
    )
    for axes, (what, label, values) in zip(both, costs):
        axes.set_title(f"Error against {what}", fontsize=_style.FONT + 2, loc="left")
        axes.set_xlabel(label, fontsize=_style.FONT + 1)
        _style.plain_axes(axes)
        for index, (result, value) in enumerate(zip(shown, values)):
            summary = result.metrics[metric]
            style = {"label": result.network, **_marker(index)}
            axes.errorbar(value, summary.mean, summary.spread or 0.0, ls="none", **style)
        _plain_log(axes, values)
    both[0].set_ylabel(metric, fontsize=_style.FONT + 1)
    _style.log_if_wide(both[0], [means])
    tops = [r.metrics[metric].mean + (r.metrics[metric].spread or 0.0) for r in shown]
    both[0].set_ylim(top=1.15 * max(tops))  # room for the markers
    spread = any(result.metrics[metric].spread is not None for result in shown)
    note = "mean of the seeds; bars: standard deviation" if spread else None
    _style.add_legend_below(figure, both[0], note)
    return figure


def metrics_figure(table: ComparisonTable) -> Figure | None:
    """Draw every metric of a comparison, one axes each, one point per network.

    Parameters
    ----------
    table
        The comparison. A network whose mean is not finite is left out of the axes of that metric.

    Returns
    -------
    Figure or None
        A figure with the standard deviation over seeds as bars. None if no metric has a finite
        mean.
    """
    finite = {
        metric: [
            (place, result.metrics[metric])
            for place, result in enumerate(table.results)
            if math.isfinite(result.metrics[metric].mean)
        ]
        for metric in table.metrics
    }
    finite = {metric: points for metric, points in finite.items() if points}
    if not finite:
        return None
    columns = min(4, len(finite))
    rows = -(-len(finite) // columns)
    figure = _style.new_figure(max(4.0, 2.3 * columns), 2.2 * rows + 0.9)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    names = [result.network for result in table.results]
    for axes, (metric, points) in zip(grid, finite.items()):
        arrow = "↓" if metric in table.lower_is_better else "↑"  # as in the tables
        axes.set_title(f"{metric} {arrow}", fontsize=_style.FONT + 1, loc="left")
        _style.plain_axes(axes)
        for place, summary in points:
            style = _marker(place)
            axes.errorbar(place, summary.mean, summary.spread or 0.0, ls="none", **style)
        axes.set(xticks=[], xlim=(-0.7, len(names) - 0.3))
        _style.log_if_wide(axes, [np.array([summary.mean for _, summary in points])])
    for axes in grid[len(finite) :]:
        axes.set_axis_off()
    first = figure.axes[0]
    for place, name in enumerate(names):  # in the legend also where it has no point
        first.errorbar([], [], [], ls="none", label=name, **_marker(place))
    spread = any(summary.spread is not None for points in finite.values() for _, summary in points)
    note = "mean of the seeds; bars: standard deviation" if spread else None
    _style.add_legend_below(figure, first, note)
    return figure


def _marker(index: int) -> dict[str, Any]:
    """Return colour and marker of the network at this place."""
    color = _style.COLORS[index % len(_style.COLORS)]
    return {"color": color, "marker": "os^Dv<>P"[index % 8], "markersize": 7, "capsize": 3}


def transfer_figure(
    errors: _style.Arrays,
    sets: Sequence[str],
    *,
    sizes: Sequence[float] | None = None,
    trained_on: int = 0,
    metric: str = "relative L2 error (dimensionless)",
    title: str = "Error on other data, without retraining",
) -> Figure:
    """Draw the error on several data sets, such as resolutions, one line and band per network.

    Parameters
    ----------
    errors
        For each network (r, s), the error of every run on every set.
    sets
        Names of the sets, for the horizontal axis.
    sizes
        Grid points along an axis for every set, which place the sets on a logarithmic axis. Without
        them the sets are equally spaced.
    trained_on
        The set on which the networks were trained, which is marked.
    metric, title
        Label of the vertical axis, and title.

    Returns
    -------
    Figure
        One axes, logarithmic when the errors span more than a factor of 20.

    Raises
    ------
    ValueError
        When there is nothing to draw or a length differs.
    """
    _style.not_empty("errors", errors)
    spread = sizes is not None and len(set(sizes)) == len(sizes) == len(sets)
    place = np.log2(np.array(sizes)) if spread else np.arange(len(sets))
    order = np.argsort(place)
    figure = _style.new_figure(6.4, 3.8)
    axes = _style.line_axes(figure, "evaluated on", metric, title)
    axes.axvline(place[trained_on], color="#909090", lw=1, ls=":", label="trained on")
    drawn = []
    for index, (name, value) in enumerate(errors.items()):
        runs = _style.as_array(f"errors[{name!r}]", value, ndim=2).astype(float)
        if runs.shape[1] != len(sets):
            rule = f"the errors of {name} must be on {len(sets)} data sets"
            raise ValueError(message(rule, runs.shape[1], "Evaluate it on each."))
        runs = np.where(np.isfinite(runs), runs, np.nan)
        x, style = place[order], _style.line_style(index)
        y = runs[:, order]
        axes.plot(x, y.mean(0), marker="o", ms=4.5, lw=1.8, label=run_label(name, runs), **style)
        if len(runs) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=style["color"], alpha=0.18, lw=0)
        drawn.append(runs)
    axes.set_xticks(place, [_style.wrapped(name, 14) for name in sets])
    _style.log_if_wide(axes, drawn)
    _style.add_legend(axes, band_note(drawn))
    return figure


def _plain_log(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic with few, plain labels when values span a factor 3."""
    if max(values) < 3 * min(values):
        axes.margins(x=0.15)
        axes.locator_params(axis="x", nbins=4)
        return
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
