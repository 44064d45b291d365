import numpy as np
import pytest

from monarch_sciml.evaluation import images_figure, reconstruction_figure


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    smooth = np.outer(np.hanning(40), np.hanning(30))
    detail = rng.random((10, 8))
    smooth[20:30, 4:12] += detail
    return {"zero-filled": smooth, "a longer name of a method": 2j * smooth}


def shown(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_images_zoom_and_mask_share_one_scale(images):
    mask = np.zeros((50, 30))
    mask[::2] = 1
    figure = images_figure(images, mask=mask)
    figure.draw_without_rendering()
    wide = [image for image in shown(figure) if image.get_array().shape == (40, 30)]
    assert len(wide) == 2 and len({image.get_clim() for image in shown(figure)[:2]}) == 1
    np.testing.assert_allclose(wide[1].get_array(), 2 * wide[0].get_array())
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes if axes.get_title()]
    assert titles == [
        "zero-filled",
        "a longer name of a method",
        "sampling mask, 50 %",
    ]


def test_the_zoom_is_where_the_detail_is(images):
    figure = images_figure(images)
    squares = [i.get_array() for i in shown(figure) if i.get_array().shape != (40, 30)]
    assert len(squares) == 2
    corner = figure.axes[0].patches[0].get_xy()
    assert 2 <= corner[0] <= 8 and 17 <= corner[1] <= 25  # column and row of the random patch
    figure = images_figure(images, zoom=(1, 2, 5))
    assert figure.axes[0].patches[0].get_xy() == (1.5, 0.5)


def test_pixels_have_true_proportions_but_for_those_of_a_mask(images):
    mask = np.ones((50, 30))
    figure = images_figure(images, mask=mask, pixel_ratio=2.5)
    aspects = [axes.get_aspect() for axes in figure.axes if axes.images]
    assert sorted(aspects) == [1.0] + [2.5] * 4
    target = images["zero-filled"]
    figure = reconstruction_figure(target, {"a": target}, mask=np.ones((40, 30)), pixel_ratio=0.5)
    aspects = [axes.get_aspect() for axes in figure.axes if axes.images]
    assert sorted(aspects) == [0.5] * 5 + [1.0]


def test_an_empty_image_is_drawn():
    images_figure({"nothing": np.zeros((8, 8))}).draw_without_rendering()


def test_what_cannot_be_drawn(images):
    with pytest.raises(ValueError, match="at least one entry"):
        images_figure({})
    with pytest.raises(ValueError, match=r"must have the shape \(40, 30\)"):
        images_figure({**images, "other": np.zeros((4, 4))})
    with pytest.raises(ValueError, match="must lie inside the image"):
        images_figure(images, zoom=(39, 0, 5))
