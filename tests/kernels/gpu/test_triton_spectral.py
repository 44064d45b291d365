"""The spectral layer's Triton kernels, interpreted on the CPU and on a GPU where there is one."""

import itertools

import pytest
import torch

from monarch_sciml.kernels import spectral_convolution, use_triton
from monarch_sciml.kernels.gpu import launch
from monarch_sciml.kernels.spectral import reference_spectral_convolution
from monarch_sciml.layers import MonarchSpectralConv

pytest.importorskip("triton", reason="needs the package triton")

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, cuda])]
GRIDS = [(9,), (20, 35)]
FUSED = "FusedConvolutionBackward"


@pytest.fixture(autouse=True)
def interpreter(request, monkeypatch):
    """Interpret the kernels, but compile them in tests on a GPU."""
    on_gpu = "device" in request.fixturenames and request.getfixturevalue("device") == "cuda"
    monkeypatch.setenv("TRITON_INTERPRET", "0" if on_gpu else "1")


@pytest.fixture
def matmul_precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


def arguments(grid, *, batch=1, channels=(2, 3), dtype=torch.float32, modes=None, device="cpu"):
    torch.manual_seed(0)
    modes = modes or [max(1, n // 2) for n in grid]
    out_grid = [n + 1 for n in grid]
    numbers = dtype.to_complex()
    x = torch.randn(batch, channels[0], *grid, dtype=dtype)
    weight = torch.randn(*modes, *channels, dtype=numbers)
    analysis = [torch.randn(k, n, dtype=numbers) for k, n in zip(modes, grid)]
    synthesis = [torch.randn(m, k, dtype=numbers) for k, m in zip(modes, out_grid)]
    bias = torch.randn(channels[1], dtype=dtype)
    return [t.to(device).requires_grad_() for t in (x, weight, *analysis, *synthesis, bias)]


def fast(x, weight, *rest):
    dims = len(rest) // 2
    return spectral_convolution(x, weight, rest[:dims], rest[dims : 2 * dims], rest[-1])


def slow(x, weight, *rest):
    dims = len(rest) // 2
    y = reference_spectral_convolution(x, weight, rest[:dims], rest[dims : 2 * dims])
    return y + rest[-1].view(-1, *[1] * dims)


def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    assert (a.to(b.dtype) - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("grid", GRIDS)
def test_values_and_gradients_equal_the_reference(grid, device):
    values = arguments(grid, device=device, modes=[18, 7] if len(grid) == 2 else None)
    with use_triton():
        y = fast(*values)
    assert y.grad_fn.name() == FUSED
    double = [v.cdouble() if v.is_complex() else v.double() for v in values]
    expected = slow(*double)
    close(y, expected)
    probe = torch.randn_like(y)
    found = torch.autograd.grad(y, values, probe)
    wanted = torch.autograd.grad(expected, values, probe.double())
    for a, b in zip(found, wanted):
        close(a, b)


@pytest.mark.parametrize("device", DEVICES)
def test_any_strides(device):
    x, *rest = arguments((6, 20), device=device, batch=2, channels=(2, 1))
    values = x.detach()
    one = values[:1, :1].expand(2, 2, -1, -1)
    for view in (values.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2), one):
        with use_triton():
            y = fast(view, *rest)
            (y * y.detach().mT.contiguous().mT).sum().backward()
        close(y, slow(view, *rest))


def test_second_derivatives_equal_those_of_the_reference():
    x, *rest = arguments((5, 6), channels=(1, 2))
    second = []
    for function in (fast, slow):
        with use_triton():
            y = function(x, *rest)
            (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
            second.append(torch.autograd.grad(first.square().sum(), [x, *rest]))
    for a, b in zip(*second):
        close(a, b, 1e-4)


def test_only_the_gradients_asked_for():
    values = arguments((5, 6), channels=(1, 2))
    wanted = torch.autograd.grad(slow(*values).square().sum(), values)
    for only in (0, 1, 2, 5, 6):
        leaves = [t.detach().requires_grad_(i == only) for i, t in enumerate(values)]
        with use_triton():
            fast(*leaves).square().sum().backward()
        close(leaves[only].grad, wanted[only])
        assert all(leaf.grad is None for i, leaf in enumerate(leaves) if i != only)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("grid", [(24,), (12, 16)])
def test_half_precision_and_autocast(grid, device):
    x, *rest = arguments(grid, device=device)
    exact = slow(x, *rest)
    half = x.detach().bfloat16().requires_grad_()
    with use_triton():
        y = fast(half, *rest)
        y.float().square().sum().backward()
        with torch.autocast(device, torch.bfloat16):
            cast = fast(x, *rest)
    assert y.dtype == half.grad.dtype == torch.bfloat16
    assert y.grad_fn.name() == cast.grad_fn.name() == FUSED
    close(y, exact, 0.02)
    torch.testing.assert_close(cast, y)
    (wanted,) = torch.autograd.grad(exact.square().sum(), x)
    close(half.grad, wanted, 0.03)


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("device", ["cuda"])
@pytest.mark.parametrize(("setting", "tolerance"), [("high", 1e-5), ("medium", 5e-3)])
def test_tensor_cores_keep_the_precision_chosen(setting, tolerance, device, matmul_precision):
    values = arguments((64, 64), device=device, batch=2, modes=[12, 7])
    expected = slow(*values)
    matmul_precision(setting)
    with use_triton():
        close(fast(*values), expected, tolerance)


def test_precision_follows_the_setting_of_torch(matmul_precision):
    found = []
    for name in ("highest", "high", "medium"):
        matmul_precision(name)
        found.append(launch.precision())
    assert found == ["ieee", "tf32x3", "tf32"]


def test_what_the_kernels_do_not_take_goes_elsewhere(monkeypatch):
    with use_triton():
        for values in (
            arguments((4, 3), dtype=torch.float64),
            arguments((4, 3, 5)),
            arguments((70, 3), modes=[65, 2]),
        ):
            assert fast(*values).grad_fn.name() == "PlanesConvolutionBackward"
        mapped = torch.vmap(lambda x: fast(x, *values[1:]))(values[0].unsqueeze(0))
        close(mapped[0], slow(*values))
        monkeypatch.setenv("TRITON_INTERPRET", "0")  # data on a CPU
        assert fast(*arguments((4, 3))).grad_fn.name() == "PlanesConvolutionBackward"


@pytest.mark.parametrize("grid", [(12,), (10, 8)])
def test_a_layer_computes_the_same(grid):
    torch.manual_seed(0)
    layer = MonarchSpectralConv(2, 2, [4] * len(grid), grid_shape=grid)
    x = torch.randn(1, 2, *grid)
    gradients = []
    for enabled in (False, True):
        layer.zero_grad()
        with use_triton(enabled):
            layer(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    for a, b in zip(*gradients):
        close(a, b)


def test_the_switch():
    values = arguments((4,))
    names = {True: FUSED, False: "PlanesConvolutionBackward"}

    def taken():
        return fast(*values).grad_fn.name()

    assert taken() == names[False]  # off unless asked for
    for outer, inner in itertools.product([True, False], repeat=2):
        with use_triton(outer):
            with use_triton(inner):
                assert taken() == names[inner]
            assert taken() == names[outer]
    assert taken() == names[False]
    switch = use_triton(True)
    assert taken() == FUSED
    switch.__exit__(None, None, None)
    assert taken() == names[False]


def test_without_triton_the_switch_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="need the package triton, got no such package"):
        use_triton()
    with use_triton(False):
        pass
