"""Figures of fields in one dimension: roll-outs in space and time, pairs as curves."""

# letters: t times of the roll-out, x grid points, n samples

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml._checks import positive_int
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.figures.fields import error_title, limits_of, same_length
from monarch_sciml.evaluation.number_text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def spacetime_figure(
    target: Any,
    predictions: _style.Arrays,
    times: Any,
    *,
    length: float = 1.0,
    field: str = "field",
    unit: str = "dimensionless",
) -> Figure:
    """Draw a roll-out in one dimension as images of space and time, with the errors.

    The fields share one colour scale and the errors |p - u| another, clipped at the range of the
    truth. Above each prediction stands its relative L2 error over the whole roll-out.

    Parameters
    ----------
    target
        (t, x), true field.
    predictions
        For each network (t, x).
    times
        (t,), time of each step, in units of the simulation.
    length
        Length of the domain, for the horizontal axis.
    field, unit
        Name and unit of the field, for the colour bar.

    Returns
    -------
    Figure
        1 + n_networks rows: the truth, then prediction and error side by side.

    Raises
    ------
    ValueError
        When shapes differ or there is no prediction.
    """
    truth = _style.as_array("target", target, ndim=2)
    moments = _style.as_array("times", times, ndim=1)
    same_length("times", moments, truth)
    drawn = _style.as_truth(predictions, truth)
    kind, low, high = limits_of(truth)
    worst = min(_style.largest(*(p - truth for p in drawn.values())), high - low)
    figure = _style.new_figure(7.4, 1.55 * (1 + len(drawn)) + 0.4)
    axes = figure.subplots(1 + len(drawn), 2, squeeze=False)
    axes[0, 1].set_axis_off()
    box = _box(moments, length)
    shown = [_panel(axes[0, 0], truth, kind, low, high, box, "truth")]
    for row, (name, value) in zip(axes[1:], drawn.items()):
        gap = np.abs(value - truth)
        title = f"{_style.wrapped(name, 30)}: {error_title(value, truth)}"
        shown.append(_panel(row[0], value, kind, low, high, box, title))
        title = f"|error|, largest {number_text(float(gap.max()))}"
        bad = _panel(row[1], gap, "error", 0, worst, box, title)
        row[1].set_yticklabels([])
        _style.add_colorbar(figure, bad, row[1], "|error|")
    for ax, image in zip(axes[:, 0], shown):
        ax.set_ylabel("time", fontsize=_style.FONT)
        _style.add_colorbar(figure, image, ax, f"{field}\n({unit})")
    for ax in axes[-1]:
        ax.set_xlabel("position", fontsize=_style.FONT)
    return figure


def lines_figure(
    inputs: Any,
    targets: Any,
    predictions: _style.Arrays,
    *,
    length: float = 1.0,
    n_columns: int = 3,
    fields: tuple[str, str] = ("input", "field"),
    unit: str = "dimensionless",
) -> Figure:
    """Draw the input, the truth, the predictions and their errors as curves in one dimension.

    Parameters
    ----------
    inputs
        (n, x), the field that each sample is predicted from.
    targets
        (n, x), true field of each sample.
    predictions
        For each network (n, x).
    length
        Length of the domain, for the horizontal axis.
    n_columns
        Number of samples drawn, the first ones.
    fields, unit
        Names of input and target, and their unit.

    Returns
    -------
    Figure
        Two rows: fields, and |prediction - truth| on a logarithmic axis.

    Raises
    ------
    ValueError
        When shapes differ or there is no prediction.
    """
    truth = _style.as_array("targets", targets, ndim=2)
    given = _style.as_array("inputs", inputs, ndim=2, like=truth)
    drawn = _style.as_truth(predictions, truth)
    count = min(positive_int("n_columns", n_columns), len(truth))
    x = np.linspace(0, length, truth.shape[1])
    figure = _style.new_figure(3.1 * count + 0.6, 5.2)
    axes = figure.subplots(2, count, squeeze=False, sharex=True, sharey="row")
    for index, (upper, lower) in enumerate(axes.T):
        upper.plot(x, given[index], color="#909090", lw=1.0, ls=":", label=fields[0])
        upper.plot(x, truth[index], color="black", lw=2.2, alpha=0.6, label="truth")
        for number, (name, value) in enumerate(drawn.items()):
            style = _style.line_style(number)
            upper.plot(x, value[index], lw=1.3, label=name, **style)
            gap = np.abs(value[index] - truth[index])
            lower.plot(x, np.where(gap > 0, gap, np.nan), lw=1.3, **style)
        upper.set_title(f"sample {index + 1}", fontsize=_style.FONT + 1, loc="left")
        lower.set_yscale("log")
        lower.set_xlabel("position", fontsize=_style.FONT)
        for ax in (upper, lower):
            _style.plain_axes(ax)
    axes[0, 0].set_ylabel(f"{fields[1]} ({unit})", fontsize=_style.FONT + 1)
    axes[1, 0].set_ylabel("|error|", fontsize=_style.FONT + 1)
    labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=4, fontsize=_style.FONT, frameon=False)
    return figure


def _panel(
    ax: Axes,
    image: np.ndarray,
    kind: str,
    low: float,
    high: float,
    box: tuple[float, float, float, float],
    title: str,
) -> Any:
    """Draw (t, x) with time upwards."""
    shown = _style.show_image(ax, image, kind, low, high)
    shown.set(extent=box)
    shown.origin = "lower"
    ax.set(aspect="auto", xlim=box[:2], ylim=box[2:])
    ax.xaxis.set_major_locator(_style.few_ticks(4))
    ax.yaxis.set_major_locator(_style.few_ticks(3))
    ax.tick_params(labelsize=_style.FONT - 1)
    ax.set_title(title, fontsize=_style.FONT, pad=3)
    return shown


def _box(times: np.ndarray, length: float) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of an image whose rows are centred on the times."""
    half = (times[-1] - times[0]) / max(len(times) - 1, 1) / 2 or 0.5
    return 0.0, length, float(times[0] - half), float(times[-1] + half)
