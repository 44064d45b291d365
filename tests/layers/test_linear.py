from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

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
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize(("n_in", "n_out", "n_blocks", "rank"), CASES)
def test_equals_the_dense_layer(n_in, n_out, n_blocks, rank, batch, bias):
    layer = MonarchLinear(n_in, n_out, bias, n_blocks, rank, dtype=torch.float64)
    x = torch.randn(*batch, n_in, dtype=torch.float64)
    y = layer(x)
    dense = to_dense(layer.left, layer.right)[:n_out, :n_in]
    torch.testing.assert_close(y, nn.functional.linear(x, dense, layer.bias))
    torch.testing.assert_close(layer.to_linear()(x), y)
    assert y.shape == (*batch, n_out)
    assert [name for name, _ in layer.named_parameters()] == ["left", "right", "bias"][: 2 + bias]


@pytest.mark.parametrize(("n_in", "n_out", "n_blocks", "rank"), CASES)
def test_monarch_to_dense_and_back(n_in, n_out, n_blocks, rank):
    linear = MonarchLinear(n_in, n_out, True, n_blocks, rank, dtype=torch.float64).to_linear()
    back = MonarchLinear.from_linear(linear, n_blocks, rank)
    x = torch.randn(3, n_in, dtype=torch.float64)
    # cropping keeps the rank of every slice, so the matrix comes back, padded or not
    torch.testing.assert_close(back(x), linear(x), rtol=1e-10, atol=1e-12)


def test_from_linear_is_the_projection():
    linear = nn.Linear(24, 40)
    layer = MonarchLinear.from_linear(linear, n_blocks=(3, 5), rank=2)
    torch.testing.assert_close(layer.weight, to_dense(*project(linear.weight, (3, 5), 2)))
    assert torch.equal(layer.bias, linear.bias)
    assert layer.bias is not linear.bias
    assert layer.left.is_leaf
    assert layer.left.requires_grad


def test_from_linear_of_full_rank_is_the_same_function():
    linear = nn.Linear(10, 7, bias=False, dtype=torch.float64)  # padded to 12 and 8
    layer = MonarchLinear.from_linear(linear, n_blocks=4, rank=2)
    assert layer.bias is None
    torch.testing.assert_close(layer.weight, linear.weight)
    assert layer.to_linear().bias is None


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


def test_gradcheck_with_padding():
    layer = MonarchLinear(5, 6, n_blocks=(2, 3), rank=2, dtype=torch.float64)
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def apply(x, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters)), (x,))

    assert gradcheck(apply, (x, *layer.parameters()))
    assert gradgradcheck(apply, (x, *layer.parameters()))


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


def test_state_dict_dtype_and_autocast():
    layer = MonarchLinear(16, 12)
    other = MonarchLinear(16, 12)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 16)
    assert torch.equal(layer(x), other(x))
    assert layer.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(other(x).float(), layer.float()(x), rtol=0.05, atol=0.05)
    half = MonarchLinear.from_linear(nn.Linear(16, 12, dtype=torch.bfloat16))
    assert half.left.dtype == torch.bfloat16


def test_parameter_count_of_the_papers_four_blocks():
    layer = MonarchLinear(64, 64, bias=False, n_blocks=4, rank=64 // 4**2)
    assert layer.left.shape == layer.right.shape == (4, 16, 16)
    assert sum(p.numel() for p in layer.parameters()) == 64 * 64 // 2


def test_repr_names_the_arguments():
    expected = "MonarchLinear(in_features=8, out_features=4, bias=True, n_blocks=(4, 4), rank=1)"
    assert repr(MonarchLinear(8, 4)) == expected


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"in_features": 0}, "`in_features` must be at least 1, got 0"),
        ({"rank": 5}, "`rank` must be at most 4 for slices of 4 x 4, got 5"),
        ({"rank": 0}, "`rank` must be at least 1, got 0"),
        ({"n_blocks": 0}, "`n_blocks` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        MonarchLinear(**({"in_features": 16, "out_features": 16} | arguments))


def test_input_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"10 entries along its last axis, got shape \(2, 12\)"):
        MonarchLinear(10, 10)(torch.zeros(2, 12))
