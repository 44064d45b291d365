"""Figures of reconstructed images: magnitude, a zoom, and magnified error maps."""

# letters: s slices, h and w image rows and columns

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.number_text import number_text
from monarch_sciml.physics.images import montage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACCENT = _style.COLORS[-2]
_TILES = 16
"""Largest number of slices in a mosaic."""
_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
Zoom = tuple[int, int, int]


def reconstruction_figure(
    target: Any,
    reconstructions: _style.Arrays,
    *,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    zoom: Zoom | None = None,
    mask: Any = None,
    error_factor: float | None = None,
    pixel_ratio: float = 1.0,
) -> Figure:
    """Draw reconstructions beside the fully sampled image, with a zoom and error maps.

    Rows: magnitude images, the zoomed square, and error maps | |x| - |target| |; of a volume these
    are of its middle slice, and two more rows are mosaics of up to 16 slices and their errors. All
    images share one scale, from 0 to the 99.8th percentile of the target, and all error maps that
    scale divided by a factor: "x 10" says that errors are drawn as if they were ten times as large.

    Parameters
    ----------
    target
        (h, w) or (s, h, w), fully sampled image, real or complex, arbitrary units.
    reconstructions
        For each method an image of the same shape, in the units of the target.
    scores
        For each method its metrics on the (middle) slice, for example NMSE, PSNR and SSIM; written
        above the image as they are, PSNR in dB.
    zoom
        (row, column, size) of the upper left corner and the edge of the zoomed square, in pixels;
        by default the quarter of the image in which the target has the most detail (the choice
        looks at no reconstruction).
    mask
        Mask (h, w) with its centre in the middle, 1 where k-space was sampled. It is drawn below
        the target.
    error_factor
        Magnification of the error maps; by default the largest of 1, 2, 5, 10, … at which the
        scale still reaches the 99.5th percentile of the error of the median method.
    pixel_ratio
        Height over width of a pixel, for true proportions.

    Returns
    -------
    Figure
        3 rows of 1 + n_methods columns, 5 rows for a volume of more than one slice.

    Raises
    ------
    ValueError
        When shapes differ, there is no reconstruction, or the zoom leaves the image.
    """
    whole = magnitudes("target", target)
    _style.not_empty("reconstructions", reconstructions)
    volumes = {
        name: magnitudes(f"reconstructions[{name!r}]", value, like=whole)
        for name, value in reconstructions.items()
    }
    middle = len(whole) // 2
    truth, images = whole[middle], {name: volume[middle] for name, volume in volumes.items()}
    square = _zoom_inside(zoom, truth) if zoom is not None else detailed_square(truth)
    peak = float(np.percentile(whole[np.isfinite(whole)], 99.8)) or _style.largest(whole)
    errors = {name: np.abs(image - truth) for name, image in images.items()}
    factor = error_factor or _error_factor(list(errors.values()), peak)

    everything = {"fully sampled": truth, **images}
    titles = [_title(name, (scores or {}).get(name, {})) for name in everything]
    edge = column_width(len(whole))
    ratios = [edge * ratio for ratio in (height_ratio(truth), 1, height_ratio(truth))]
    tiles = mosaic(whole) if len(whole) > 1 else None
    ratios += [] if tiles is None else [edge * height_ratio(tiles)] * 2
    ratios = [ratio * pixel_ratio for ratio in ratios]
    extra = 0.55 + 0.16 * max(title.count("\n") for title in titles)
    figure = _style.new_figure(edge * len(everything) + 0.85, sum(ratios) + extra)
    axes = figure.subplots(len(ratios), len(everything), squeeze=False, height_ratios=ratios)
    for column, title, image in zip(axes.T, titles, everything.values()):
        _draw_image(column[0], column[1], image, square, peak)
        column[0].set_title(title, fontsize=_style.FONT - 0.5, pad=4)
    for ax, error in zip(axes[2, 1:], errors.values()):
        _style.show_image(ax, error, "error", 0, peak / factor)
        ax.set_title(f"|error| × {factor:g}", fontsize=_style.FONT - 0.5, pad=4)
    _draw_mask(axes[2, 0], mask, truth)
    if tiles is not None:
        draw_mosaics(axes[3], [whole, *volumes.values()], "gray", peak)
        draw_mosaics(
            axes[4, 1:], [abs(v - whole) for v in volumes.values()], "error", peak / factor
        )
        axes[4, 0].set_axis_off()
    set_proportions(figure, pixel_ratio, but=axes[2, 0])
    _style.add_colorbar(figure, axes[0, 0].images[0], list(axes[0]), "magnitude (a.u.)")
    _style.add_colorbar(figure, axes[2, 1].images[0], list(axes[2]), "|error| (a.u.)", extend="max")
    return figure


def set_proportions(figure: Figure, pixel_ratio: float, *, but: Axes | None = None) -> None:
    """Draw pixels `pixel_ratio` times as high as wide in all images except that of a mask."""
    for axes in figure.axes:
        if axes.images and axes is not but:
            axes.set_aspect(pixel_ratio)


def magnitudes(name: str, value: Any, *, like: np.ndarray | None = None) -> np.ndarray:
    """Return the magnitudes (s, h, w) of a volume or of one slice.

    Parameters
    ----------
    name
        Name of the argument, used in error messages.
    value
        (h, w) or (s, h, w), real or complex, a tensor or array.
    like
        Magnitudes (s, h, w) whose size `value` must have.
    """
    if getattr(value, "ndim", 2) == 3:
        return np.abs(_style.as_array(name, value, ndim=3, like=like))
    return np.abs(_style.as_array(name, value, ndim=2, like=None if like is None else like[0]))[
        None
    ]


