import math

import numpy as np
import pytest
import torch
from tolerances import assert_close

from monarch_sciml.physics import ReadoutErrors, fft2c, ifft2c
from monarch_sciml.physics.readout import readout_times

ALL = {"ramp": 0.125, "delay": 0.7, "nonlinearity": 4.0, "off_resonance": 3.0, "seed": 3}
EACH = [{name: value, "seed": 3} for name, value in ALL.items() if name != "seed"]


def direct_sum(image, errors, grid_shape, s):
    """Return k-space (H, W) of an image (s H, s W), summed over its points one sample at a time.

    Written after the equation in `ReadoutErrors`, with a trajectory that is integrated
    numerically; the shapes of d and f are those of the class.
    """
    height, width = grid_shape
    x = (np.arange(s * height) - s * height // 2) / s
    y = (np.arange(s * width) - s * width // 2) / s
    u, v = torch.from_numpy(x / height)[:, None], torch.from_numpy(y / width)
    d = errors.displacement(u, v).numpy()  # (I, J)
    f = errors.off_resonance_shift(u, v).numpy()
    fine = np.linspace(-1, 1, 400_001)
    plateau = 1 / (1 - errors.ramp)
    gradient = np.full(fine.shape, plateau)
    if errors.ramp:
        gradient = plateau * np.clip((0.5 - np.abs(fine)) / errors.ramp, 0, 1)
    area = np.concatenate([[0], np.cumsum((gradient[1:] + gradient[:-1]) / 2 * np.diff(fine))])
    area -= area[len(fine) // 2]
    result = np.empty(grid_shape, dtype=complex)
    for j in range(height):
        t = (j - height // 2) / height
        k = np.interp(t - errors.delay / height, fine, area)
        for line in range(width):
            turns = k * (x[:, None] + d) + t * f + (line - width // 2) * y / width
            result[j, line] = (image * np.exp(-2j * np.pi * turns)).sum()
    return result / (s * s * math.sqrt(height * width))


@pytest.mark.parametrize("given", [*EACH, ALL], ids=lambda given: "-".join(given))
@pytest.mark.parametrize(("grid_shape", "s"), [((12, 10), 1), ((11, 9), 2), ((40, 7), 1)])
def test_kspace_is_the_sum_over_the_points_of_the_object(given, grid_shape, s):
    errors = ReadoutErrors(**given)
    shape = tuple(s * n for n in grid_shape)
    image = torch.randn(2, *shape, dtype=torch.complex128, generator=torch.manual_seed(0))
    kspace = errors.measure(image, grid_shape, s)
    for part, found in zip(image, kspace):
        expected = direct_sum(part.numpy(), errors, grid_shape, s)
        assert_close(found, expected, relative=1e-8)  # of the numerical integration
    ideal = ReadoutErrors().measure(image, grid_shape, s)
    assert (kspace - ideal).norm() > 0.01 * ideal.norm()


@pytest.mark.parametrize("grid_shape", [(12, 10), (11, 9)])
def test_a_scanner_without_errors_measures_the_fourier_transform(grid_shape):
    image = torch.randn(3, *grid_shape, dtype=torch.complex128)
    assert_close(ReadoutErrors().measure(image, grid_shape), fft2c(image))
    assert ReadoutErrors().measure(image.to(torch.complex64), grid_shape).dtype == torch.complex64


def test_displacements_reach_the_given_size_and_vary_over_the_image():
    errors = ReadoutErrors(nonlinearity=4.0, off_resonance=3.0, seed=1)
    axis = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)
    inside = axis[:, None].square() + axis.square() <= 0.25
    for field, size in ((errors.displacement, 4.0), (errors.off_resonance_shift, 3.0)):
        values = field(axis[:, None], axis)
        assert float(values[inside].abs().max()) == pytest.approx(size)
        for line in (values[50], values[:, 50]):
            assert float(line.max() - line.min()) > 0.2 * size
        other = ReadoutErrors(nonlinearity=4.0, off_resonance=3.0, seed=2)
        assert not torch.equal(getattr(other, field.__name__)(axis[:, None], axis), values)


def test_the_trajectory_on_ramps_spans_the_same_kspace():
    k = ReadoutErrors(ramp=0.25).trajectory(64)
    assert float(k[0]) == -0.5 and float(k[32]) == 0
    steps = k.diff() * 64
    assert_close(steps[20:44], torch.full((24,), 4 / 3, dtype=torch.float64))  # the plateau
    assert bool((steps > 0).all()) and float(steps[0]) < 0.1
    assert_close(ReadoutErrors(delay=1.5).trajectory(64), readout_times(64) - 1.5 / 64)


def test_off_resonance_alone_moves_the_image_by_its_pixels():
    errors = ReadoutErrors(off_resonance=3.0, seed=0)
    axis = (torch.arange(64, dtype=torch.float64) - 32) / 64
    shifts = errors.off_resonance_shift(axis[:, None], axis)
    inside = axis[:, None].square() + axis.square() <= 0.16
    furthest = (shifts.abs() * inside).argmax()
    assert float(shifts.flatten()[furthest].abs()) > 1.5
    for row, column in (divmod(int(furthest), 64), (32, 40), (44, 20)):
        image = torch.zeros(64, 64, dtype=torch.complex128)
        image[row, column] = 1
        moved = ifft2c(errors.measure(image, (64, 64))).abs()
        nearest = row + round(float(shifts[row, column]))
        assert divmod(int(moved.argmax()), 64) == (nearest, column)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ramp": 0.6}, "`ramp`, a share of the readout, must lie between 0 and 0.5, got 0.6"),
        ({"ramp": float("nan")}, "`ramp`, a share of the readout"),
        ({"delay": float("inf")}, "`delay` must be a finite number of samples, got inf"),
        ({"nonlinearity": -1.0}, "`nonlinearity` must be zero or positive and finite, got -1.0"),
        ({"off_resonance": float("nan")}, "`off_resonance` must be zero or positive and finite"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_bad_errors_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        ReadoutErrors(**options)


def test_an_image_of_another_size_is_refused():
    image = torch.zeros(8, 8, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"must be 2 times the matrix 8 x 8, got \(8, 8\)"):
        ReadoutErrors().measure(image, (8, 8), 2)
