"""The error against the distance from the boundary, counted point by point."""

import math

import numpy as np
import pytest
import torch

from monarch_sciml.metrics import boundary_profile, boundary_rmse, rmse


def pair(shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    target = torch.randn(shape, generator=generator, dtype=dtype)
    return target + torch.randn(shape, generator=generator, dtype=dtype), target


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 2, 2, 16), None),
        ((2, 2, 1, 9, 6), None),
        ((2, 2, 1, 9, 6), (0,)),
        ((1, 2, 2, 5, 6, 7), (0, 2)),
        ((2, 1, 1, 3), (0,)),
    ],
)
def test_profile_by_brute_force(shape, axes):
    prediction, target = pair(shape)
    grid = shape[3:]
    used = range(len(grid)) if axes is None else axes
    n_distances = min((grid[axis] + 1) // 2 for axis in used)
    expected = np.zeros((shape[0], n_distances))
    for b, t, f in np.ndindex(*shape[:3]):
        squares = [[] for _ in range(n_distances)]
        for point in np.ndindex(*grid):
            distance = min(min(point[axis], grid[axis] - 1 - point[axis]) for axis in used)
            squares[distance].append(float((prediction - target)[(b, t, f, *point)]) ** 2)
        roots = [math.sqrt(np.mean(values)) for values in squares]
        expected[b] += np.array(roots) / (shape[1] * shape[2])
    np.testing.assert_allclose(boundary_profile(prediction, target, axes=axes), expected)


def test_an_even_error_has_a_flat_profile():
    _, target = pair((2, 3, 1, 12, 12))
    profile = boundary_profile(target + 0.25, target)
    torch.testing.assert_close(profile, torch.full((2, 6), 0.25, dtype=torch.float64))
    torch.testing.assert_close(boundary_rmse(target + 0.25, target), profile[:, 0])
    torch.testing.assert_close(rmse(target + 0.25, target), profile[:, 0])


@pytest.mark.parametrize("axes", [(), (2,), (-1,)])
def test_axes_that_are_not_of_the_grid_are_refused(axes):
    prediction, target = pair((1, 1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"`axes` must name grid axes, 0 to 1, at least one"):
        boundary_profile(prediction, target, axes=axes)
