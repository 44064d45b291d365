"""A network between normalised fields: its statistics, steps, gradients, and what is refused."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from monarch_sciml.models import FNO, Normalized


def test_the_network_sees_zero_mean_and_unit_variance():
    x = torch.tensor([3.0, -70.0]).view(2, 1) + torch.tensor([0.01, 20]).view(2, 1) * torch.randn(
        64, 2, 50
    )
    seen = []
    inner = nn.Identity()
    inner.register_forward_hook(lambda module, inputs, output: seen.append(output))
    mean, std = x.mean((0, 2)), x.std((0, 2))
    outer = Normalized(inner, mean, std, mean, std)
    torch.testing.assert_close(outer(x), x)
    assert_close(seen[0].mean((0, 2)), torch.zeros(2), scale=1.0)
    assert_close(seen[0].std((0, 2)), torch.ones(2))


def test_statistics_repeat_for_every_step():
    """Channels are steps times fields, steps first: u v u v."""
    mean, std = torch.tensor([1.0, 10]), torch.tensor([2.0, 3])
    outer = Normalized(nn.Identity(), 0 * mean, 0 * mean + 1, mean, std)
    y = outer(torch.ones(1, 4, 5))
    torch.testing.assert_close(y[0, :, 0], torch.tensor([3.0, 13, 3, 13]))


def test_statistics_are_saved_and_not_trained():
    network = FNO((8, 8), 1, 1, n_modes=(4, 4), hidden_channels=4, n_layers=1)
    one = torch.ones(1)
    outer = Normalized(network, 2 * one, 3 * one, 4 * one, 5 * one)
    assert {"input_mean", "input_std", "target_mean", "target_std"} < outer.state_dict().keys()
    assert {id(p) for p in outer.parameters()} == {id(p) for p in network.parameters()}
    assert outer(torch.randn(2, 1, 16, 16)).shape == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_std": torch.zeros(1)}, r"`input_std` must be above 0, got \[0.0\]"),
        ({"target_mean": torch.tensor(float("nan"))}, r"`target_mean` must be finite"),
    ],
)
def test_statistics_out_of_range_are_refused_in_one_line(changes, words):
    one = torch.ones(1)
    statistics = dict.fromkeys(("input_mean", "input_std", "target_mean", "target_std"), one)
    with pytest.raises(ValueError, match=words) as caught:
        Normalized(nn.Identity(), **{**statistics, **changes})
    assert "\n" not in str(caught.value)


def test_channels_that_are_no_steps_are_refused():
    two = torch.ones(2)
    with pytest.raises(ValueError, match=r"multiple of 2 channels.* got 3"):
        Normalized(nn.Identity(), two, two, two, two)(torch.ones(1, 3, 4))
