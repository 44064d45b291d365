"""Figures of errors by wavenumber, band and boundary; of costs and transfers; of fields in 1-D."""

import io
import math

import numpy as np
import pytest
from matplotlib.image import imread

from monarch_sciml.evaluation import (
    ComparisonTable,
    bands_figure,
    boundary_figure,
    cost_figure,
    error_over_time_figure,
    lines_figure,
    metrics_figure,
    pair_figure,
    spacetime_figure,
    spectrum_figure,
    training_figure,
    transfer_figure,
)

NAMES = ("FNO", "FNO, padded", "Monarch-NO", "Monarch-NO, per channel, rank 2", "U-Net", "F-FNO")
RNG = np.random.default_rng(0)


def per_network(*shape, n=6):
    return {name: (1 + i) * (0.5 + RNG.random(shape)) for i, name in enumerate(NAMES[:n])}


def comparison(n=6, metrics=("error",), **changes):
    rows = [
        {"network": name, "seed": seed, "error": 0.1 * (i + 1) + 0.01 * seed,
         "n_parameters": 10 ** (4 + i % 3), "seconds_per_epoch": 1.0 + i, "epochs": 5,
         **dict.fromkeys(metrics[1:], 1.0 + i), **changes}
        for i, name in enumerate(NAMES[:n])
        for seed in range(2)
    ]  # fmt: skip
    return ComparisonTable.from_rows(rows, metrics)


def rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    buffer.seek(0)
    return imread(buffer)


def boxes_inside(figure):
    """Return whether no axes, label or legend sticks out, and the legend below hides no axes."""
    figure.draw_without_rendering()
    box = figure.bbox
    tight = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    legends = [legend.get_window_extent() for legend in figure.legends]
    clear = not any(legend.overlaps(part) for legend in legends for part in tight)
    return clear and all(
        t.x0 >= box.x0 - 1 and t.y0 >= box.y0 - 1 and t.x1 <= box.x1 + 1 and t.y1 <= box.y1 + 1
        for t in (*tight, *legends)
    )


