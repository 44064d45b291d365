"""The residual network: the published size, its definition, and the grids it must take."""

import pytest
import torch

from monarch_sciml.models import ResNet


def test_has_the_published_size():
    """FNO paper, table of section 5.3: ResNet, 18 layers, 266,641 parameters, 10 frames in."""
    network = ResNet((64, 64), 10, 1)
    assert sum(p.numel() for p in network.parameters()) == 266_641
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 18


def test_blocks_add_to_their_input_where_the_width_stays():
    """With all convolutions but first and last zero, residual blocks do nothing."""
    torch.manual_seed(0)
    network = ResNet((8, 8), 1, 1, hidden_channels=4, n_blocks=(3,), norm="none").double()
    with torch.no_grad():
        for block in network.blocks:
            block[1][0].weight.zero_()
            block[1][0].bias.zero_()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(network(x), network.last(network.first(x)))
    assert [len(b) for b in network.blocks] == [2, 2, 2]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("grid", [(7,), (16, 9), (5, 4, 3)], ids=str)
def test_takes_every_grid_and_trains(grid, padding_mode, norm):
    torch.manual_seed(0)
    network = ResNet(
        grid, 3, 2, hidden_channels=3, n_blocks=(1, 1), norm=norm, padding_mode=padding_mode,
        dropout=0.1,
    )  # fmt: skip
    y = network(torch.randn(2, 3, *grid))
    assert y.shape == (2, 2, *grid)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network(torch.randn(2, 3, *(2 * n for n in grid))).shape[2:] == tuple(
        2 * n for n in grid
    )


def test_circular_padding_is_equivariant_to_shifts_and_zeros_are_not():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 9, 8, dtype=torch.float64)
    for mode, equal in [("circular", True), ("zeros", False)]:
        network = ResNet((9, 8), hidden_channels=3, padding_mode=mode).double().eval()
        moved, expected = network(x.roll((2, 3), (2, 3))), network(x).roll((2, 3), (2, 3))
        assert torch.allclose(moved, expected) == equal


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ResNet((8, 8), n_blocks=()), "`n_blocks` must have one size per stage"),
        (lambda: ResNet((8, 8), n_blocks=(1, 0)), "`n_blocks` must be at least 1"),
        (lambda: ResNet((8, 8), dropout=1.0), "`dropout` must be at least 0 and below 1"),
        (lambda: ResNet((8, 8))(torch.zeros(1, 2, 8, 8)), r"must be \(batch, 1, 2 grid axes\)"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
