"""The fast spectral convolution against its slow reference: values and gradients of both orders."""

import itertools

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.kernels import spectral_convolution
from monarch_sciml.kernels.gemm import inner_products
from monarch_sciml.kernels.spectral import reference_spectral_convolution

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


def with_bias(values):
    return values, torch.randn(values[1].shape[-1], dtype=values[0].dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grid", GRIDS)
def test_bias_and_its_gradient(grid, dtype):
    values, bias = with_bias(arguments(grid, per_channel=False, dtype=dtype))
    values = [tensor.requires_grad_() for tensor in [*values, bias]]
    dims = len(grid)

    def slow(x, weight, *rest):
        y = reference_spectral_convolution(x, weight, rest[:dims], rest[dims:-1])
        return y + rest[-1].view(-1, *[1] * dims)

    fast = spectral_convolution(
        *values[:2], values[2 : 2 + dims], values[2 + dims : -1], values[-1]
    )
    assert fast.grad_fn.name() == "PlanesConvolutionBackward"
    expected = slow(*values)
    assert_close(fast, expected)
    probe = torch.randn_like(fast)
    found, wanted = (torch.autograd.grad(y, values, probe) for y in (fast, expected))
    for a, b in zip(found, wanted):
        assert_close(a, b)


def test_only_the_gradients_asked_for():
    values, bias = with_bias(arguments((8, 7), per_channel=False))
    reference = None
    for wanted in (range(7), [0], [1], [2], [5], [6]):
        leaves = [t.detach().requires_grad_(i in wanted) for i, t in enumerate([*values, bias])]
        y = spectral_convolution(*leaves[:2], leaves[2:4], leaves[4:6], leaves[6])
        y.square().sum().backward()
        reference = reference or [leaf.grad for leaf in leaves]
        for i, leaf in enumerate(leaves):
            if i in wanted:
                torch.testing.assert_close(leaf.grad, reference[i])
            else:
                assert leaf.grad is None


def test_second_order_with_bias():
    values, bias = with_bias(arguments((4, 3), per_channel=False, batch=1, channels=(2, 1)))
    values = [tensor.requires_grad_() for tensor in [*values, bias]]

    def function(x, weight, *rest):
        return spectral_convolution(x, weight, rest[:2], rest[2:4], rest[4])

    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch.func.jvp's own
def test_transforms_of_torch_func_and_forward_mode():
    values = arguments((8, 7), per_channel=False)
    function = split(spectral_convolution, 2)
    x, rest = values[0], values[1:]
    looped = torch.stack([function(one, *rest) for one in (x, 2 * x)])
    mapped = torch.vmap(lambda one: function(one, *rest))(torch.stack([x, 2 * x]))
    torch.testing.assert_close(mapped, looped)
    _, tangent = torch.func.jvp(lambda one: function(one, *rest), (x,), (x,))
    torch.testing.assert_close(tangent, function(x, *rest))  # linear in x
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        y = torch.autograd.forward_ad.unpack_dual(function(dual, *rest))
    torch.testing.assert_close(y.tangent, y.primal)


@pytest.mark.parametrize("per_channel", [False, True])
def test_half_precision_and_autocast(per_channel):
    values = arguments((16, 12), per_channel=per_channel, dtype=torch.float32)
    function = split(spectral_convolution, 2)
    exact = function(*values)
    x = values[0].bfloat16().requires_grad_()
    half = function(x, *values[1:])
    assert half.dtype == torch.bfloat16
    assert (half - exact).norm() / exact.norm() < 0.02
    half.float().square().sum().backward()
    assert x.grad.dtype == torch.bfloat16 and x.grad.isfinite().all()
    with torch.autocast("cpu", torch.bfloat16):
        cast = function(values[0].requires_grad_(), *values[1:])
    assert cast.dtype == torch.bfloat16
    cast.float().square().sum().backward()
    assert_close(values[0].grad, x.grad.float(), relative=0.5)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_inner_products_take_views(dtype, library, monkeypatch):
    if not library:
        monkeypatch.setattr("monarch_sciml.kernels.gemm._has_onednn", lambda: False)
    a, b = torch.randn(5, 7).to(dtype), torch.randn(7, 6).to(dtype)
    expected = (a.double() @ b.double()).to(dtype)
    for left in (a, a.t().contiguous().t()):
        for right in (b.t(), b.t().contiguous()):
            product = inner_products(left, right)
            assert_close(product, expected, relative=0.02)
