"""Figures of predicted fields: fields and errors at several times, error against time."""

# letters: t times of the roll-out, h and w grid points, r runs

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml._checks import message, positive_int
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.number_text import number_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rollout_figure(
    target: Any,
    predictions: _style.Arrays,
    times: Any,
    *,
    n_columns: int = 4,
    field: str = "vorticity",
    unit: str = "dimensionless",
) -> Figure:
    """Draw the true field, and each prediction above its error map, at several times.

    Above every prediction stands its relative L2 error at that time, ||p - u|| / ||u||. The
    fields share one colour scale and the error maps |p - u| another, so that times and networks
    may be compared. Values beyond the range of the truth, and errors beyond its width, are
    clipped; NaN is grey.

    Parameters
    ----------
    target
        (t, h, w), true field.
    predictions
        For each network (t, h, w), predicted field.
    times
        (t,), time of each field, in units of the simulation.
    n_columns
        Number of times to draw, at most t, evenly spread from the first to the last.
    field, unit
        Name and unit of the fields, for the colour bar.

    Returns
    -------
    Figure
        1 + 2 n_networks rows of images, each with a colour bar.

    Raises
    ------
    ValueError
        When shapes differ or there is no prediction.
    """
    truth = _style.as_array("target", target, ndim=3)
    fields = _style.as_truth(predictions, truth)
    moments = _style.as_array("times", times, ndim=1)
    same_length("times", moments, truth)
    count = min(positive_int("n_columns", n_columns), len(truth))
    columns = np.unique(np.linspace(0, len(truth) - 1, count).round().astype(int))

    titles = [f"t = {moment:g}" for moment in moments[columns]]
    drawn = {name: value[columns] for name, value in fields.items()}
    return draw_rows(field_rows(truth[columns], drawn, titles, field, unit))


def pair_figure(
    inputs: Any,
    targets: Any,
    predictions: _style.Arrays,
    *,
    n_columns: int = 4,
    fields: tuple[str, str] = ("input", "field"),
    unit: str = "dimensionless",
) -> Figure:
    """Draw the input, the truth, and each prediction above its error map, for several samples.

    Titles, scales and clipping are those of `rollout_figure`; the inputs have a scale of their own.

    Parameters
    ----------
    inputs
        (n, h, w), the field that each sample is predicted from.
    targets
        (n, h, w), true field of each sample.
    predictions
        For each network (n, h, w).
    n_columns
        Number of samples drawn, the first ones.
    fields, unit
        Names of input and target and their unit, for the colour bars.

    Returns
    -------
    Figure
        2 + 2 n_networks rows of images, each with a colour bar.

    Raises
    ------
    ValueError
        When shapes differ or there is no prediction.
    """
    truth = _style.as_array("targets", targets, ndim=3)
    given = _style.as_array("inputs", inputs, ndim=3, like=truth)
    count = min(positive_int("n_columns", n_columns), len(truth))
    drawn = {k: value[:count] for k, value in _style.as_truth(predictions, truth).items()}
    titles = [f"sample {index + 1}" for index in range(count)]
    kind, *limits = limits_of(given[:count])
    first: Images = ("input", given[:count], titles, kind, limits, fields[0])
    return draw_rows([first, *field_rows(truth[:count], drawn, [""] * count, fields[1], unit)])


Images = tuple[str, np.ndarray, list[str], str, list[float], str]
"""A row of images (t, h, w): label, images, titles, kind of map, its limits, label of the bar."""


def field_rows(
    truth: np.ndarray, drawn: dict[str, np.ndarray], titles: list[str], field: str, unit: str
) -> list[Images]:
    """Return the rows of the truth (t, h, w) and, for each prediction, of itself and its error."""
    kind, *limits = limits_of(truth)
    worst = min(_style.largest(*(p - truth for p in drawn.values())), limits[1] - limits[0])
    rows: list[Images] = [("truth", truth, titles, kind, limits, f"{field}\n({unit})")]
    for name, value in drawn.items():
        titles = [error_title(p, u) for p, u in zip(value, truth)]
        rows.append((name, value, titles, kind, limits, field))
        gap = np.abs(value - truth)
        titles = [f"largest {number_text(float(image.max()))}" for image in gap]
        rows.append(("|error|", gap, titles, "error", [0.0, worst], "|error|"))
    return rows


