"""The transformer operator, and structured networks around networks."""

from functools import partial

import pytest
import torch
from torch import nn

from monarch_sciml.layers import MonarchLinear
from monarch_sciml.models import StructuredNetwork, TransformerOperator, densify

OPTIONS = {"patch_size": 4, "hidden_channels": 16, "n_layers": 2, "n_heads": 2}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("grid", [(16,), (8, 12), (4, 8, 8)])
def test_patches_are_cut_and_joined_in_place(grid):
    network = TransformerOperator(grid, 2, 2, **OPTIONS)
    x = torch.randn(3, 2, *grid)
    patches = network._cut(x)
    torch.testing.assert_close(network._joined(patches, [n // 4 for n in grid]), x)
    # the first patch is the first block of points of every channel
    first = x[(slice(None), slice(None), *(slice(4),) * len(grid))]
    assert torch.equal(patches[:, 0], first.flatten(1))
    assert network(x).shape == x.shape


def test_a_finer_grid_gets_interpolated_positions():
    network = TransformerOperator((8, 8), 1, 3, **OPTIONS)
    assert network(torch.randn(2, 1, 16, 24)).shape == (2, 3, 16, 24)
    assert torch.equal(network._positions([2, 2]), network.positions.flatten(2).mT)


def test_a_block_is_a_transformer_encoder_layer():
    block = TransformerOperator((8, 8), **OPTIONS).blocks[0]
    theirs = nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    pairs = [
        (theirs.self_attn.in_proj_weight, block.query_key_value.weight),
        (theirs.self_attn.in_proj_bias, block.query_key_value.bias),
        (theirs.self_attn.out_proj.weight, block.projection.weight),
        (theirs.self_attn.out_proj.bias, block.projection.bias),
    ]
    for layer, own in ((theirs.linear1, block.mlp[0]), (theirs.linear2, block.mlp[2])):
        pairs += [(layer.weight, own.weight), (layer.bias, own.bias)]
    with torch.no_grad():
        for target, value in pairs:
            target.copy_(value)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(block(x), theirs(x))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"grid_shape": (10, 8)}, "must be a multiple of `patch_size` 4, got"),
        ({"n_heads": 3}, "`hidden_channels` must be a multiple of `n_heads`, got 16 and 3"),
        ({"grid_shape": (4,) * 4}, "`grid_shape` must have one to three axes"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        TransformerOperator(**({"grid_shape": (8, 8), **OPTIONS} | arguments))


def test_a_structured_network_is_the_dense_one_with_other_matrices():
    dense = partial(TransformerOperator, **OPTIONS)
    network = StructuredNetwork((8, 8), 1, 1, network=dense, include="blocks.*")
    layers = [m for m in network.modules() if isinstance(m, MonarchLinear)]
    assert len(layers) == 8  # four a block
    trained = network.dense_network()
    network.project(trained)
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(densify(network)(x), network(x), rtol=1e-5, atol=1e-5)
    with pytest.warns(UserWarning, match="in the Monarch factors"):
        whole = StructuredNetwork((8, 8), 1, 1, network=dense, parameters=10, include="blocks.*")
        whole.project(trained)
    torch.testing.assert_close(whole(x), trained(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="every pattern of `include` must match"):
        StructuredNetwork((8, 8), 1, 1, network=dense, include="layers.*")
