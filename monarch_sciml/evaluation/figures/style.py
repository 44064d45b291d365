"""The common style of all figures, and saving them, without the global state of pyplot."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorizer import ColorizingArtist
    from matplotlib.figure import Figure

# Okabe and Ito: distinct for colour-blind readers. Yellow is left out: too pale on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES = ("-", "--", "-.", ":")
FONT = 9
DPI = 120
# Perceptually uniform, except the diverging one, whose two arms are (Moreland 2009).
MAPS = {"positive": "viridis", "signed": "coolwarm", "error": "inferno", "phase": "twilight"}
_FORMATS = (".png", ".pdf", ".svg")

Arrays = Mapping[str, Any]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure, `width` x `height` in inches, laid out without overlaps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.set_layout_engine("compressed", w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.02)
    return figure


def save(figure: Figure, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a figure whole or not at all, at 120 dots per inch.

    Parameters
    ----------
    figure
        A matplotlib figure.
    path
        File ending in .png, or in .pdf or .svg for print. Its folder is made when missing.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    `path`.

    Raises
    ------
    ValueError
        When `path` has another ending.
    FileExistsError
        When `path` exists and `overwrite` is false.
    """
    path = Path(path)
    one_of("path.suffix", path.suffix, _FORMATS)
    with whole_file(path, overwrite=overwrite) as part:
        figure.savefig(part, dpi=DPI)
    return path


def as_array(name: str, value: Any, *, ndim: int, like: np.ndarray | None = None) -> np.ndarray:
    """Return `value`, a tensor or array, as an array of `ndim` axes, shaped as `like`."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().numpy()
    array = np.asarray(value)
    if array.ndim != ndim:
        rule = f"`{name}` must have {ndim} axes"
        raise ValueError(message(rule, f"shape {array.shape}", "Select or stack what is drawn."))
    if like is not None and array.shape != like.shape:
        rule = f"`{name}` must have the shape {like.shape} of the target"
        raise ValueError(message(rule, f"{array.shape}", "Crop or resample it."))
    if array.dtype.kind not in "biufc" or not array.size:
        rule = f"`{name}` must hold numbers"
        raise ValueError(message(rule, f"{array.size} of {array.dtype}", "Pass a numeric array."))
    return array


def as_truth(predictions: Arrays, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predictions as arrays of the shape of the truth; ValueError without any."""
    not_empty("predictions", predictions)
    return {
        name: as_array(f"predictions[{name!r}]", value, ndim=truth.ndim, like=truth)
        for name, value in predictions.items()
    }


def not_empty(name: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Raise ValueError when there is nothing to draw."""
    if not len(value):
        rule = f"`{name}` must have at least one entry"
        raise ValueError(message(rule, "none", "Pass what is to be drawn."))


def largest(*arrays: np.ndarray) -> float:
    """Return the largest finite magnitude of the arrays; 1 when they hold nothing but zeros."""
    peaks = [np.abs(a[np.isfinite(a)]).max() for a in arrays if np.isfinite(a).any()]
    return float(max(peaks, default=0.0)) or 1.0


def show_image(axes: Axes, image: np.ndarray, kind: str, low: float, high: float) -> Any:
    """Draw an image without ticks; NaN and infinite pixels are light grey."""
    import matplotlib

    colors = matplotlib.colormaps[MAPS.get(kind, kind)].with_extremes(bad="#c8c8c8")
    shown = np.where(np.isfinite(image), image, np.nan)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="#606060")
    return axes.imshow(shown, cmap=colors, vmin=low, vmax=high, interpolation="nearest")


def add_colorbar(
    figure: Figure, image: ColorizingArtist, axes: Any, label: str, *, extend: str = "neither"
) -> None:
    """Add a colour bar beside `axes`, one or several."""
    bar = figure.colorbar(
        image, ax=axes, shrink=0.9, aspect=25, fraction=0.05, pad=0.01, extend=extend
    )
    bar.set_label(label, fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)
    bar.outline.set_linewidth(0.5)  # pyright: ignore[reportCallIssue]


def wrapped(text: str, width: int = 22) -> str:
    """Return `text` wrapped to lines of `width` letters."""
    return textwrap.fill(text, width)


MANY = 4
"""Entries of a legend that fit beside curves; more of them go below the figure."""


def add_legend(axes: Axes, title: str | None = None) -> None:
    """Add a legend without a box where it hides least: below the figure when it is long."""
    figure: Any = axes.get_figure()
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) > MANY and hasattr(figure, "set_size_inches"):  # a figure, not part of one
        width, height = figure.get_size_inches()
        n_rows = -(-len(labels) // _legend_columns(figure, labels))
        figure.set_size_inches(width, height + 0.2 * n_rows + 0.2)
        add_legend_below(figure, axes, title)
        return
    axes.legend(
        fontsize=FONT, frameon=False, title=title, title_fontsize=FONT - 1, alignment="left"
    )


def add_legend_below(figure: Any, axes: Axes, title: str | None) -> None:
    """Add the legend of `axes` below the whole figure, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=_legend_columns(figure, labels),
        fontsize=FONT,
        frameon=False,
        title=title,
        title_fontsize=FONT - 1,
    )


def _legend_columns(figure: Any, labels: list[str]) -> int:
    """Return how many columns of labels, at most three, the width of the figure holds."""
    width = figure.get_figure(root=True).get_size_inches()[0] * 72  # in points
    column = FONT * (0.56 * max(map(len, labels)) + 4)  # a letter's mean width; line and gaps
    return max(1, min(len(labels), 3, int(width / column)))


def few_ticks(count: int, *, integer: bool = False) -> Any:
    """Return a locator of round ticks up to a given number."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=integer)


def line_style(index: int) -> dict[str, Any]:
    """Return colour and dashes of the line of the network at this place."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": LINES[index % len(LINES)]}


def line_axes(figure: Figure, x_label: str, y_label: str, title: str = "") -> Axes:
    """Return axes for curves: labelled, with a light grid and no box."""
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, fontsize=FONT + 1)
    axes.set_ylabel(y_label, fontsize=FONT + 1)
    axes.set_title(title, fontsize=FONT + 2, loc="left")
    plain_axes(axes)
    return axes


def plain_axes(axes: Axes) -> None:
    """Give axes for curves a light grid and no box."""
    axes.tick_params(labelsize=FONT, which="both")
    axes.grid(True, which="major", color="#d9d9d9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def log_if_wide(
    axes: Axes, values: Sequence[np.ndarray], *, factor: float = 20.0, near: float = 1.0
) -> None:
    """Make the vertical axis logarithmic when positive values span more than `factor`.

    Otherwise it starts at 0, unless they span less than `near`.
    """
    flat = np.concatenate([np.ravel(value) for value in values])
    flat = flat[np.isfinite(flat)]
    if flat.size and flat.min() > 0 and flat.max() > factor * flat.min():
        from matplotlib.ticker import FuncFormatter, LogLocator

        axes.set_yscale("log")
        steps = (1, 2, 5) if flat.max() < 1e3 * flat.min() else (1,)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(LogLocator(subs=range(1, 10)))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    elif flat.size and flat.min() >= 0 and flat.max() >= near * flat.min():
        axes.set_ylim(bottom=0)
