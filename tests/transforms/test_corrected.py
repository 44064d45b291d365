"""A fixed transform corrected over the whole grid."""

import itertools
import math

import pytest
import torch

from monarch_sciml.monarch.contiguous import project_contiguous
from monarch_sciml.transforms import (
    CorrectedTransform,
    CosineTransform,
    FourierTransform,
    GivenTransform,
    MonarchTransform,
    SeparableTransform,
    SineTransform,
)
from monarch_sciml.transforms.corrected_start import n_leading


def plane(inverse=False, sizes=(10, 13), modes=(7, 4), real=True):
    return SeparableTransform(
        [
            FourierTransform(sizes[0], modes[0], inverse=inverse, norm="forward"),
            FourierTransform(sizes[1], modes[1], inverse=inverse, norm="forward", real_input=real),
        ]
    )


STARTS = {
    "plane": plane,
    "plane-inverse": lambda: plane(inverse=True),
    "plane-complex": lambda: plane(real=False),
    "plane-regular": lambda: plane(sizes=(8, 12), modes=(6, 6)),
    "plane-real-basis": lambda: SeparableTransform([CosineTransform(9, 6), SineTransform(8)]),
    "space": lambda: SeparableTransform([FourierTransform(n, 4) for n in (4, 5, 6)]),
}


def learned(transform, scale=0.5):
    generator = torch.Generator().manual_seed(0)
    transform = transform.double()
    with torch.no_grad():
        for parameter in transform.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise)
    return transform


def fields(transform, *, output=False):
    grid_side = transform.spec.synthesis == output
    sizes = transform.patches.sizes if grid_side else transform.mode_blocks.sizes
    real = grid_side and transform.real_input
    return torch.randn(3, *sizes, dtype=torch.float64 if real else torch.complex128)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_exactly_the_fixed_transform_before_training(name, dtype):
    start = STARTS[name]().to(dtype)
    transform = CorrectedTransform(start, 2, 2, 2).to(dtype)
    x = fields(transform)
    x = x.to(dtype.to_complex() if x.is_complex() else dtype)
    assert torch.equal(transform(x), start(x))
    assert torch.equal(transform.matrix(), start.matrix())
    assert not transform.deviation().any()


@pytest.mark.parametrize("name, rank", list(itertools.product(STARTS, (1, 3))))
def test_several_axes_equal_their_dense_matrix(name, rank):
    transform = learned(CorrectedTransform(STARTS[name](), rank, 2, 2))
    x, y = fields(transform), fields(transform, output=True)
    dense = (transform.matrix().to(torch.complex128) @ x.to(torch.complex128).flatten(1).mT).mT
    dense = dense.view(y.shape)
    result = transform(x)
    torch.testing.assert_close(result, dense.real if not result.is_complex() else dense)
    forward, adjoint = (result.conj() * y).sum(), (x.conj() * transform.adjoint(y)).sum()
    torch.testing.assert_close(forward.real, adjoint.real)
    if not transform.real_input:
        torch.testing.assert_close(forward, adjoint)
    torch.testing.assert_close(transform(transform.inverse(result)), result)


def test_slices_have_the_rank_asked_for():
    transform = learned(CorrectedTransform(plane(real=False, sizes=(8, 8), modes=(8, 8)), 2, 2, 2))
    deviation = transform.deviation().view(8, 8, 8, 8)  # (k_1, k_2, x_1, x_2), FFT order
    order = (torch.arange(8) + 4) % 8  # ascending
    deviation = deviation[order][:, order]
    for a, b, p, q in itertools.product(range(2), repeat=4):
        rows = (slice(4 * a, 4 * a + 4), slice(4 * b, 4 * b + 4))
        columns = (slice(4 * p, 4 * p + 4), slice(4 * q, 4 * q + 4))
        part = deviation[(*rows, *columns)].reshape(16, 16)
        assert torch.linalg.matrix_rank(part) == 2


def test_one_scale_serves_every_grid():
    """The same parameters change the entries by the same share on any grid."""
    shares = []
    for n in (32, 128):
        transform = CorrectedTransform(FourierTransform(n, 16, norm="forward"), 2, 8, 4).double()
        torch.nn.init.constant_(transform.left, 0.1)
        deviation = transform.deviation().detach()
        shares.append(float(deviation.norm() / transform.initial_matrix().norm()))
    assert shares[1] == pytest.approx(shares[0], rel=0.1)