FIGURES = {
    "spectrum": lambda: spectrum_figure(np.exp(-np.arange(17)), per_network(3, 17)),
    "bands": lambda: bands_figure(per_network(2, 3)),
    "boundary": lambda: boundary_figure(per_network(2, 8)),
    "cost": lambda: cost_figure(comparison(), "error"),
    "metrics": lambda: metrics_figure(comparison()),
    "many metrics": lambda: metrics_figure(comparison(metrics=("error", *"abcdef"))),
    "transfer": lambda: transfer_figure(per_network(2, 3), ["32 x 32", "64 x 64", "128 x 128"]),
    "time": lambda: error_over_time_figure(per_network(2, 9), np.arange(9)),
    "spacetime": lambda: spacetime_figure(
        RNG.random((5, 12)), per_network(5, 12, n=3), np.arange(5)
    ),
    "lines": lambda: lines_figure(RNG.random((4, 12)), RNG.random((4, 12)), per_network(4, 12)),
    "pairs": lambda: pair_figure(
        RNG.random((5, 6, 9)), RNG.random((5, 6, 9)), per_network(5, 6, 9, n=2)
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_clipped_or_hidden(name):
    figure = FIGURES[name]()
    assert np.isfinite(rendered(figure)).all() and boxes_inside(figure)


def test_spectrum_is_log_log_and_draws_truth_mean_and_range():
    truth, runs = np.array([5.0, 1.0, 0.1, 0.0]), np.array([[5.0, 1, 0.2, 0.1], [5, 3, 0.4, 0.3]])
    (axes,) = spectrum_figure(truth, {"FNO": runs}).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    black, line = axes.lines
    np.testing.assert_array_equal(black.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(black.get_ydata(), [1, 0.1, np.nan])
    np.testing.assert_allclose(line.get_ydata(), [2, 0.3, 0.2])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["truth", "FNO"]


def test_bands_have_a_bar_for_each_network_and_whiskers_to_the_seeds():
    runs = np.array([[0.1, 0.01], [0.3, 0.03]])
    (axes,) = bands_figure({"FNO": runs, "Monarch-NO": runs / 2}).axes
    heights = [bar.get_height() for group in axes.containers[::2] for bar in group]
    np.testing.assert_allclose(heights, [0.2, 0.02, 0.1, 0.01])
    assert axes.get_yscale() == "log"
    assert [tick.get_text().split("\n")[0] for tick in axes.get_xticklabels()] == ["low", "middle"]


def test_diverged_runs_are_named_everywhere():
    bad = np.full((2, 3), 0.1)
    bad[1] = math.inf
    figures = (
        bands_figure({"U-Net": bad}),
        boundary_figure({"U-Net": bad}),
        spectrum_figure(np.ones(3), {"U-Net": bad}),
        transfer_figure({"U-Net": bad}, ["a", "b", "c"]),
    )
    for figure in figures:
        legend = figure.legends[0] if figure.legends else figure.axes[0].get_legend()
        assert "U-Net (1 of 2 runs diverged)" in [text.get_text() for text in legend.get_texts()]
        rendered(figure)


def test_transfer_places_resolutions_by_their_size_and_marks_the_training():
    errors = {"FNO": np.array([[0.2, 0.1, 0.4]])}
    (axes,) = transfer_figure(errors, ["64", "32", "128"], sizes=[64, 32, 128]).axes
    mark, line = axes.lines
    assert list(mark.get_xdata()) == [6, 6]
    np.testing.assert_array_equal(line.get_xdata(), [5, 6, 7])
    np.testing.assert_array_equal(line.get_ydata(), [0.1, 0.2, 0.4])
    (axes,) = transfer_figure(errors, ["a", "b", "c"], sizes=[32, 32, 32]).axes
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), [0, 1, 2])


def test_cost_has_a_point_a_network_on_both_axes():
    left, right = cost_figure(comparison(3), "error").axes
    assert [c.lines[0].get_xdata()[0] for c in left.containers] == [1e4, 1e5, 1e6]
    assert [c.lines[0].get_xdata()[0] for c in right.containers] == [1, 2, 3]
    assert left.containers[0].lines[0].get_ydata()[0] == pytest.approx(0.105)
    assert left.get_xscale() == "log"


def test_every_metric_has_axes_and_every_network_a_point():
    table = comparison(3, metrics=("error", "other", "psnr", "worse"), worse=math.nan)
    shown = metrics_figure(table)
    titles = [axes.get_title("left") for axes in shown.axes]
    assert titles == ["error ↓", "other ↓", "psnr ↑"]
    assert (
        sum(axes.axison for axes in metrics_figure(comparison(2, metrics=("error", *"abcd"))).axes)
        == 5
    )
    heights = [c.lines[0].get_ydata()[0] for c in shown.axes[0].containers[:3]]
    assert heights == pytest.approx([0.105, 0.205, 0.305])
    labels = [text.get_text() for text in shown.legends[0].get_texts()]
    assert labels == list(NAMES[:3])
    assert metrics_figure(comparison(error=math.nan)) is None


@pytest.mark.parametrize("change", [{"n_parameters": 0}, {"error": math.nan}])
def test_cost_of_untrained_or_failed_networks_is_not_drawn(change):
    assert cost_figure(comparison(**change), "error") is None
    assert cost_figure(comparison(1), "error") is None


def test_spacetime_has_time_upwards_and_errors_on_one_scale():
    truth = np.outer(np.arange(4), np.ones(6))
    figure = spacetime_figure(truth, {"a": 1.1 * truth, "b": truth}, [1, 2, 3, 4], length=2.0)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert [tuple(image.get_extent()) for image in shown] == [(0, 2, 0.5, 4.5)] * 5
    assert all(image.origin == "lower" for image in shown)
    np.testing.assert_allclose(shown[2].get_array(), 0.1 * truth)
    assert shown[2].get_clim() == shown[4].get_clim() == (0, pytest.approx(0.3))
    assert any(axes.get_title() == "a: rel. L2 0.100" for axes in figure.axes)


def test_pairs_show_input_truth_prediction_and_error_of_every_sample():
    truth = 1.0 + RNG.random((3, 8, 8))
    figure = pair_figure(4 * truth, truth, {"a": 1.1 * truth}, fields=("a", "u"))
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 4 * 3
    np.testing.assert_allclose(shown[1], 4 * truth[1])
    np.testing.assert_allclose(shown[3 * 3 + 1], 0.1 * truth[1])
    assert [axes.get_title() for axes in figure.axes].count("rel. L2 0.100") == 3


def test_lines_draw_input_truth_and_predictions():
    x = np.linspace(0, 3, 7)
    fields = np.stack([x, x**2])
    figure = lines_figure(fields + 1, fields, {"a": fields + 0.1}, length=3.0)
    upper, lower = figure.axes[0], figure.axes[2]
    assert [line.get_label() for line in upper.lines] == ["input", "truth", "a"]
    np.testing.assert_allclose(upper.lines[0].get_ydata(), x + 1)
    np.testing.assert_allclose(upper.lines[2].get_xdata(), x)
    np.testing.assert_allclose(lower.lines[0].get_ydata(), 0.1)
    assert lower.get_yscale() == "log"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spectrum_figure([1.0], {}), "at least two wavenumbers, got 1"),
        (lambda: spectrum_figure(np.ones(3), {"a": np.ones((1, 4))}), "a must have length 3, got"),
        (lambda: spectrum_figure(np.ones(3), {}), "`predictions` must have at least one entry"),
        (lambda: bands_figure({}), "`errors` must have at least one entry"),
        (lambda: bands_figure({"a": np.ones((1, 3)), "b": np.ones((1, 2))}), "b must have length"),
        (lambda: boundary_figure({"a": np.ones(3)}), "must have 2 axes"),
        (lambda: transfer_figure({"a": np.ones((1, 3))}, ["x"]), "a must be on 1 data sets, got 3"),
        (lambda: spacetime_figure(np.ones((3, 4)), {}, [1, 2, 3]), "`predictions` must have at"),
        (lambda: spacetime_figure(np.ones((3, 4)), {"a": 1}, [1, 2]), "each of 3 times, got 2"),
        (lambda: lines_figure(np.ones((2, 4)), np.ones((2, 5)), {"a": 1}), "`inputs` must have"),
        (lambda: pair_figure(np.ones((2, 4, 4)), np.ones((2, 4, 4)), {}), "`predictions` must"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_long_names_take_fewer_columns_of_the_legend():
    names = [
        "zero-filled SENSE",
        "mSENSE + weighting",
        "k-space weighting",
        "a network of long name",
    ]
    curves = {name: [([1, 2], [2.0, 1.0])] * 3 for name in [*names, "U-Net", "VarNet"]}
    assert boxes_inside(training_figure(curves))
