"""UnpackedAttention computes what nn.MultiheadAttention computes."""

import pytest
import torch
from torch import nn

from monarch_sciml.layers import MonarchLinear
from monarch_sciml.layers.attention import UnpackedAttention
from monarch_sciml.layers.embedding import MonarchEmbedding


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pair(**options):
    theirs = nn.MultiheadAttention(16, 4, dtype=torch.float64, **options)
    if theirs.in_proj_bias is not None:
        nn.init.normal_(theirs.in_proj_bias)
    return theirs, UnpackedAttention(theirs)


MASKS = [
    {},
    {"need_weights": False},
    {"average_attn_weights": False},
    {"attn_mask": torch.ones(5, 7).triu(2).bool()},
    {"attn_mask": torch.randn(12, 5, 7, dtype=torch.float64)},
    {"key_padding_mask": torch.arange(7).expand(3, 7) > torch.tensor([[6], [4], [2]])},
    {"attn_mask": torch.ones(5, 7).triu(1).bool(), "is_causal": True, "need_weights": False},
]


@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True, "bias": False}, {"kdim": 8, "vdim": 6}]
)
@pytest.mark.parametrize("masks", MASKS)
def test_outputs_and_weights(options, masks):
    theirs, ours = pair(**options)
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    key = torch.randn(3, 7, options.get("kdim", 16), dtype=torch.float64)
    value = torch.randn(3, 7, options.get("vdim", 16), dtype=torch.float64)
    inputs = (x, key, value)
    if not options.get("batch_first"):
        inputs = tuple(t.transpose(0, 1) for t in inputs)
    for got, expected in zip(ours(*inputs, **masks), theirs(*inputs, **masks)):
        torch.testing.assert_close(got, expected)
    packed = ours.packed()
    assert packed.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(packed.state_dict()[name], value)


def test_one_sequence_without_a_batch():
    theirs, ours = pair()
    x = torch.randn(5, 16, dtype=torch.float64)
    for got, expected in zip(ours(x, x, x), theirs(x, x, x)):
        torch.testing.assert_close(got, expected)


def test_additional_keys_are_refused():
    with pytest.raises(ValueError, match="must have neither `add_bias_kv` nor `add_zero_attn`"):
        UnpackedAttention(nn.MultiheadAttention(16, 4, add_bias_kv=True))


@pytest.mark.parametrize("order", ["strided", "contiguous"])
def test_a_tied_embedding_holds_the_rows_of_the_matrix(order):
    linear = MonarchLinear(16, 27, bias=False, rank=2, order=order)
    embedding = MonarchEmbedding(linear, padding_idx=3)
    words = torch.tensor([[0, 26, 3], [5, 5, 12]])
    torch.testing.assert_close(embedding(words), nn.functional.embedding(words, linear.weight))
    torch.testing.assert_close(embedding.to_embedding()(words), embedding(words))
    gradient = torch.autograd.grad(embedding(words[:, 2:]).sum(), linear.left)[0]
    row = torch.autograd.grad(linear.weight[12].sum(), linear.left)[0]
    torch.testing.assert_close(gradient, row)  # nothing from the padding word
    assert embedding.left is linear.left
