"""Lines on grids, and what is not a grid."""

import numpy as np
import pytest

from monarch_sciml.data.scans.raw.trajectory import cartesian_encoding, measured_lines


def readouts(lines, *, partitions=(0.0,), n=8):
    """Readouts along x at the lines and partitions given, in 1/m for a field of view of 0.1 m."""
    x = np.arange(n) - n // 2
    return [
        10.0 * np.stack([x, np.full(n, line), np.full(n, partition)], axis=1)
        for line in lines
        for partition in partitions
    ]


CASES = {
    "even": (range(-8, 8), 16, 8),
    "the other way round": (range(8, -8, -1), 16, 8),
    "up to N / 2": (range(-7, 9), 16, 8),
    "odd": (range(-7, 8), 15, 7),
    "half a step off": (np.arange(-7.5, 8), 16, 8),
    "partial Fourier, above": (range(-2, 8), 16, 2),
    "partial Fourier, below": (range(-8, 3), 16, 8),
    "every second": (range(-8, 8, 2), 16, 8),
    "slightly uneven": (np.arange(-8, 8) + 0.01 * np.cos(np.arange(16)), 16, 8),
}


@pytest.mark.parametrize("name", CASES)
def test_the_matrix_holds_the_lines_with_the_centre_in_the_middle(name):
    lines, size, center = CASES[name]
    found = cartesian_encoding("a.seq", measured_lines(readouts(lines)), np.full(3, 0.1))
    (axis,) = found.axes
    assert (axis.size, axis.center) == (size, center)
    columns = axis.counters + size // 2 - axis.center
    assert columns.min() >= 0 and columns.max() < size and len(set(columns)) == len(columns)
    assert columns[np.abs(np.asarray(lines) - 1e-3).argmin()] == size // 2
    assert 1 / axis.step == pytest.approx(0.1, rel=2e-2)


@pytest.mark.parametrize("lines", [[0, 1, 2.4, 4], [-3, -1.7, 0, 1, 2]])
def test_lines_off_a_grid_are_refused(lines):
    with pytest.raises(ValueError, match=r"a.seq must acquire a Cartesian grid, got lines"):
        cartesian_encoding("a.seq", measured_lines(readouts(lines)), np.full(3, 0.1))


def test_spirals_are_refused():
    angle = np.linspace(0, 6 * np.pi, 64)
    spiral = [np.stack([angle * np.cos(angle + i), angle * np.sin(angle + i), 0 * angle], axis=1)
              for i in range(4)]  # fmt: skip
    with pytest.raises(ValueError, match=r"a.seq must acquire a Cartesian grid, got samples"):
        cartesian_encoding("a.seq", measured_lines(spiral), np.full(3, 0.1))


def test_the_step_without_a_field_of_view_is_the_distance_of_lines():
    found = cartesian_encoding("a.seq", measured_lines(readouts(range(-8, 8, 2))), np.zeros(3))
    assert (found.axes[0].size, found.axes[0].step) == (8, pytest.approx(20.0))


def test_two_axes_of_a_volume():
    k = readouts(range(-2, 2), partitions=range(-1, 2))
    found = cartesian_encoding("a.seq", measured_lines(k), np.full(3, 0.1))
    lines, partitions = found.axes
    assert (lines.size, partitions.size) == (4, 3)
    assert lines.counters.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert partitions.counters.tolist() == [0, 1, 2] * 4