def draw_rows(rows: list[Images]) -> Figure:
    """Return a figure of rows of equally many images."""
    n_columns, h, w = rows[0][1].shape
    row_height = min(max(1.75 * h / w, 0.9), 2.6) + 0.19
    width = max(1.75 * n_columns + 1.3, 4.0)
    figure = _style.new_figure(width, row_height * len(rows) + 0.2)
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for row, content in zip(axes, rows):
        _draw_row(figure, row, *content)
    return figure


def _draw_row(
    figure: Figure,
    axes: Any,
    label: str,
    images: np.ndarray,
    titles: list[str],
    kind: str,
    limits: list[float],
    unit: str,
) -> None:
    """Draw images (t, h, w) side by side with their titles, one label and one colour bar."""
    drawn = [_style.show_image(ax, image, kind, *limits) for ax, image in zip(axes, images)]
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=_style.FONT, pad=3)
    axes[0].set_ylabel(_style.wrapped(label), fontsize=_style.FONT + 1)
    _style.add_colorbar(figure, drawn[0], list(axes), unit)


def limits_of(fields: np.ndarray) -> tuple[str, float, float]:
    """Return the kind of map and its limits: symmetric about 0 for fields of both signs."""
    low, high = float(fields.min()), float(fields.max())
    if low < 0 < high:
        peak = max(-low, high)
        return "signed", -peak, peak
    return "positive", low, high if high > low else low + 1


def error_title(predicted: np.ndarray, truth: np.ndarray) -> str:
    """Return ||p - u|| / ||u|| as a title."""
    if not np.isfinite(predicted).all():
        return "diverged"
    norm = float(np.linalg.norm(truth))
    error = float(np.linalg.norm(predicted - truth)) / norm if norm else float("nan")
    return f"rel. L2 {number_text(error)}"


def same_length(name: str, values: np.ndarray, steps: np.ndarray) -> None:
    """Raise ValueError when there is not one value for each step."""
    if len(values) != len(steps):
        rule = f"`{name}` must have one value for each of {len(steps)} times"
        raise ValueError(message(rule, len(values), f"Pass the `{name}` of the same roll-out."))


def error_over_time_figure(
    errors: _style.Arrays,
    times: Any,
    *,
    title: str = "Error against roll-out time",
    metric: str = "relative L2 error (dimensionless)",
    time_label: str = "time (dimensionless)",
) -> Figure:
    """Draw the error against the time of the roll-out, one line and band per network.

    The line is the mean over runs, the band reaches from the smallest to the largest run. A run
    that diverged (NaN or infinite) ends the line at that time and is named in the legend. The
    vertical axis is logarithmic when the errors span more than a factor of 20.

    Parameters
    ----------
    errors
        For each network (r, t), the error of every run (seed) at every time, dimensionless.
    times
        (t,), time of each step, in units of the simulation.
    title, metric, time_label
        Title and axis labels.

    Returns
    -------
    Figure
        One axes.

    Raises
    ------
    ValueError
        When there is nothing to draw or a length differs from that of `times`.
    """
    _style.not_empty("errors", errors)
    moments = _style.as_array("times", times, ndim=1)
    figure = _style.new_figure(6.4, 3.8)
    axes = _style.line_axes(figure, time_label, metric, title)
    drawn = []
    for index, (name, value) in enumerate(errors.items()):
        runs = _style.as_array(f"errors[{name!r}]", value, ndim=2).astype(float)
        same_length("errors", runs[0], moments)
        runs = np.where(np.isfinite(runs), runs, np.nan)
        style = _style.line_style(index)
        axes.plot(
            moments,
            runs.mean(0),
            **style,
            linewidth=1.8,
            marker="o" if len(moments) <= 25 else None,
            markersize=3.5,
            label=run_label(name, runs),
        )
        if len(runs) > 1:
            axes.fill_between(
                moments, runs.min(0), runs.max(0), color=style["color"], alpha=0.18, lw=0
            )
        drawn.append(runs)
    _style.log_if_wide(axes, drawn)
    _style.add_legend(axes, band_note(drawn))
    return figure


def run_label(name: str, runs: np.ndarray) -> str:
    """Return the network's name, with the number of runs that diverged where there are any."""
    failed = int(np.isnan(runs).any(1).sum())
    return f"{name} ({failed} of {len(runs)} runs diverged)" if failed else name


def band_note(drawn: list[np.ndarray], *, band: str = "band") -> str | None:
    """Return the meaning of the band or whisker, or None if there is none."""
    counts = sorted({len(runs) for runs in drawn if len(runs) > 1})
    if not counts:
        return None
    seeds = " or ".join(map(str, counts))
    return f"mean of {seeds} seeds; {band}: smallest to largest"
