"""Figures of a benchmark: time against size with fitted exponents, and the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml.commands.benchmark import Machine
from monarch_sciml.evaluation.figures.style import COLORS, FONT, line_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]
_MARKERS = "os^Dv<>P"


def fitted_exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Return p of the least-squares fit y = c x^p in logarithms; NaN for fewer than two sizes.

    Examples
    --------
    >>> round(fitted_exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    if len(set(x)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def scaling_figure(rows: Rows, variable: str) -> Figure:
    """Draw time against one variable, both logarithmic, a panel for each pass.

    Parameters
    ----------
    rows
        Rows of one scan.
    variable
        Column on the horizontal axis.

    Returns
    -------
    Figure
        The legend gives the exponent p of the fit, seconds ~ variable^p; bars are quartiles.
    """
    passes = list(dict.fromkeys(row["pass"] for row in rows))
    figure = new_figure(4.6 * len(passes), 4.2)
    for panel, kind in zip(figure.subfigures(1, len(passes), squeeze=False)[0], passes):
        axes = line_axes(panel, variable, "milliseconds", kind)
        for style, name in enumerate(dict.fromkeys(row["candidate"] for row in rows)):
            chosen = [row for row in rows if row["pass"] == kind and row["candidate"] == name]
            chosen.sort(key=lambda row: row[variable])
            x = [row[variable] for row in chosen]
            low, y, high = (
                np.array([1e3 * row[key] for row in chosen])
                for key in ("seconds_q1", "seconds", "seconds_q3")
            )
            exponent = fitted_exponent(x, list(y))
            label = name if np.isnan(exponent) else f"{name}: p = {exponent:.2f}"
            axes.errorbar(
                x, y, yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)], label=label,
                color=COLORS[style % len(COLORS)], marker=_MARKERS[style % len(_MARKERS)],
                markersize=4, linewidth=1.2, capsize=2,
            )  # fmt: skip
        _logarithmic(axes, sorted({row[variable] for row in rows}))
        axes.legend(fontsize=FONT - 2, frameon=False)
    return figure


def roofline_figure(rows: Rows, machine: Machine) -> Figure:
    """Draw useful operations per second against operations per byte, under the machine's roofs.

    Work is what the truncated layer or the Monarch transform cannot do without, the same for every
    candidate: a candidate that moves or computes more stands lower.
    """
    from matplotlib.ticker import FuncFormatter

    rows = [row for row in rows if "work_bytes" in row]
    passes = list(dict.fromkeys(row["pass"] for row in rows))
    figure = new_figure(4.6 * len(passes), 4.2)
    intensity = [row["work_operations"] / row["work_bytes"] for row in rows]
    grid = np.geomspace(min(intensity) / 2, max(intensity) * 2, 100)
    peak = max(machine.gemm, machine.gemm_fast)
    for panel, kind in zip(figure.subfigures(1, len(passes), squeeze=False)[0], passes):
        axes = line_axes(panel, "operations per byte", "useful GFLOP/s", kind)
        for speed, text, line in (
            (machine.copy, "copy from memory", "-"),
            (machine.cached_copy, "copy in cache", ":"),
        ):
            roof = np.minimum(peak, speed * grid) / 1e9
            axes.plot(grid, roof, color="black", linestyle=line, linewidth=1, label=text)
        for style, name in enumerate(dict.fromkeys(row["candidate"] for row in rows)):
            chosen = [row for row in rows if row["pass"] == kind and row["candidate"] == name]
            axes.plot(
                [row["work_operations"] / row["work_bytes"] for row in chosen],
                [row["work_operations"] / row["seconds"] / 1e9 for row in chosen],
                color=COLORS[style % len(COLORS)], marker=_MARKERS[style % len(_MARKERS)],
                linestyle="none", markersize=5, label=name,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.legend(fontsize=FONT - 2, frameon=False)
    return figure


def _logarithmic(axes: Axes, ticks: Sequence[float]) -> None:
    """Make both axes logarithmic, with the measured sizes as ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axes.get_ylim()
    if high < 30 * low:  # less than two powers of ten: label what stands between them
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(which="minor", labelsize=FONT)
