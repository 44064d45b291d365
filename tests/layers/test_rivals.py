"""Structured layers beside Monarch: the same contract for all of them."""

import pytest
import torch
from torch import nn

from monarch_sciml.layers import STRUCTURES
from monarch_sciml.layers.rivals import structured_options

SIZES = [(64, 48), (61, 67), (32, 128)]
PROJECTED = [name for name in STRUCTURES if name != "butterfly"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build(name, n_in, n_out, share=0.5, **options):
    arguments = structured_options(name, n_in, n_out, share)
    return STRUCTURES[name](n_in, n_out, **arguments, **options)


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
@pytest.mark.parametrize("name", STRUCTURES)
def test_multiplies_by_its_matrix_within_the_share(name, n_in, n_out):
    layer = build(name, n_in, n_out, dtype=torch.float64)
    x = torch.randn(2, 9, n_in, dtype=torch.float64)
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    torch.testing.assert_close(layer.to_linear()(x), layer(x))
    assert layer.weight.shape == (n_out, n_in)
    assert 0.2 < layer.n_weights / (n_in * n_out) <= 0.5
    again = type(layer)(n_in, n_out, **layer.options(), dtype=torch.float64)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))


@pytest.mark.parametrize("n_vectors", [1, 7, 200])
@pytest.mark.parametrize("name", STRUCTURES)
def test_few_and_many_vectors_are_multiplied_by_the_same_matrix(name, n_vectors):
    """With many vectors a Kronecker or butterfly layer forms its matrix first."""
    layer = build(name, 61, 67, dtype=torch.float64)
    x = torch.randn(n_vectors, 61, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(y, nn.functional.linear(x, layer.weight, layer.bias))
    one_by_one = torch.cat([layer(row) for row in x.split(1)])
    torch.testing.assert_close(y, one_by_one)
    found = torch.autograd.grad(y.square().sum(), list(layer.factors().values()))
    expected = torch.autograd.grad(one_by_one.square().sum(), list(layer.factors().values()))
    for ours, other in zip(found, expected):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize("name", STRUCTURES)
def test_starts_with_the_variance_of_nn_linear(name):
    outputs = [build(name, 64, 48, bias=False)(torch.randn(50, 64)) for _ in range(60)]
    assert float(torch.stack(outputs).var().detach()) * 3 == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", PROJECTED)
def test_projects_its_own_matrices_exactly_and_others_to_a_stationary_point(name):
    layer = build(name, 64, 48, dtype=torch.float64)
    back = type(layer).from_linear(layer.to_linear(), **layer.options())
    torch.testing.assert_close(back.weight, layer.weight)
    assert back.projection_error < 1e-12
    linear = nn.Linear(64, 48, dtype=torch.float64)
    nearest = type(layer).from_linear(linear, **layer.options())
    gap = (nearest.weight - linear.weight).square().sum()
    gradients = torch.autograd.grad(gap, list(nearest.factors().values()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-12  # no direction lowers the error


def test_block_diagonal_and_kronecker_are_what_torch_makes_of_their_factors():
    blocks = build("block_diagonal", 64, 48)
    torch.testing.assert_close(blocks.weight, torch.block_diag(*blocks.blocks))
    kronecker = build("kronecker", 64, 48)
    sums = sum(torch.kron(a, b) for a, b in zip(kronecker.outer, kronecker.inner))
    torch.testing.assert_close(kronecker.weight, sums)


@pytest.mark.filterwarnings("ignore::UserWarning:torch_structured")
@pytest.mark.parametrize("n_butterflies", [1, 2])
def test_butterfly_is_that_of_torch_structured(n_butterflies):
    theirs = pytest.importorskip("torch_structured.butterfly", reason="needs torch-structured")
    layer = STRUCTURES["butterfly"](30, 32, n_butterflies=n_butterflies)
    other = theirs.Butterfly(30, 32, nblocks=n_butterflies)
    with torch.no_grad():
        other.twiddle.copy_(layer.twiddle[None])
        other.bias.copy_(layer.bias)
    x = torch.randn(5, 30)
    torch.testing.assert_close(layer(x), other(x))


def test_a_layer_too_small_has_no_options():
    assert structured_options("monarch", 8, 8, 0.5) is None
    assert structured_options("butterfly", 8, 8, 0.5) is None
    with pytest.raises(ValueError, match="`structure` must be one of 'monarch', 'low_rank', "):
        structured_options("monach", 8, 8, 0.5)


def test_a_butterfly_cannot_be_projected():
    with pytest.raises(ValueError, match="Start it at random: start='random'"):
        STRUCTURES["butterfly"].from_linear(nn.Linear(64, 64))
