"""E2E-VarNet against the formulas of its paper, written out with shifted FFTs."""

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.models import VarNet
from monarch_sciml.physics.sense_operator import fft2c, ifft2c


def sample(grid, lines):
    torch.manual_seed(0)
    kspace = torch.randn(2, 3, *grid, dtype=torch.complex128)
    maps = torch.randn(2, 3, *grid, dtype=torch.complex128)
    rows = 1 if lines else grid[0]
    mask = (torch.rand(2, rows, grid[1]) < 0.5).double().expand(2, *grid)
    return kspace, mask, maps / 3


def awake(network):
    """Give the last layers of the U-Nets, which start at zero, weights."""
    generator = torch.Generator().manual_seed(0)
    for regularizer in network.regularizers:
        weight = regularizer.network.project.weight
        torch.nn.init.normal_(weight, std=0.3, generator=generator)


@pytest.mark.parametrize("grid", [(16, 12), (15, 10)])
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_computes_the_cascades_of_the_paper(grid, lines, transform):
    torch.manual_seed(1)
    network = VarNet(grid, transform=transform, n_cascades=4, hidden_channels=4, n_levels=1)
    network = network.double()
    awake(network)
    with torch.no_grad():
        network.step_sizes.copy_(torch.tensor([0.3, 1.2, 0.7, 0.9]))
    kspace, mask, maps = sample(grid, lines)
    start = mask[:, None] * kspace  # noise outside the span of the maps included
    iterate = start
    for step, regularizer in zip(network.step_sizes, network.regularizers):
        image = (maps.conj() * ifft2c(iterate)).sum(1)
        refined = fft2c(maps * regularizer(image)[:, None])
        iterate = iterate - step * mask[:, None] * (iterate - start) - refined
    expected = (maps.conj() * ifft2c(iterate)).sum(1)
    assert_close(network(kspace, mask, maps), expected, relative=1e-09)


def test_computes_the_cascades_of_two_map_sets():
    torch.manual_seed(1)
    network = VarNet((16, 12), n_cascades=3, hidden_channels=4, n_levels=1).double()
    awake(network)
    kspace, mask, maps = sample((16, 12), False)
    maps = torch.stack([maps, maps.roll(3, -1)], dim=1)  # (B, M, C, H, W), not orthogonal
    start = iterate = mask[:, None] * kspace
    for step, regularizer in zip(network.step_sizes, network.regularizers):
        images = (maps.conj() * ifft2c(iterate)[:, None]).sum(2)
        corrections = torch.stack([regularizer(images[:, m]) for m in (0, 1)], dim=1)
        refined = fft2c((maps * corrections[:, :, None]).sum(1))
        iterate = iterate - step * mask[:, None] * (iterate - start) - refined
    images = (maps.conj() * ifft2c(iterate)[:, None]).sum(2)
    expected = torch.polar(images.norm(dim=1), images[:, 0].angle())
    assert_close(network(kspace, mask, maps), expected, relative=1e-09)


def test_step_sizes_have_the_gradient_of_the_kspace_form():
    kspace, mask, maps = sample((16, 12), False)
    gradients = []
    for transform in ("fourier", "monarch"):
        torch.manual_seed(1)
        network = VarNet(
            (16, 12), transform=transform, n_cascades=4, hidden_channels=4, n_levels=1
        ).double()
        awake(network)
        network(kspace, mask, maps).abs().square().sum().backward()
        gradients.append(network.step_sizes.grad)
    torch.testing.assert_close(*gradients)
    assert bool(gradients[0][1:].all())


def test_unknown_encoding_is_refused():
    with pytest.raises(ValueError, match="`encoding` must be one of 'learned', 'adjoint'"):
        VarNet((16, 12), encoding="none")
    with pytest.raises(ValueError, match="`n_cascades` must be at least 1"):
        VarNet((16, 12), n_cascades=0)
