"""Figures of reconstructions for which no fully sampled image is known."""

# letters: s slices, h and w image rows and columns

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monarch_sciml.evaluation.figures import style as _style
from monarch_sciml.evaluation.figures.reconstructions import (
    Zoom,
    _draw_image,
    _draw_mask,
    _zoom_inside,
    column_width,
    detailed_square,
    draw_mosaics,
    height_ratio,
    magnitudes,
    mosaic,
    set_proportions,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def images_figure(
    reconstructions: _style.Arrays,
    *,
    zoom: Zoom | None = None,
    mask: Any = None,
    pixel_ratio: float = 1.0,
) -> Figure:
    """Draw reconstructions side by side with a zoom, without a reference image.

    For a volume the middle slice is drawn, and mosaics of up to 16 slices below it. All images
    share one scale, from 0 to the largest of their 99.8th percentiles.

    Parameters
    ----------
    reconstructions
        For each method (h, w) or (s, h, w), real or complex, arbitrary units.
    zoom
        (row, column, size) of the upper left corner and the edge of the zoomed square, in pixels;
        by default the quarter in which the mean of all images has the most detail.
    mask
        Mask (h', w') with its centre in the middle, 1 where k-space was sampled. It is drawn in a
        last column.
    pixel_ratio
        Height over width of a pixel, for true proportions.

    Returns
    -------
    Figure
        2 rows (image, zoom) of n_methods columns, and one more for the mask; a third row for a
        volume of more than one slice.

    Raises
    ------
    ValueError
        When shapes differ, there is no reconstruction, or the zoom leaves the image.
    """
    _style.not_empty("reconstructions", reconstructions)
    first = magnitudes("reconstructions", next(iter(reconstructions.values())))
    volumes = {
        name: magnitudes(f"reconstructions[{name!r}]", value, like=first)
        for name, value in reconstructions.items()
    }
    images = {name: volume[len(volume) // 2] for name, volume in volumes.items()}
    mean = np.mean(list(images.values()), axis=0)
    square = _zoom_inside(zoom, mean) if zoom is not None else detailed_square(mean)
    peaks = [float(np.percentile(v[np.isfinite(v)], 99.8)) for v in volumes.values()]
    peak = max(peaks) or _style.largest(*volumes.values())
    edge = column_width(len(first))
    n_columns = len(images) + (mask is not None)
    ratios = [edge * height_ratio(mean), edge]
    ratios += [edge * height_ratio(mosaic(first))] if len(first) > 1 else []
    ratios = [ratio * pixel_ratio for ratio in ratios]
    figure = _style.new_figure(edge * n_columns + 0.85, sum(ratios) + 0.5)
    axes = figure.subplots(len(ratios), n_columns, squeeze=False, height_ratios=ratios)
    for column, (name, image) in zip(axes.T, images.items()):
        _draw_image(column[0], column[1], image, square, peak)
        column[0].set_title(_style.wrapped(name, 24), fontsize=_style.FONT - 0.5, pad=4)
    if mask is not None:
        _draw_mask(axes[0, -1], mask, np.asarray(mask))
        for ax in axes[1:, -1]:
            ax.set_axis_off()
    if len(first) > 1:
        draw_mosaics(axes[2], list(volumes.values()), "gray", peak)
    set_proportions(figure, pixel_ratio, but=None if mask is None else axes[0, -1])
    shown = axes[0, 0].images[0]
    _style.add_colorbar(figure, shown, list(axes[0, : len(images)]), "magnitude (a.u.)")
    return figure
