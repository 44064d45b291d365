"""The U-Net against published sizes, its definition, and the grids it must take."""

import pytest
import torch
from torch import nn

from monarch_sciml.models import UNet


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("width", "published"), [(32, 7.76), (64, 31.0), (128, 124.0), (256, 496.0)]
)
def test_parameter_counts_are_fastmris(width, published):
    """fastMRI, arXiv 1811.08839, table of U-Net baselines: millions of parameters, 4 poolings."""
    with torch.device("meta"):
        network = UNet((320, 320), hidden_channels=width)
    assert n_parameters(network) / 1e6 == pytest.approx(published, rel=2e-3)


def test_two_levels_are_the_definition():
    torch.manual_seed(0)
    network = UNet((8, 8), 2, 3, hidden_channels=4, n_levels=1).double()
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    kernels = list(network.parameters())
    a, b, c, d, transposed, e, f, weight, bias = kernels

    def step(u):
        mean, var = u.mean((2, 3), keepdim=True), u.var((2, 3), keepdim=True, correction=0)
        u = (u - mean) / (var + 1e-5).sqrt()
        return torch.where(u > 0, u, 0.2 * u)

    def conv(u, kernel):
        return step(nn.functional.conv2d(u, kernel, padding=1))

    skip = conv(conv(x, a), b)
    low = skip.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    low = conv(conv(low, c), d)
    # every point becomes 2 x 2 points
    high = torch.einsum("bihw,iokl->bohkwl", low, transposed).reshape(2, 4, 8, 8)
    high = conv(conv(torch.cat([step(high), skip], 1), e), f)
    expected = torch.einsum("bihw,oi->bohw", high, weight[..., 0, 0]) + bias[:, None, None]
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize(
    "grid", [(1,), (3,), (64,), (65,), (16, 16), (33, 20), (7, 1), (9, 8, 5)], ids=str
)
def test_takes_every_grid_and_trains(grid, padding_mode, norm):
    torch.manual_seed(0)
    network = UNet(
        grid, 3, 2, hidden_channels=3, n_levels=3, norm=norm, padding_mode=padding_mode, dropout=0.1
    )
    x = torch.randn(1, 3, *grid)
    y = network(x)
    assert y.shape == (1, 2, *grid)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_runs_on_finer_grids_than_it_was_built_for():
    network = UNet((16, 16), 1, 1, hidden_channels=4, n_levels=2)
    assert network(torch.randn(1, 1, 40, 31)).shape == (1, 1, 40, 31)


def test_circular_padding_is_equivariant_to_shifts_and_zeros_are_not():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    shift = {"shifts": (8, -4), "dims": (2, 3)}
    for mode, equal in [("circular", True), ("zeros", False)]:
        network = UNet((32, 32), hidden_channels=3, n_levels=2, padding_mode=mode).double()
        moved, expected = network(x.roll(**shift)), network(x).roll(**shift)
        assert torch.allclose(moved, expected) == equal


def test_extension_is_periodic_or_constant():
    from monarch_sciml.models.operators.convolution_blocks import extend

    x = torch.arange(5.0).view(1, 1, 5)
    wrapped, crop = extend(x, 8, "circular")
    assert wrapped.flatten().tolist() == [4, 0, 1, 2, 3, 4, 0, 1]
    assert torch.equal(wrapped[crop], x)
    held, crop = extend(x, 8, "zeros")
    assert held.flatten().tolist() == [0, 0, 1, 2, 3, 4, 4, 4]
    assert torch.equal(held[crop], x)


def test_options_change_the_network():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 16, 16)
    outputs = []
    options = [
        {},
        {"pooling": "max"},
        {"activation": "gelu"},
        {"norm": "group"},
        {"padding_mode": "circular"},
    ]
    for option in options:
        torch.manual_seed(1)
        outputs.append(UNet((16, 16), hidden_channels=3, n_levels=2, **option)(x))
    for i, output in enumerate(outputs):
        assert all(not torch.allclose(output, other, atol=1e-4) for other in outputs[:i])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: UNet((4, 4, 4, 4)), "`grid_shape` must have 1, 2 or 3 sizes"),
        (lambda: UNet((8, 8), norm="layer"), "`norm` must be one of"),
        (lambda: UNet((8, 8), activation="sine"), "`activation` must be one of"),
        (lambda: UNet((8, 8), padding_mode="reflect"), "`padding_mode` must be one of"),
        (lambda: UNet((8, 8), pooling="sum"), "`pooling` must be one of"),
        (lambda: UNet((8, 8), dropout=1.5), "`dropout` must be at least 0 and below 1, got 1.5"),
        (lambda: UNet((8, 8))(torch.zeros(1, 2, 8, 8)), r"must be \(batch, 1, 2 grid axes\)"),
        (lambda: UNet((8, 8))(torch.zeros(1, 1, 8)), r"got \(1, 1, 8\)"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