def column_width(n_slices: int) -> float:
    """Return the width of a column in inches: mosaics of a volume need more."""
    return 1.95 if n_slices == 1 else 2.6


def height_ratio(image: np.ndarray) -> float:
    """Return height over width."""
    return image.shape[0] / image.shape[1]


def shown_slices(n_slices: int) -> list[int]:
    """Return the numbers of the slices of a mosaic: all, or 16 that are spread evenly.

    Examples
    --------
    >>> shown_slices(3), shown_slices(31)[:4]
    ([0, 1, 2], [0, 2, 4, 6])
    """
    count = min(n_slices, _TILES)
    return [round(place) for place in np.linspace(0, n_slices - 1, count)]


def mosaic(volume: np.ndarray) -> np.ndarray:
    """Return slices of (s, h, w) side by side in one image that is as square as possible."""
    return montage(torch.from_numpy(volume[shown_slices(len(volume))])).numpy()


def draw_mosaics(row: Any, volumes: list[np.ndarray], kind: str, peak: float) -> None:
    """Draw a mosaic of each volume, with the numbers of the slices above the first."""
    for ax, volume in zip(row, volumes):
        _style.show_image(ax, mosaic(volume), kind, 0, peak)
    n_slices = len(volumes[0])
    count = len(shown_slices(n_slices))
    what = f"all {n_slices} slices" if count == n_slices else f"{count} of {n_slices} slices"
    title = what if kind == "gray" else f"|error|, {what}"
    row[0].set_title(title, fontsize=_style.FONT - 0.5, pad=4)


def detailed_square(image: np.ndarray, *, fraction: float = 0.25) -> Zoom:
    """Return the square (row, column, size) with the most detail, the largest sum of gradients.

    Gradient magnitudes are clipped at the 80th percentile of those above zero.

    Parameters
    ----------
    image
        (h, w), real.
    fraction
        Edge of the square as a fraction of the shorter side of the image.
    """
    h, w = image.shape
    size = max(1, round(fraction * min(h, w)))
    steps = [
        np.diff(np.nan_to_num(image), axis=axis, append=np.nan_to_num(image.take([-1], axis)))
        for axis in (0, 1)
    ]
    detail = np.hypot(*steps)
    if detail.any():  # texture counts, one bright rim does not
        detail = np.minimum(detail, np.percentile(detail[detail > 0], 80))
    total = np.pad(detail, ((1, 0), (1, 0))).cumsum(0).cumsum(1)  # (h + 1, w + 1) summed area
    sums = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(row), int(column), size


def _zoom_inside(zoom: Zoom, image: np.ndarray) -> Zoom:
    """Return `zoom`; ValueError when it leaves the image."""
    row, column, size = zoom
    h, w = image.shape
    if min(row, column) < 0 or size < 1 or row + size > h or column + size > w:
        rule = f"`zoom` (row, column, size) must lie inside the image of {h} x {w} pixels"
        raise ValueError(message(rule, zoom, "Move or shrink it, or leave it out."))
    return zoom


def _error_factor(errors: list[np.ndarray], peak: float) -> int:
    """Return the largest magnification at which the error map of the median method fits."""
    finite = [error[np.isfinite(error)] for error in errors]
    reach = sorted(float(np.percentile(error, 99.5)) for error in finite if error.size)
    middle = reach[(len(reach) - 1) // 2] if reach else 0.0
    return max([factor for factor in _FACTORS if factor * middle <= peak], default=1)


def _title(name: str, scores: Mapping[str, float]) -> str:
    """Return the name and its metrics, as many to a line as fit."""
    lines = [_style.wrapped(name, 24), ""]
    for metric, value in scores.items():
        unit = " dB" if "psnr" in metric.lower() else ""
        text = f"{metric.upper()} {number_text(float(value))}{unit}"
        joined = f"{lines[-1]}, {text}" if lines[-1] else text
        lines[-1:] = [joined] if len(joined) <= 24 else [lines[-1], text]
    return "\n".join(line for line in lines if line)


def _draw_image(whole: Axes, part: Axes, image: np.ndarray, square: Zoom, peak: float) -> None:
    """Draw an image with the outline of the square, and the square by itself below."""
    from matplotlib.patches import Rectangle

    row, column, size = square
    _style.show_image(whole, image, "gray", 0, peak)
    corner = (column - 0.5, row - 0.5)
    whole.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=_ACCENT, linewidth=1.2))
    _style.show_image(part, image[row : row + size, column : column + size], "gray", 0, peak)
    for spine in part.spines.values():
        spine.set(linewidth=1.2, color=_ACCENT)


def _draw_mask(axes: Axes, mask: Any, truth: np.ndarray) -> None:
    """Draw the sampling mask and how much of the matrix it takes; nothing without a mask."""
    if mask is None:
        axes.set_axis_off()
        return
    sampled = np.real(_style.as_array("mask", mask, ndim=2, like=truth)) > 0
    _style.show_image(axes, sampled.astype(float), "gray", 0, 1)
    title = f"sampling mask, {100 * sampled.mean():.3g} %"  # of the matrix, padding included
    axes.set_title(title, fontsize=_style.FONT - 0.5, pad=4)
