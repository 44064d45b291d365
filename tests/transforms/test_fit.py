"""Transforms found in closed form."""

import math

import pytest
import torch

from monarch_sciml.transforms import (
    FourierTransform,
    SeparableTransform,
    fit_matrix,
    fit_transform,
    nonuniform_fourier_transform,
)


def warped(n, n_modes, inverse=False):
    points = torch.arange(n, dtype=torch.float64) / n
    points = points + 0.01 * torch.sin(2 * math.pi * points)
    return nonuniform_fourier_transform(points, n_modes, inverse=inverse)


def starts(n, n_modes, inverse=False):
    points = torch.arange(n, dtype=torch.float64) / n
    return nonuniform_fourier_transform(points, n_modes, inverse=inverse)


@pytest.mark.parametrize("inverse", [False, True])
def test_a_warp_is_found_from_samples(inverse):
    true, start = warped(32, 12, inverse), starts(32, 12, inverse)
    n = true.matrix().shape[1]
    torch.manual_seed(0)
    # a falling spectrum: the weights of the projection
    x = torch.randn(200, n, dtype=torch.complex128) * torch.linspace(1, 0.1, n)
    y = true(x)
    matrix = fit_matrix(x, y, start, ridge=1e-12)
    torch.testing.assert_close(matrix, true.matrix(), rtol=1e-6, atol=1e-6)
    before = (start(x) - y).norm()
    errors = [
        (
            fit_transform(x, y, start, rank, 1e-9, grid_blocks=4, mode_blocks=3).double()(x) - y
        ).norm()
        for rank in (1, 2, 3)
    ]
    assert errors[0] < 0.5 * before and errors[2] < 0.2 * errors[1] < 0.1 * before


def test_ridge_equals_its_normal_equations():
    start = FourierTransform(6).double()
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 6, dtype=torch.complex128)  # fewer samples than unknowns
    scale = x.abs().square().sum() / 6
    for ridge in (0.1, 1e6):
        matrix = fit_matrix(x, y, start, ridge)
        # the gradient of the objective vanishes
        residual = (x @ matrix.mT - y).mT @ x.conj() + ridge * scale * (matrix - start.matrix())
        torch.testing.assert_close(residual / scale, torch.zeros_like(residual))
    torch.testing.assert_close(matrix, start.matrix(), rtol=1e-4, atol=1e-4)


def test_real_fields_of_a_plane():
    torch.manual_seed(0)
    grids = [
        FourierTransform(6, 4, norm="forward"),
        FourierTransform(8, 3, norm="forward", real_input=True),
    ]
    analysis = SeparableTransform(grids).double()
    inverse = SeparableTransform(
        [
            FourierTransform(6, 4, norm="forward", inverse=True),
            FourierTransform(8, 3, norm="forward", real_input=True, inverse=True),
        ]
    ).double()
    x = torch.randn(80, 6, 8, dtype=torch.float64)
    moved = x.roll((1, 1), (1, 2))
    fitted = fit_transform(x, analysis(moved), analysis, 12, 1e-9, grid_blocks=1, mode_blocks=1)
    torch.testing.assert_close(fitted.double()(x), analysis(moved), rtol=1e-4, atol=1e-4)
    z = torch.randn(80, 4, 3, dtype=torch.complex128)
    target = inverse(z).roll((1, 1), (1, 2))
    matrix = fit_matrix(z, target, inverse, 1e-9)
    torch.testing.assert_close(
        (z.flatten(1) @ matrix.mT).real, target.flatten(1), rtol=1e-5, atol=1e-5
    )
    fitted = fit_transform(z, target, inverse, 12, 1e-9, grid_blocks=1, mode_blocks=1).double()
    torch.testing.assert_close(fitted(z), target, rtol=1e-4, atol=1e-4)


def test_bad_arguments_are_refused_in_one_line():
    start = FourierTransform(8)
    x = torch.randn(5, 8, dtype=torch.complex64)
    with pytest.raises(ValueError, match=r"8 samples or more.*got 5, 3 too few\. Set `ridge`"):
        fit_matrix(x, x, start, 0)
    with pytest.raises(ValueError, match=r"`y` must be \(5 samples, 8 entries\)"):
        fit_matrix(x, x[:, :7], start)
    with pytest.raises(ValueError, match="`x` must be finite"):
        fit_matrix(x / 0, x, start)
    with pytest.raises(ValueError, match="`ridge` must be zero or positive"):
        fit_matrix(x, x, start, -1)
    with pytest.raises(ValueError, match="`x` must hold fields that are not zero, got 5 of zeros"):
        fit_matrix(0 * x, x, start)
    with pytest.raises(ValueError, match=r"`x` must be .* for this transform, got \(8,\)"):
        fit_matrix(x[0], x[0], start)


def test_real_spectra_can_be_fitted_too():
    back = FourierTransform(8, real_input=True, inverse=True)
    x = torch.randn(40, 5)
    fitted = fit_matrix(x, back(x + 0j), back, 1e-6)
    torch.testing.assert_close(fitted.real.float(), back.matrix().real, rtol=0, atol=1e-4)
