import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from monarch_sciml.evaluation import (
    error_over_time_figure,
    reconstruction_figure,
    rollout_figure,
    save,
    training_figure,
    transform_figure,
)
from monarch_sciml.evaluation.figures.reconstructions import detailed_square


def rendered(figure):
    """Return the pixels of a figure; warnings, such as a failed layout, are errors here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return imread(buffer)


def inside(figure):
    """Return whether no axes, title or label sticks out of the figure."""
    figure.draw_without_rendering()
    box = figure.bbox
    tight = [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    return all(
        t.x0 >= box.x0 - 1 and t.y0 >= box.y0 - 1 and t.x1 <= box.x1 + 1 and t.y1 <= box.y1 + 1
        for t in tight
    )


def titles_apart(figure):
    """Return whether no two titles overlap."""
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    return not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    truth = np.stack([np.sin(x[:, None] + t) * np.cos(x) for t in range(6)])
    return truth, {
        "FNO": truth + 0.1 * rng.standard_normal(truth.shape),
        "Monarch-NO (one transform per channel)": 1.1 * truth,
    }


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    target = np.zeros((40, 30))
    target[8:32, 6:24] = 1
    target[22:30, 8:16] += 0.3 * rng.standard_normal((8, 8))
    methods = ("zero-filled SENSE", "CG-SENSE", "mSENSE")
    return target, {
        name: target + scale * rng.standard_normal(target.shape)
        for name, scale in zip(methods, (0.3, 0.1, 0.05))
    }


def test_rollout_has_fields_and_errors_at_every_time(fields):
    truth, predictions = fields
    figure = rollout_figure(truth, predictions, np.arange(6), n_columns=4)
    n_rows, n_columns = 5, 4
    assert len(images(figure)) == n_rows * n_columns
    assert len(figure.axes) == n_rows * n_columns + n_rows  # a colour bar each
    assert np.isfinite(rendered(figure)).all() and inside(figure) and titles_apart(figure)
    shown = [axes.get_title() for axes in figure.axes]
    assert shown[:4] == ["t = 0", "t = 2", "t = 3", "t = 5"]
    assert shown.count("rel. L2 0.100") == 4  # 1.1 u has the relative error 0.1 at every time


def test_rollout_shares_its_scales(fields):
    truth, predictions = fields
    shown = images(rollout_figure(truth, predictions, np.arange(6)))
    peak = np.abs(truth[[0, 2, 3, 5]]).max()
    rows = [shown[i : i + 4] for i in range(0, 20, 4)]
    for row in (rows[0], rows[1], rows[3]):
        assert {image.get_clim() for image in row} == {(-peak, peak)}
    assert len({image.get_clim() for row in (rows[2], rows[4]) for image in row}) == 1
    gap = rows[2][-1].get_array()
    assert np.allclose(gap, np.abs(predictions["FNO"][5] - truth[5]))


def test_rollout_accepts_tensors_fewer_steps_and_a_diverged_network(fields):
    truth, _ = fields
    wild = np.where(np.arange(6)[:, None, None] > 2, np.nan, truth)
    figure = rollout_figure(torch.tensor(truth), {"U-Net": torch.tensor(wild)}, torch.arange(6))
    assert [axes.get_title() for axes in figure.axes].count("diverged") == 2
    assert np.isfinite(rendered(figure)).all()
    one = rollout_figure(truth[:1], {"FNO": truth[:1]}, [1.0])
    assert len(images(one)) == 3 and inside(one)
    rendered(rollout_figure(np.ones((2, 8, 8)), {"FNO": np.ones((2, 8, 8))}, [0, 1]))


def test_an_exploding_prediction_does_not_hide_the_others(fields):
    truth, predictions = fields
    predictions = {**predictions, "U-Net": 1e8 * truth}
    shown = images(rollout_figure(truth, predictions, np.arange(6)))
    assert shown[8].get_clim()[1] <= 2 * np.abs(truth).max()


def test_error_over_time_has_a_line_and_a_band_per_network():
    rng = np.random.default_rng(0)
    times = np.arange(1, 9)
    errors = {
        "FNO": 0.1 * times * (1 + 0.1 * rng.random((3, 8))),
        "Monarch-NO": 0.05 * times * (1 + 0.1 * rng.random((3, 8))),
    }
    figure = error_over_time_figure(errors, times)
    (axes,) = figure.axes
    assert len(axes.lines) == len(axes.collections) == 2
    for line, runs in zip(axes.lines, errors.values()):
        assert np.allclose(line.get_ydata(), runs.mean(0))
    low, high = axes.collections[0].get_datalim(axes.transData).intervaly
    assert (low, high) == pytest.approx((errors["FNO"].min(), errors["FNO"].max()))
    assert axes.get_yscale() == "linear" and "3 seeds" in axes.get_legend().get_title().get_text()
    assert np.isfinite(rendered(figure)).all() and inside(figure)


def test_error_over_time_is_logarithmic_when_errors_span_much_and_names_failures():
    times = np.arange(1, 7)
    errors = {"FNO": np.exp(times)[None], "U-Net": np.where(times > 3, np.inf, 1.0)[None]}
    figure = error_over_time_figure(errors, times)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log" and not axes.collections
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["FNO", "U-Net (1 of 1 runs diverged)"]
    assert np.isfinite(rendered(figure)).all()


def test_training_draws_every_seed_and_the_mean():
    epochs = np.arange(1, 6)
    curves = {
        "FNO": [(epochs, 1.0 / epochs), (epochs, 2.0 / epochs)],
        "Monarch-NO": [(epochs, 0.5 / epochs), (epochs[:3], 0.6 / epochs[:3])],
    }
    figure = training_figure(curves)
    (axes,) = figure.axes
    thin, thick = axes.lines[:2], axes.lines[2]
    assert all(line.get_linewidth() < thick.get_linewidth() for line in thin)
    assert np.allclose(thick.get_ydata(), 1.5 / epochs)
    assert len(axes.lines[5].get_ydata()) == 0  # different epochs have no mean
    assert np.isfinite(rendered(figure)).all() and inside(figure)


@pytest.mark.parametrize(("last", "from_zero"), [(0.8, False), (0.2, True)])
def test_training_starts_at_zero_unless_the_values_are_near_each_other(last, from_zero):
    (axes,) = training_figure({"FNO": [([1, 2], [1.0, last])]}).axes
    assert (axes.get_ylim()[0] == 0) == from_zero


def test_transform_figure_of_real_and_complex_matrices():
    dft = torch.fft.fft(torch.eye(16, dtype=torch.float64), norm="ortho")[:5]
    complex_ = transform_figure(dft, dft * 1.1, "Layer 1, axis x")
    assert len(images(complex_)) == 6 and len(complex_.axes) == 12
    assert complex_.get_suptitle() == "Layer 1, axis x: relative change 0.100"
    change, turn = images(complex_)[2], images(complex_)[5]
    assert np.allclose(change.get_array(), 0.1 * np.abs(dft.numpy()))
    assert np.allclose(turn.get_array(), 0)
    real = transform_figure(dft.real, dft.real, "DCT")
    assert len(images(real)) == 3
    assert real.get_suptitle() == "DCT: relative change 0"
    for figure in (complex_, real):
        assert np.isfinite(rendered(figure)).all() and inside(figure) and titles_apart(figure)


def test_transform_figure_greys_the_phase_of_vanishing_entries():
    diagonal = np.eye(6, dtype=complex)
    phase = images(transform_figure(diagonal, 1j * diagonal, "diagonal"))[5].get_array()
    assert np.isnan(np.ma.filled(phase, np.nan)[~np.eye(6, dtype=bool)]).all()
    assert np.allclose(np.diag(phase), np.pi / 2)


def test_reconstruction_has_images_zooms_and_errors(scan):
    target, methods = scan
    scores = {name: {"nmse": 1.23e-4, "psnr": 35.12, "ssim": 0.912} for name in methods}
    mask = np.zeros(target.shape)
    mask[:, ::2] = 1
    figure = reconstruction_figure(target, methods, scores=scores, mask=mask)
    assert len(images(figure)) == 3 * 4
    assert len(figure.axes) == 3 * 4 + 2
    shown = [axes.get_title() for axes in figure.axes]
    assert "mSENSE\nNMSE 1.23e-04\nPSNR 35.1 dB, SSIM 0.912" in shown
    assert "sampling mask, 50 %" in shown
    assert sum(title.startswith("|error| × ") for title in shown) == 3
    assert np.isfinite(rendered(figure)).all() and inside(figure) and titles_apart(figure)


def test_reconstruction_error_scale_is_the_image_scale_over_the_factor(scan):
    target, methods = scan
    figure = reconstruction_figure(target, methods, error_factor=10, zoom=(0, 0, 5))
    assert len(images(figure)) == 3 * 4 - 1  # no mask
    peak = images(figure)[0].get_clim()[1]
    error = next(axes for axes in figure.axes if axes.get_title() == "|error| × 10").images[0]
    assert error.get_clim() == (0, pytest.approx(peak / 10))
    name = next(iter(methods))
    assert np.allclose(error.get_array(), np.abs(np.abs(methods[name]) - np.abs(target)))


def test_reconstruction_takes_complex_tensors(scan):
    target, methods = scan
    turned = {name: torch.tensor(image * 1j) for name, image in methods.items()}
    figure = reconstruction_figure(torch.tensor(target * 1j), turned)
    assert np.allclose(images(figure)[0].get_array(), np.abs(target))
    rendered(figure)


def test_detailed_square_finds_texture_by_brute_force():
    rng = np.random.default_rng(0)
    image = np.zeros((40, 30))
    image[20:28, 10:18] = rng.random((8, 8))
    row, column, size = detailed_square(image)
    assert size == 8 and abs(row - 20) <= 1 and abs(column - 10) <= 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: rollout_figure(np.ones((2, 4, 4)), {}, [0, 1]), "`predictions` must have at lea"),
        (lambda: rollout_figure(np.ones((4, 4)), {"a": 0}, [0]), "`target` must have 3 axes"),
        (
            lambda: rollout_figure(np.ones((2, 4, 4)), {"a": np.ones((2, 4, 5))}, [0, 1]),
            r"`predictions\['a'\]` must have the shape \(2, 4, 4\)",
        ),
        (
            lambda: rollout_figure(np.ones((2, 4, 4)), {"a": np.ones((2, 4, 4))}, [0]),
            "`times` must have one value for each of 2 times, got 1",
        ),
        (lambda: error_over_time_figure({"a": np.ones((1, 3))}, [0, 1]), "got 3"),
        (lambda: training_figure({"a": []}), r"`curves\['a'\]` must have at least one entry"),
        (lambda: training_figure({"a": [([1, 2], [1])]}), "`values` must have the shape"),
        (lambda: transform_figure(np.eye(3), np.eye(4), ""), "`learned` must have the shape"),
        (
            lambda: reconstruction_figure(np.eye(9), {"a": np.eye(9)}, zoom=(5, 5, 5)),
            "inside the image of 9 x 9 pixels, got \\(5, 5, 5\\)",
        ),
        (
            lambda: reconstruction_figure(np.eye(9), {"a": np.array([["x"] * 9] * 9)}),
            "must hold numbers",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_save_writes_whole_files_only(tmp_path):
    figure = training_figure({"FNO": [([1, 2], [1.0, 0.5])]})
    path = save(figure, tmp_path / "figures" / "training.png")
    width, height = figure.get_size_inches()
    assert imread(path).shape[:2] == (round(120 * height), round(120 * width))
    with pytest.raises(FileExistsError, match="must not exist yet"):
        save(figure, path)
    save(figure, path, overwrite=True)
    assert [file.name for file in path.parent.iterdir()] == ["training.png"]
    with pytest.raises(ValueError, match=r"must be one of '.png'"):
        save(figure, tmp_path / "training.jpg")


def test_figures_leave_pyplot_and_its_state_alone():
    code = (
        "import sys; from monarch_sciml.evaluation import training_figure;"
        "assert 'matplotlib' not in sys.modules;"
        "training_figure({'a': [([1], [1.0])]}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
