"""Transforms of a plane: not separable, and carried to other matrices."""

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.models.reconstruction.image_transform import (
    OnGrids,
    PlaneTransform,
    RelativeTransform,
    interpolation,
    plane_transform,
)
from monarch_sciml.monarch import to_dense
from monarch_sciml.physics.sense_operator import fft2c, ifft2c
from monarch_sciml.transforms import DenseTransform, MonarchTransform

GRID = (6, 4)


def learned(transform, scale=0.2):
    torch.manual_seed(0)
    transform = transform.double()
    with torch.no_grad():
        for parameter in transform.parameters():
            parameter += scale * torch.randn_like(parameter)
    return transform


def image(*shape):
    torch.manual_seed(1)
    return torch.randn(*shape, dtype=torch.complex128)


@pytest.mark.parametrize("name", ["monarch", "dense"])
@pytest.mark.parametrize("inverse", [True, False])
def test_a_plane_transform_starts_as_the_centred_fft(name, inverse):
    for grid in [(6, 4), (9, 8), (1, 6), (4, 1)]:
        transform = plane_transform(grid, name, inverse=inverse, separable=False).double()
        x = image(2, 3, *grid)
        expected = (ifft2c if inverse else fft2c)(x)
        torch.testing.assert_close(transform(x), expected)
        torch.testing.assert_close(transform.adjoint(x), (fft2c if inverse else ifft2c)(x))


@pytest.mark.parametrize("name", ["monarch", "dense"])
def test_a_learned_plane_transform_is_its_matrix_and_adjoint(name):
    transform = learned(plane_transform(GRID, name, separable=False))
    x, y = image(2, *GRID), image(2, *GRID)
    product = (x.flatten(1) @ transform.matrix().mT).unflatten(1, GRID)
    torch.testing.assert_close(transform(x), product)
    forward, backward = (transform(x).conj() * y).sum(), (x.conj() * transform.adjoint(y)).sum()
    torch.testing.assert_close(forward, backward)


def test_dense_rows_and_columns_are_one_monarch_matrix_of_the_flattened_plane():
    """H right blocks of W x W, W left blocks of H x H; the DFT of a plane is one of these."""
    transform = learned(plane_transform(GRID, "dense", separable=False))
    right = transform.rows.matrix()  # (k = H, q = W, p = W)
    left = transform.columns.matrix()  # (l = W, s = H, r = H)
    torch.testing.assert_close(to_dense(left, right), transform.matrix())
    # and it is not separable: its rank as an operator of rows times columns is above one
    height, width = GRID
    blocks = transform.matrix().reshape(height, width, height, width)
    rearranged = blocks.permute(0, 2, 1, 3).reshape(height**2, width**2)
    assert torch.linalg.matrix_rank(rearranged) > 1


@pytest.mark.parametrize("kind", [MonarchTransform, DenseTransform])
@pytest.mark.parametrize("init", ["dft", "idft"])
def test_relative_resampling_of_an_untrained_transform_is_exact(kind, init):
    for n, m in [(12, 20), (12, 9), (15, 8)]:
        carried = RelativeTransform(kind(n, init=init, centered=True).double(), m)
        expected = kind(m, init=init, centered=True).double().matrix()
        torch.testing.assert_close(carried.matrix(), expected)
        assert carried.resampled(n) is carried.source
        assert carried.resampled(16).n == 16


@pytest.mark.parametrize("m", [24, 36])
def test_relative_resampling_keeps_what_is_linear_in_place_and_frequency(m):
    """The symbol of the operator, as a function of x / n and k / n, is that of the finer grid."""
    n = 12

    def symbol(size):
        u = (torch.arange(size, dtype=torch.float64) - size // 2) / size
        return 0.3 + 0.5 * u[:, None] + 0.7 * u * 1j + 0.2 * u[:, None] * u  # (x, k)

    source = DenseTransform(n, init="idft", centered=True).double()
    with torch.no_grad():
        rows = (source.matrix() * symbol(n)).mT * n**0.5
        source.weight.copy_(torch.view_as_real(rows.contiguous()))
    found = RelativeTransform(source, m).matrix()
    start = DenseTransform(m, init="idft", centered=True).double().matrix()
    inner = slice(m // 2 - 4 * (m // n), m // 2 + 4 * (m // n))  # elsewhere it is held constant
    expected = start * (1 + symbol(m))
    torch.testing.assert_close(found[inner, inner], expected[inner, inner])


def test_relative_resampling_has_gradients_and_copies():
    source = learned(MonarchTransform(6, init="idft", centered=True, n_copies=2))
    carried = RelativeTransform(source, 8)
    x = image(3, 2, 8)
    matrices = carried.matrix()
    assert matrices.shape == (2, 8, 8)
    torch.testing.assert_close(carried(x)[:, 1], x[:, 1] @ matrices[1].mT)
    assert torch.autograd.gradcheck(
        lambda *_: carried.matrix(), tuple(source.parameters()), fast_mode=True
    )
    single = RelativeTransform(MonarchTransform(6, init="idft", centered=True), 8)
    assert single.matrix().dtype == torch.complex64
    assert single.double().matrix().dtype == torch.complex128


@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 9), (9, 6), (7, 4), (1, 5)])
def test_interpolation_is_numpys(n, m):
    import numpy as np

    values = image(n).real.numpy()
    old, new = ((np.arange(size) - size // 2) / size for size in (n, m))
    found = interpolation(n, m) @ torch.from_numpy(values)
    assert_close(found, np.interp(new, old, values), relative=1e-07)


def test_what_was_made_for_a_matrix_is_kept_and_made_anew():
    on_grids = OnGrids("relative")
    transform = plane_transform(GRID, "monarch")
    first = on_grids(transform, (8, 8))
    assert on_grids(transform, (8, 8)) is first
    assert on_grids(transform, GRID) is transform
    assert on_grids(transform, (6, 8))[0] is transform[0]  # the axis that has its size already
    other = plane_transform(GRID, "monarch")
    assert on_grids(other, (8, 8)) is not first
    transform.transforms[0] = MonarchTransform(6, init="idft", centered=True)
    assert on_grids(transform, (8, 8)) is not first


def test_a_plane_transform_stays_on_its_matrix():
    transform = plane_transform(GRID, "monarch", separable=False)
    assert isinstance(transform, PlaneTransform) and transform.n == GRID
    assert OnGrids("relative")(transform, GRID) is transform
    with pytest.raises(ValueError, match=r"needs its training matrix \(6, 4\), got \(8, 4\)"):
        OnGrids("relative")(transform, (8, 4))
