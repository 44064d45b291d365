"""The fast spectral convolution against its slow reference: values and gradients of both orders."""

import itertools

import pytest
import torch

from monarch_sciml.kernels import reference_spectral_convolution, spectral_convolution

GRIDS = [(9,), (8, 7), (6, 5, 4)]


def arguments(grid, *, per_channel, dtype=torch.float64, batch=2, channels=(3, 4)):
    torch.manual_seed(0)
    modes = [max(1, n // 2) for n in grid]
    out_grid = [n + 1 for n in grid]
    inputs, outputs = ((channels[0],), (channels[1],)) if per_channel else ((), ())
    complex_dtype = dtype.to_complex()
    x = torch.randn(batch, channels[0], *grid, dtype=dtype)
    weight = torch.randn(*modes, *channels, dtype=complex_dtype)
    analysis = [torch.randn(*inputs, k, n, dtype=complex_dtype) for k, n in zip(modes, grid)]
    synthesis = [torch.randn(*outputs, m, k, dtype=complex_dtype) for k, m in zip(modes, out_grid)]
    return [x, weight, *analysis, *synthesis]


def split(function, dims):
    def call(x, weight, *matrices):
        return function(x, weight, matrices[:dims], matrices[dims:])

    return call


@pytest.mark.parametrize(("grid", "per_channel"), [*itertools.product(GRIDS, [False, True])])
def test_fast_path_equals_the_reference(grid, per_channel):
    values = [tensor.requires_grad_() for tensor in arguments(grid, per_channel=per_channel)]
    fast = split(spectral_convolution, len(grid))(*values)
    slow = split(reference_spectral_convolution, len(grid))(*values)
    torch.testing.assert_close(fast, slow)
    probe = torch.randn_like(fast)
    for a, b in zip(
        torch.autograd.grad(fast, values, probe), torch.autograd.grad(slow, values, probe)
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("per_channel", [False, True])
def test_gradients_once_and_twice(per_channel):
    values = arguments((4, 3), per_channel=per_channel, batch=1, channels=(2, 1))
    values = [tensor.requires_grad_() for tensor in values]
    function = split(spectral_convolution, 2)
    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


def test_reference_equals_an_einsum():
    x, weight, *matrices = arguments((8, 7), per_channel=False)
    a1, a2, s1, s2 = matrices
    spectrum = torch.einsum("kx,ly,bixy->bikl", a1, a2, x.to(a1.dtype))
    mixed = torch.einsum("bikl,klio->bokl", spectrum, weight)
    expected = torch.einsum("xk,yl,bokl->boxy", s1, s2, mixed).real
    result = reference_spectral_convolution(x, weight, [a1, a2], [s1, s2])
    torch.testing.assert_close(result, expected)


def test_complex_fields_and_real_bases_take_the_reference_path():
    x, weight, *matrices = arguments((8, 7), per_channel=False)
    complex_x = torch.complex(x, x.flip(0))
    result = spectral_convolution(complex_x, weight, matrices[:2], matrices[2:])
    assert result.is_complex()
    real = [matrix.real for matrix in matrices]
    assert not spectral_convolution(x, weight.real, real[:2], real[2:]).is_complex()
