"""TF-Net: the published size, the split into scales, and the grids it must take."""

import pytest
import torch
from scipy.ndimage import uniform_filter

from monarch_sciml.models import TFNet
from monarch_sciml.training import RolloutObjective

SMALL = {"hidden_channels": 4, "n_levels": 2}


def test_has_the_published_size():
    """FNO paper, table of section 5.3: TF-Net, 7,451,724 parameters."""
    with torch.device("meta"):
        network = TFNet((64, 64), 9, 1, time_window=3)
    assert sum(p.numel() for p in network.parameters()) == 7_451_724


@pytest.mark.parametrize(("mode", "scipy_mode"), [("zeros", "constant"), ("circular", "wrap")])
@pytest.mark.parametrize("grid", [(9,), (8, 7), (5, 4, 6)], ids=str)
def test_parts_are_means_in_space_and_time_and_what_they_leave(grid, mode, scipy_mode):
    torch.manual_seed(0)
    network = TFNet(grid, 10, 2, time_window=3, padding_mode=mode, **SMALL).double()
    x = torch.randn(2, 10, *grid, dtype=torch.float64)
    mean, resolved, unresolved = network.split(x)
    assert mean.shape == resolved.shape == unresolved.shape == (2, 6, *grid)
    torch.testing.assert_close(mean + resolved + unresolved, x[:, 4:])
    sizes = (1, 1, *(3 for _ in grid))
    smooth = torch.from_numpy(uniform_filter(x.numpy(), sizes, mode=scipy_mode))
    torch.testing.assert_close(unresolved, (x - smooth)[:, 4:])
    for frame in range(3):
        for field in range(2):
            window = [smooth[:, 2 * (frame + i) + field] for i in range(3)]
            torch.testing.assert_close(mean[:, 2 * frame + field], sum(window) / 3)


def test_temporal_filter_reads_the_oldest_frame_first():
    network = TFNet((4, 4), 4, 1, time_window=3, **SMALL)
    with torch.no_grad():
        network.temporal_filter.copy_(torch.tensor([1.0, 0.0, 0.0]))
        network.spatial_filter.zero_()
        network.spatial_filter[1, 1] = 1
    x = torch.randn(1, 4, 4, 4)
    torch.testing.assert_close(network.split(x)[0], x[:, :2])


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("grid", [(1,), (17,), (16, 9), (3, 5, 8)], ids=str)
def test_takes_every_grid_and_trains(grid, padding_mode):
    torch.manual_seed(0)
    network = TFNet(grid, 6, 1, padding_mode=padding_mode, dropout=0.1, **SMALL)
    y = network(torch.randn(2, 6, *grid))
    assert y.shape == (2, 1, *grid)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    finer = tuple(2 * n for n in grid)
    assert network(torch.randn(2, 6, *finer)).shape == (2, 1, *finer)


def test_circular_padding_is_equivariant_to_shifts_and_zeros_are_not():
    torch.manual_seed(0)
    x = torch.randn(1, 5, 16, 24, dtype=torch.float64)
    for mode, equal in [("circular", True), ("zeros", False)]:
        network = TFNet((16, 24), 5, padding_mode=mode, **SMALL).double().eval()
        moved, expected = network(x.roll((4, -8), (2, 3))), network(x).roll((4, -8), (2, 3))
        assert torch.allclose(moved, expected) == equal


def test_all_three_parts_and_every_level_matter():
    torch.manual_seed(0)
    network = TFNet((16, 16), 6, **SMALL).double().eval()
    x = torch.randn(1, 6, 16, 16, dtype=torch.float64)
    before = network(x).detach()
    for encoder in network.encoders:
        for block in encoder:
            weight = block[0].weight.detach().clone()
            with torch.no_grad():
                block[0].weight.zero_()
                assert not torch.allclose(network(x), before, rtol=1e-3)
                block[0].weight.copy_(weight)
    torch.testing.assert_close(network(x), before)


def test_trains_on_rollouts():
    torch.manual_seed(0)
    network = TFNet((8, 8), 10, 2, **SMALL)
    batch = {"input": torch.randn(2, 5, 2, 8, 8), "target": torch.randn(2, 3, 2, 8, 8)}
    RolloutObjective().loss(network, batch).backward()
    assert network.spatial_filter.grad.abs().max() > 0
    assert network.temporal_filter.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: TFNet((8, 8), 3), "at least 4 frames of 1 fields, got 3. Give more"),
        (lambda: TFNet((8, 8), 9, 2), "at least 4 frames of 2 fields, got 9"),
        (lambda: TFNet((8, 8), 4, padding_mode="reflect"), "`padding_mode` must be one of"),
        (lambda: TFNet((8, 8), 4, **SMALL)(torch.zeros(1, 4, 8)), r"\(batch, 4, 2 grid axes\)"),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
