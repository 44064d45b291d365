"""Figures of whole volumes: the middle slice with zoom and error, and mosaics of the slices."""

import numpy as np
import pytest
import torch

from monarch_sciml.evaluation import images_figure, reconstruction_figure

RNG = np.random.default_rng(0)
TARGET = RNG.random((5, 20, 16)) + 0.1 * np.arange(5)[:, None, None]
NOISY = TARGET + 0.01 * RNG.standard_normal(TARGET.shape)


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def grid_of(figure, n_columns):
    return np.array([ax for ax in figure.axes if ax.get_label() != "<colorbar>"]).reshape(
        -1, n_columns
    )


def test_a_volume_shows_its_middle_slice_and_all_of_them():
    figure = reconstruction_figure(TARGET, {"a": torch.tensor(NOISY) * 1j, "b": 0 * NOISY})
    grid = grid_of(figure, 3)
    assert grid.shape == (5, 3)
    np.testing.assert_array_equal(shown(grid[0, 0]), TARGET[2])
    np.testing.assert_allclose(shown(grid[2, 1]), abs(NOISY - TARGET)[2])
    tiles = shown(grid[3, 1])  # 5 slices in 2 rows of 3
    assert tiles.shape == (40, 48)
    np.testing.assert_allclose(tiles[20:, 16:32], NOISY[4])
    assert not tiles[20:, 32:].any()
    np.testing.assert_allclose(shown(grid[4, 2])[:20, 16:32], TARGET[1])
    assert grid[3, 0].get_title() == "all 5 slices"
    assert grid[4, 1].get_title() == "|error|, all 5 slices"
    figure.draw_without_rendering()


def test_long_volumes_show_sixteen_slices_from_the_first_to_the_last():
    volume = np.ones((31, 6, 4)) * np.arange(31)[:, None, None]
    figure = images_figure({"a": volume}, mask=np.eye(6))
    grid = grid_of(figure, 2)
    assert grid.shape == (3, 2) and grid[2, 0].get_title() == "16 of 31 slices"
    tiles = shown(grid[2, 0])
    assert tiles.shape == (24, 16) and tiles[0, 0] == 0 and tiles[-1, -1] == 30
    assert len(np.unique(tiles)) == 16


def test_one_slice_is_drawn_as_an_image_is():
    one = reconstruction_figure(TARGET[:1], {"a": NOISY[:1]})
    image = reconstruction_figure(TARGET[0], {"a": NOISY[0]})
    assert tuple(one.get_size_inches()) == tuple(image.get_size_inches())
    assert len(one.axes) == len(image.axes)
    np.testing.assert_array_equal(shown(one.axes[1]), shown(image.axes[1]))


def test_volumes_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"must have the shape \(5, 20, 16\)"):
        reconstruction_figure(TARGET, {"a": NOISY[:3]})
    with pytest.raises(ValueError, match=r"must have the shape \(5, 20, 16\)"):
        images_figure({"a": TARGET, "b": NOISY[:2]})
