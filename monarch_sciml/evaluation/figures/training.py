"""Figures of training: loss curves and the learned transform."""

# letters: k modes (rows of a transform), n grid points

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.number_text import number_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[tuple[Any, Any]]]


def training_figure(
    curves: Curves,
    *,
    title: str = "Training",
    metric: str = "validation error (dimensionless)",
) -> Figure:
    """Draw a loss or validation metric against the epoch, every seed as a thin line.

    A thick line is the mean over the seeds of a network in the epochs that all of them have. The
    vertical axis is logarithmic when the values span more than a factor of 20, and does not start
    at 0 when they span less than a factor of 2.

    Parameters
    ----------
    curves
        For each network one (epochs, values) pair of equally long sequences per seed.
    title, metric
        Title and label of the vertical axis.

    Returns
    -------
    Figure
        One axes.

    Raises
    ------
    ValueError
        When there is no curve or a pair differs in length.
    """
    _style.not_empty("curves", curves)
    figure = _style.new_figure(6.4, 3.8)
    axes = _style.line_axes(figure, "epoch", metric, title)
    drawn = []
    for index, (name, runs) in enumerate(curves.items()):
        color = _style.COLORS[index % len(_style.COLORS)]
        line = _style.LINES[index % len(_style.LINES)]
        _style.not_empty(f"curves[{name!r}]", runs)
        pairs = []
        for epochs, values in runs:
            x = _style.as_array("epochs", epochs, ndim=1).astype(float)
            y = _style.as_array("values", values, ndim=1, like=x).astype(float)
            pairs.append((x, np.where(np.isfinite(y), y, np.nan)))
            axes.plot(*pairs[-1], color=color, linewidth=0.7, alpha=0.55)
        shared = all(np.array_equal(x, pairs[0][0]) for x, _ in pairs)
        mean = np.mean([y for _, y in pairs], axis=0) if shared else []
        label = name if len(pairs) == 1 else f"{name}, {len(pairs)} seeds"
        x = pairs[0][0] if shared else []
        axes.plot(x, mean, color=color, linestyle=line, linewidth=1.8, label=label)
        drawn += [y for _, y in pairs]
    _style.log_if_wide(axes, drawn, near=2.0)
    _style.add_legend(axes)
    return figure


def transform_figure(initial: Any, learned: Any, title: str) -> Figure:
    """Draw a learned transform beside the one it started from, and their difference.

    Complex transforms show magnitude and phase; the phase of entries below 1e-3 of the largest is
    grey, because it is noise. The title ends in the relative change in the Frobenius norm,
    ||learned - initial|| / ||initial||.

    Parameters
    ----------
    initial, learned
        (k, n), matrices before and after training: row = mode, column = grid point.
    title
        Name of the transform.

    Returns
    -------
    Figure
        Three panels for real matrices, six for complex ones.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    before = _style.as_array("initial", initial, ndim=2)
    after = _style.as_array("learned", learned, ndim=2, like=before)
    is_complex = np.iscomplexobj(before) or np.iscomplexobj(after)
    rows = _complex_rows(before, after) if is_complex else [_real_row(before, after)]

    k, n = before.shape
    height = min(max(2.7 * k / n, 1.1), 3.2)
    figure = _style.new_figure(9.6, (height + 0.55) * len(rows) + 0.45)
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for row, (label, panels) in zip(axes, rows):
        for ax, (name, image, kind, low, high) in zip(row, panels):
            shown = _style.show_image(ax, image, kind, low, high)
            ax.set_aspect("auto")
            ax.set_title(name, fontsize=_style.FONT + 1)
            _style.add_colorbar(figure, shown, ax, "")
        row[0].set_ylabel(f"{label}\nmode (of {k})", fontsize=_style.FONT)
    for ax in axes[-1]:
        ax.set_xlabel(f"grid point (of {n})", fontsize=_style.FONT)
    norm = np.linalg.norm(before)
    change = float(np.linalg.norm(after - before) / norm) if norm else float("nan")
    figure.suptitle(f"{title}: relative change {number_text(change)}", fontsize=_style.FONT + 2)
    return figure


def _real_row(before: np.ndarray, after: np.ndarray) -> tuple[str, list[tuple[Any, ...]]]:
    """Return label and panels (name, image, map, low, high) of real matrices."""
    peak, gap = _style.largest(before, after), _style.largest(after - before)
    return "value", [
        ("initial", before, "signed", -peak, peak),
        ("learned", after, "signed", -peak, peak),
        ("learned − initial", after - before, "signed", -gap, gap),
    ]


def _complex_rows(before: np.ndarray, after: np.ndarray) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return labels and panels of magnitude and phase."""
    peak = _style.largest(before, after)
    solid = (np.abs(before) > 1e-3 * peak) & (np.abs(after) > 1e-3 * peak)
    turn = np.where(solid, np.angle(after * np.conj(before)), np.nan)
    phases = [
        np.where(np.abs(values) > 1e-3 * peak, np.angle(values), np.nan)
        for values in (before, after)
    ]
    widest = _style.largest(turn)
    magnitude = [
        ("initial", np.abs(before), "positive", 0, peak),
        ("learned", np.abs(after), "positive", 0, peak),
        ("|learned − initial|", np.abs(after - before), "error", 0, _style.largest(after - before)),
    ]
    phase = [
        ("initial", phases[0], "phase", -np.pi, np.pi),
        ("learned", phases[1], "phase", -np.pi, np.pi),
        ("phase of learned / initial", turn, "signed", -widest, widest),
    ]
    return [("magnitude", magnitude), ("phase (rad)", phase)]
