from __future__ import annotations

import copy
import warnings

import pytest
import torch
from tolerances import assert_close
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from monarch_sciml.kernels import linear
from monarch_sciml.layers import MonarchLinear
from monarch_sciml.monarch import project, to_dense

# in_features, out_features, n_blocks, rank; the last three need padding
CASES = [
    (16, 16, 4, 1),
    (24, 40, (3, 5), 2),
    (64, 32, 4, 4),
    (10, 7, 4, 1),
    (3, 5, 4, 1),
    (13, 18, (4, 3), 2),
    (24, 40, 1, 5),
]
ORDERS = ["strided", "contiguous"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def layer_of(*arguments, **options):
    """Build a layer that may hold more numbers than the dense one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return MonarchLinear(*arguments, **options)


def dense_of(layer):
    """Write the matrix out by its definition, slice by slice."""
    n_left, n_s, _ = layer.left.shape
    n_right, _, n_p = layer.right.shape
    matrix = torch.zeros(n_left * n_s, n_right * n_p, dtype=layer.left.dtype)
    for j in range(n_left):
        rows = slice(j, None, n_left) if layer.order == "strided" else slice(j * n_s, (j + 1) * n_s)
        for k in range(n_right):
            left = layer.left[j, :, k * layer.rank : (k + 1) * layer.rank]
            matrix[rows, k * n_p : (k + 1) * n_p] = left @ layer.right[k, j::n_left]
    return matrix[: layer.out_features, : layer.in_features]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (2, 20), (300,), (0,)])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n_in", "n_out", "n_blocks", "rank"), CASES)
def test_equals_the_dense_layer(n_in, n_out, n_blocks, rank, order, batch, bias):
    layer = layer_of(n_in, n_out, bias, n_blocks, rank, order=order, dtype=torch.float64)
    x = torch.randn(*batch, n_in, dtype=torch.float64)
    y = layer(x)
    dense = dense_of(layer)
    torch.testing.assert_close(layer.weight, dense)
    torch.testing.assert_close(y, nn.functional.linear(x, dense, layer.bias))
    torch.testing.assert_close(layer.to_linear()(x), y)
    assert y.shape == (*batch, n_out)
    assert [name for name, _ in layer.named_parameters()] == ["left", "right", "bias"][: 2 + bias]
    assert layer.left.is_contiguous() and layer.right.is_contiguous()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("n_in", "n_out", "n_blocks", "rank"), CASES)
def test_monarch_to_dense_and_back(n_in, n_out, n_blocks, rank, order):
    options = {"n_blocks": n_blocks, "rank": rank, "order": order}
    linear = layer_of(n_in, n_out, True, dtype=torch.float64, **options).to_linear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        back = MonarchLinear.from_linear(linear, **options)
    x = torch.randn(3, n_in, dtype=torch.float64)
    # cropping keeps the rank of every slice, so the matrix comes back, padded or not
    assert_close(back(x), linear(x), relative=1e-10)
    assert back.projection_error < 1e-12


def test_from_linear_is_the_projection():
    linear = nn.Linear(24, 40)
    layer = MonarchLinear.from_linear(linear, n_blocks=(3, 5), rank=2)
    torch.testing.assert_close(layer.weight, to_dense(*project(linear.weight, (3, 5), 2)))
    error = torch.linalg.norm(layer.weight - linear.weight) / torch.linalg.norm(linear.weight)
    assert layer.projection_error == pytest.approx(float(error.detach()), rel=1e-5)
    assert torch.equal(layer.bias, linear.bias)
    assert layer.bias is not linear.bias
    assert layer.left.is_leaf
    assert layer.left.requires_grad


def mean_square_output(matrix, moments):
    return float((matrix @ moments * matrix).sum())


@pytest.mark.parametrize("order", ORDERS)
def test_second_moments_lower_the_error_of_the_output(order):
    linear = nn.Linear(24, 40, dtype=torch.float64)
    x = torch.randn(500, 24, dtype=torch.float64) * torch.logspace(0, -2, 24)
    x = x @ torch.randn(24, 24, dtype=torch.float64)
    moments = x.mT @ x / len(x)
    options = {"rank": 2, "order": order}
    plain = MonarchLinear.from_linear(linear, **options)
    weighted = MonarchLinear.from_linear(linear, **options, second_moments=moments)
    gaps = [(layer.weight - linear.weight).detach() for layer in (plain, weighted)]
    errors = [mean_square_output(gap, moments) for gap in gaps]
    assert errors[1] < 0.7 * errors[0]
    whole = mean_square_output(linear.weight.detach(), moments)
    assert weighted.projection_error == pytest.approx((errors[1] / whole) ** 0.5, rel=1e-6)
    # variances alone: the projection of the scaled matrix, which is optimal for them
    scale = moments.diagonal().sqrt()
    layer = MonarchLinear.from_linear(linear, **options, second_moments=scale.square())
    scaled = nn.Linear(24, 40, bias=False, dtype=torch.float64)
    scaled.weight = nn.Parameter(linear.weight.detach() * scale)
    best = MonarchLinear.from_linear(scaled, **options)
    torch.testing.assert_close(layer.weight * scale, best.weight)


def test_the_default_is_four_blocks_of_half_of_the_parameters():
    for n_in, n_out in [(64, 64), (768, 3072), (509, 700)]:
        layer = MonarchLinear(n_in, n_out, bias=False, device="meta")
        assert layer.n_blocks == (4, 4)
        assert 0.45 < layer.n_weights / (n_in * n_out) <= 0.5
    layer = MonarchLinear(64, 64, bias=False)
    assert layer.left.shape == layer.right.shape == (4, 16, 16)


def test_more_numbers_than_dense_are_announced():
    with pytest.warns(UserWarning, match="a 5 x 3 layer should hold fewer numbers, got 48 in the"):
        MonarchLinear(3, 5)


@pytest.mark.parametrize(
    ("n_in", "n_out", "n_blocks", "rank"),
    [(64, 64, 4, 1), (64, 64, 4, 4), (256, 64, 8, 1), (64, 256, (4, 8), 2), (61, 64, 4, 1)],
)
def test_entries_and_output_have_the_variance_of_nn_linear(n_in, n_out, n_blocks, rank):
    layers = [MonarchLinear(n_in, n_out, False, n_blocks, rank) for _ in range(100)]
    with torch.no_grad():
        weights = torch.stack([layer.weight for layer in layers])
        outputs = torch.stack([layer(torch.randn(20, n_in)) for layer in layers])
    assert float(weights.var()) * 3 * n_in == pytest.approx(1, abs=0.1)
    assert float(outputs.var()) * 3 == pytest.approx(1, abs=0.1)


@pytest.fixture
def kernel(monkeypatch):
    """Take the kernel for products of every size."""
    monkeypatch.setattr(linear, "kernel_pays", lambda *_: True)


@pytest.mark.parametrize("order", ["strided", "contiguous"])
@pytest.mark.parametrize("n_vectors", [2, 50])
def test_gradcheck_with_padding(n_vectors, order, kernel):
    layer = layer_of(5, 6, n_blocks=(2, 3), rank=2, order=order, dtype=torch.float64)
    x = torch.randn(n_vectors, 5, dtype=torch.float64, requires_grad=True)

    def apply(x, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (x,))

    assert gradcheck(apply, (x, *layer.parameters()), fast_mode=n_vectors > 2)
    assert gradgradcheck(apply, (x, *layer.parameters()), fast_mode=n_vectors > 2)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch.func.jvp's own
@pytest.mark.parametrize("order", ["strided", "contiguous"])
@pytest.mark.parametrize("sizes", [(64, 48), (61, 67)])
def test_the_kernel_is_the_plain_product(sizes, order, kernel):
    """Gradients by torch.func and forward mode take the plain path, all others the kernel."""
    layer = MonarchLinear(*sizes, order=order, dtype=torch.float64)
    x = torch.randn(3, 40, sizes[0], dtype=torch.float64, requires_grad=True)
    y, weight = layer(x), layer.weight
    torch.testing.assert_close(y, nn.functional.linear(x, weight, layer.bias))
    assert y.is_contiguous()
    cotangent = torch.randn_like(y)
    found = torch.autograd.grad(y, [x, layer.left, layer.right], cotangent)
    dense = nn.functional.linear(x, layer.weight, layer.bias)
    expected = torch.autograd.grad(dense, [x, layer.left, layer.right], cotangent)
    for ours, other in zip(found, expected):
        torch.testing.assert_close(ours, other)
    _, pullback = torch.func.vjp(layer, x)
    torch.testing.assert_close(pullback(cotangent)[0], found[0])
    tangent = torch.randn_like(x)
    _, along = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(along, nn.functional.linear(tangent, weight))


@pytest.mark.parametrize("trains", ["x", "left", "right"])
def test_the_kernel_gives_each_gradient_alone(trains, kernel):
    layer = MonarchLinear(64, 48, bias=False)
    x = torch.randn(60, 64)
    tensors = {"x": x, "left": layer.left, "right": layer.right}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name == trains)
    (found,) = torch.autograd.grad(layer(x).square().sum(), tensors[trains])
    dense = nn.functional.linear(x, layer.weight).square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(dense, tensors[trains])[0])


@pytest.mark.parametrize("order", ["strided", "contiguous"])
@pytest.mark.parametrize(
    ("width", "n_vectors", "takes_kernel"),
    [(768, 15, False), (768, 16, True), (512, 64, False), (720, 64, False)],
)
def test_the_path_follows_the_size_and_both_agree(width, n_vectors, takes_kernel, order):
    layer = MonarchLinear(width, width, order=order)
    x = torch.randn(n_vectors, width, requires_grad=True)
    assert linear.kernel_pays(x, layer.left, layer.right) is takes_kernel
    made = linear.monarch_product(x, layer.left, layer.right, strided=order == "strided")
    assert (made.grad_fn.name() == "_MonarchProductBackward") is takes_kernel
    with torch.no_grad():  # without gradients the kernel does not pay
        assert not linear.kernel_pays(x, layer.left, layer.right)
    results = []
    for product in (linear._MonarchProduct.apply, _plain_product):
        y = product(order == "strided", x, layer.left, layer.right)
        cotangent = torch.ones_like(y).cumsum(0)
        gradients = torch.autograd.grad(y, [x, layer.left, layer.right], cotangent)
        results.append([y, *gradients])
    for ours, other in zip(*results):
        assert_close(ours, other)


def _plain_product(strided, *tensors):
    return linear.reference_monarch_product(*tensors, strided=strided)


def test_trains_inside_a_sequential():
    model = nn.Sequential(
        MonarchLinear(16, 32, rank=2), nn.GELU(), MonarchLinear(32, 4, n_blocks=2)
    )
    x, target = torch.randn(64, 16), torch.randn(64, 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_state_dict_dtype_and_copies():
    layer, other = MonarchLinear(16, 12), MonarchLinear(16, 12)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 16)
    assert torch.equal(layer(x), other(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert layer.double()(x.double()).dtype == torch.float64
    half = MonarchLinear.from_linear(nn.Linear(16, 12, dtype=torch.bfloat16))
    assert half.left.dtype == half(x.bfloat16()).dtype == torch.bfloat16


def test_autocast_is_that_of_nn_linear():
    layer, x = MonarchLinear(16, 12), torch.randn(3, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == nn.Linear(16, 12)(x).dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.left.grad.dtype == torch.float32
    assert_close(y.float(), layer(x), relative=0.05)


def test_export_with_any_batch_and_vmap():
    layer = MonarchLinear(13, 18, rank=1)
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (torch.randn(4, 13),), dynamic_shapes=({0: batch},))
    for n_vectors in (1, 300):
        x = torch.randn(n_vectors, 13)
        torch.testing.assert_close(program.module()(x), layer(x))
    x = torch.randn(20, 3, 13)
    torch.testing.assert_close(torch.vmap(layer)(x), layer(x))


def test_onnx_computes_the_same():
    onnx = pytest.importorskip("onnx", reason="needs onnx and onnxscript (the dev extra)")
    pytest.importorskip("onnxscript", reason="needs onnx and onnxscript (the dev extra)")
    from onnx.reference import ReferenceEvaluator

    layer, x = MonarchLinear(16, 12).eval(), torch.randn(3, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(layer, (x,), dynamo=True, verbose=False)
    onnx.checker.check_model(program.model_proto)
    (y,) = ReferenceEvaluator(program.model_proto).run(
        None, {program.model_proto.graph.input[0].name: x.numpy()}
    )
    torch.testing.assert_close(torch.from_numpy(y), layer(x).detach())


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: nn.init.normal_(layer.weight),
        lambda layer: nn.init.xavier_uniform_(layer.weight),
        lambda layer: layer.weight.data.zero_(),
        lambda layer: layer.weight.detach().copy_(torch.ones(12, 16)),
        lambda layer: layer.weight.__setitem__(0, 1.0),
        lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(12, 16))),
    ],
)
def test_the_computed_weight_cannot_be_written_silently(write):
    layer = MonarchLinear(16, 12)
    with pytest.raises(TypeError, match="the `weight` of "), torch.no_grad():
        write(layer)


def test_the_weight_is_read_as_any_tensor_and_assigned_by_projection():
    layer, matrix = MonarchLinear(16, 12), torch.randn(12, 16)
    assert type(layer.weight + 1) is type(layer.weight.T) is torch.Tensor
    layer.weight.square().sum().backward()
    assert layer.left.grad is not None
    layer.weight = matrix
    linear = nn.Linear(16, 12)
    linear.weight = nn.Parameter(matrix)
    assert torch.equal(layer.weight, MonarchLinear.from_linear(linear).weight)


def test_repr_names_the_arguments():
    expected = "MonarchLinear(in_features=16, out_features=8, bias=True, n_blocks=(4, 4), rank=1)"
    assert repr(MonarchLinear(16, 8)) == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"in_features": 0}, "`in_features` must be at least 1, got 0"),
        ({"rank": 5}, "`rank` must be at most 4 for slices of 4 x 4, got 5"),
        ({"rank": 0}, "`rank` must be at least 1, got 0"),
        ({"n_blocks": 0}, "`n_blocks` must be at least 1, got 0"),
        ({"order": "random"}, "`order` must be one of 'strided', 'contiguous', got 'random'"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        MonarchLinear(**({"in_features": 16, "out_features": 16} | arguments))


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"10 entries along its last axis, got shape \(2, 12\)"):
        layer_of(10, 10)(torch.zeros(2, 12))


@pytest.mark.parametrize(
    ("moments", "text"),
    [
        (torch.ones(3), r"`second_moments` must have shape \(16,\) or \(16, 16\), got \(3,\)"),
        (torch.full((16,), float("nan")), "`second_moments` must be finite, got 16 NaN"),
    ],
)
def test_second_moments_that_do_not_fit_are_refused(moments, text):
    with pytest.raises(ValueError, match=text):
        MonarchLinear.from_linear(nn.Linear(16, 16), second_moments=moments)
