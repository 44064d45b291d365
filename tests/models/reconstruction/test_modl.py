"""MoDL: CG-SENSE without its denoiser, its lambda, gradients to the mask, bad options."""

import pytest
import torch

from monarch_sciml.models import MoDL
from monarch_sciml.physics.sense_operator import SenseOperator
from monarch_sciml.solvers import CGSENSE


def measurement(grid):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, *grid, generator=generator, dtype=torch.complex128) / 2
    mask = (torch.rand(2, *grid, generator=generator) < 0.5).double()
    return SenseOperator(mask, maps)


@pytest.mark.parametrize("n_maps", [1, 2])
def test_without_a_denoiser_it_is_cg_sense(n_maps):
    grid = (16, 12)
    physics = measurement(grid=grid)
    kspace = physics.forward(torch.randn(2, *grid, dtype=torch.complex128))
    mask = physics.mask.squeeze(-3)
    network = MoDL(
        grid, n_iterations=1, hidden_channels=2, n_levels=1, n_cg_iterations=200, tolerance=1e-12
    ).double()

    class Zeros(torch.nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    network.regularizer = Zeros()
    maps = torch.stack([physics.coil_maps, physics.coil_maps.roll(3, -1)], dim=1)[:, :n_maps]
    solve = CGSENSE(grid, regularization=0.05, n_iterations=200, tolerance=1e-12)
    expected = solve(kspace, mask, maps)
    torch.testing.assert_close(network(kspace, mask, maps), expected)


def test_a_mask_with_gradients_gets_all_of_them():
    grid = (6, 5)
    physics = measurement(grid=grid)
    maps = physics.coil_maps
    kspace = physics.forward(torch.randn(2, *grid, dtype=torch.complex128))
    mask = torch.rand(2, *grid, dtype=torch.float64, requires_grad=True)
    network = MoDL(
        grid, n_iterations=1, hidden_channels=2, n_levels=1, n_cg_iterations=200, tolerance=1e-13
    ).double()

    def run(mask):
        return network(kspace, mask, maps)

    assert torch.autograd.gradcheck(run, mask, fast_mode=True)


def test_regularization_starts_where_asked_and_stays_positive():
    for start in (1e-4, 0.05, 3.0, 50.0):
        network = MoDL((8, 8), hidden_channels=2, n_levels=1, regularization=start).double()
        assert network.regularization.item() == pytest.approx(start, rel=1e-4)
    with torch.no_grad():
        network.raw_regularization.fill_(-20.0)
    assert network.regularization.item() > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"regularization": 0.0}, "`regularization` must be positive"),
        ({"regularization": float("inf")}, "`regularization` must be positive"),
        ({"tolerance": -1.0}, "`tolerance` must be positive"),
        ({"n_iterations": 0}, "`n_iterations` must be at least 1"),
        ({"n_cg_iterations": 0}, "`n_cg_iterations` must be at least 1"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        MoDL((8, 8), **options)