def warped(n, inverse):
    """The DFT of points that a smooth map has moved, beside the one of equal points."""
    start = FourierTransform(n, 24, norm="forward", inverse=inverse).double()
    points = torch.arange(n, dtype=torch.float64) / n
    points = points + 0.02 * torch.sin(2 * math.pi * points)
    angle = 2 * math.pi * start.modes.double()[:, None] * points
    rows = torch.polar(torch.ones_like(angle), angle if inverse else -angle)
    return start, rows.mT if inverse else rows / n


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n", [32, 50, 96])
def test_a_warp_learned_on_one_grid_serves_another(inverse, n):
    start, target = warped(64, inverse)
    transform = CorrectedTransform(start, 4).double()
    difference = target - start.matrix()
    rows = (difference.mT if inverse else difference).roll(-n_leading(start), 0)
    left, right = project_contiguous(rows, transform.patches, transform.mode_blocks, 4)
    with torch.no_grad():
        initial = transform.factors()[1]
        transform.left.copy_(torch.view_as_real(left / transform._scale))
        transform.right.copy_(torch.view_as_real(right - initial))
    torch.testing.assert_close(
        transform.matrix(), target, rtol=1e-3, atol=1e-3 * target.abs().max()
    )
    start, target = warped(n, inverse)
    error = (transform.resampled(n).matrix() - target).norm()
    assert error < 0.002 * (target - start.matrix()).norm()


def test_an_untrained_transform_is_exact_on_another_grid():
    transform = CorrectedTransform(plane(sizes=(16, 12), modes=(8, 5)), 2)
    other = transform.resampled((22, 19))
    torch.testing.assert_close(
        other.matrix(), plane(sizes=(22, 19), modes=(8, 5)).matrix(), rtol=0, atol=0
    )
    full = CorrectedTransform(FourierTransform(12), 2)
    for n in (7, 20):  # it keeps every mode there too
        assert torch.equal(full.resampled(n).matrix(), FourierTransform(n).matrix())
    assert full.resampled(20, n_modes=[12]).n_modes == 12


def test_gradients_reach_the_parameters_through_another_grid():
    transform = learned(CorrectedTransform(plane(sizes=(16, 12), modes=(8, 5)), 1, 2))
    other = transform.resampled((24, 10))
    x = torch.randn(2, 24, 10, dtype=torch.float64)
    dense = (x.flatten(1).to(torch.complex128) @ other.matrix().mT).view(2, 8, 5)
    torch.testing.assert_close(other(x), dense)
    other(x).abs().sum().backward()
    assert transform.left.grad.abs().sum() > 0 and transform.right.grad.abs().sum() > 0


def test_bad_arguments_are_refused_in_one_line():
    start = FourierTransform(16, 6)
    with pytest.raises(ValueError, match=r"`rank` must be at most 2.*got 3\. Lower `rank`"):
        CorrectedTransform(start, 3, 8, 3)
    with pytest.raises(ValueError, match=r"`grid_blocks` must be at most \(16,\).*got \(17,\)"):
        CorrectedTransform(start, 1, 17)
    with pytest.raises(ValueError, match="`mode_blocks` must be one number of blocks, or 1 of"):
        CorrectedTransform(start, 1, 2, (2, 2))
    with pytest.raises(ValueError, match=r"last 2 axes must have \(10, 13\) entries"):
        CorrectedTransform(plane(), 1)(torch.randn(10, 12))
    with pytest.raises(ValueError, match="`n` must have 2 sizes"):
        CorrectedTransform(plane(), 1).resampled(12)
    for option in ({"grid_blocks": 0}, {"mode_blocks": 0}):  # not the default
        with pytest.raises(ValueError, match="_blocks` must be at least 1, got 0"):
            CorrectedTransform(start, 1, **option)
    with pytest.raises(TypeError, match=r"`grid_blocks` must be an int, got 2\.5"):
        CorrectedTransform(start, 1, 2.5)
    with pytest.raises(TypeError, match=r"`start` must be a fixed transform.*got MonarchTransform"):
        CorrectedTransform(MonarchTransform(16))
    back = FourierTransform(16, inverse=True)
    with pytest.raises(ValueError, match="all from modes to the grid, got dft, idft"):
        CorrectedTransform(SeparableTransform([FourierTransform(16), back]))


def test_an_axis_of_one_point():
    start = SeparableTransform([FourierTransform(1), FourierTransform(16)])
    x = torch.randn(3, 1, 16)
    expected = torch.fft.fft2(x, norm="ortho")
    torch.testing.assert_close(CorrectedTransform(start, 1)(x), expected)


def test_a_loaded_state_brings_the_rows_of_its_start():
    a, b = (CorrectedTransform(GivenTransform(torch.randn(6, 16)), 1, 2) for _ in range(2))
    with torch.no_grad():
        for parameter in a.parameters():
            parameter.normal_()
    b.load_state_dict(a.state_dict())
    x = torch.randn(2, 16)
    torch.testing.assert_close(b(x), a(x), rtol=0, atol=0)
    torch.testing.assert_close(b.rows(), a.rows(), rtol=0, atol=0)
    torch.testing.assert_close(b.planes(), a.planes(), rtol=0, atol=0)


def test_fewer_modes_of_the_same_grid():
    transform = learned(CorrectedTransform(plane(sizes=(16, 12), modes=(8, 5)), 2))
    fewer = transform.resampled((16, 12), n_modes=(6, 3))
    kept = transform.matrix().unflatten(0, (8, 5))[[0, 1, 2, -3, -2, -1], :3].flatten(0, 1)
    torch.testing.assert_close(fewer.matrix(), kept)
