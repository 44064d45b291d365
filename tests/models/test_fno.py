"""FNO and Monarch-NO are one network: equal at initialisation, both neuralop's FNO around."""

import pytest
import torch
from neuralop.models import FNO as NeuralopFNO

from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models import FNO

SIZES = {"n_modes": (8, 8), "hidden_channels": 6, "n_layers": 2}


def share_weights(fourier: FNO, other: FNO) -> None:
    """Give both networks the same weights, in their own layouts."""
    rest = {k: v for k, v in fourier.state_dict().items() if torch.is_tensor(v)}
    rest = {k: v for k, v in rest.items() if ".convs." not in k}
    missing = other.load_state_dict(rest, strict=False)
    assert not missing.unexpected_keys
    for a, b in zip(fourier.network.fno_blocks.convs, other.network.fno_blocks.convs):
        weight = a.weight.to_tensor().detach()
        with torch.no_grad():
            modes_first = weight.permute(*range(2, weight.ndim), 0, 1).contiguous()
            b.weight.copy_(torch.view_as_real(modes_first))
            b.bias.copy_(a.bias)


def test_the_baseline_is_neuralops_own():
    torch.manual_seed(0)
    ours = FNO((16, 16), 3, 2, **SIZES)
    torch.manual_seed(0)
    theirs = NeuralopFNO(in_channels=3, out_channels=2, **SIZES)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


@pytest.mark.parametrize("padding", [None, 0.125])
@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"transform_rank": 2}], ids=str)
def test_untrained_monarch_no_equals_fno_on_every_grid(options, padding):
    torch.manual_seed(0)
    fourier = FNO((16, 16), 3, 2, domain_padding=padding, **SIZES)
    monarch = FNO((16, 16), 3, 2, transform="monarch", domain_padding=padding, **SIZES, **options)
    share_weights(fourier, monarch)
    for grid in [(16, 16), (32, 32)]:
        x = torch.randn(2, 3, *grid)
        torch.testing.assert_close(monarch(x), fourier(x), rtol=1e-5, atol=1e-5)


def test_transforms_live_on_the_training_grid():
    network = FNO((20, 16), 1, 1, transform="monarch", domain_padding=0.1, **SIZES)
    layer = network.network.fno_blocks.convs[0]
    assert isinstance(layer, MonarchSpectralConv)
    assert [transform.n for transform in layer.analysis] == [
        24,
        20,
    ]  # 0.1 of each axis on both sides


def test_modes_beyond_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"`n_modes` must be at most 16 along axis -1 .* got 20"):
        FNO((32, 16), n_modes=(12, 20))
    with pytest.raises(ValueError, match="`n_modes` must have 2 sizes"):
        FNO((32, 16), n_modes=(12,))
