"""Every network that takes a transform takes the corrected one, and converts to it and back."""

import pytest
import torch
from neuralop.models import FNO as NeuralopFNO

from monarch_sciml.models import (
    FNO,
    SENSE,
    FactorizedFNO,
    MoDL,
    ReconstructionUNet,
    SpaceTimeFNO,
    VarNet,
    densify,
    monarchize,
)
from monarch_sciml.transforms import CorrectedTransform

SMALL = {"n_modes": (4, 4), "hidden_channels": 4, "n_layers": 1}
OPERATORS = {
    "FNO": lambda **o: FNO((9, 8), **SMALL, **o),
    "FNO-per-axis": lambda **o: FNO((9, 8), per_axis="mode_blocks" in o, **SMALL, **o),
    "FactorizedFNO": lambda **o: FactorizedFNO((9, 8), **SMALL, **o),
    "SpaceTimeFNO": lambda **o: SpaceTimeFNO(
        (8, 8), n_steps_out=4, n_modes=(4, 4, 2), hidden_channels=4, n_layers=1, **o
    ),
}
BLOCKS = {"transform": "corrected", "grid_blocks": 2, "mode_blocks": 1, "transform_rank": 2}
RECONSTRUCTIONS = {
    "SENSE": SENSE,
    "SENSE-plane": lambda grid, **o: SENSE(grid, separable="transform" not in o, **o),
    "VarNet": lambda grid, **o: VarNet(grid, n_cascades=1, hidden_channels=2, n_levels=1, **o),
    "MoDL": lambda grid, **o: MoDL(grid, n_iterations=1, hidden_channels=2, n_levels=1, **o),
    "U-Net": lambda grid, **o: ReconstructionUNet(grid, hidden_channels=2, n_levels=1, **o),
}


def corrections(network):
    return [m for m in network.modules() if isinstance(m, CorrectedTransform)]


def disturb(network):
    for transform in corrections(network):
        for parameter in transform.parameters():
            torch.nn.init.normal_(parameter, std=0.3)


def with_weights_of(network, other):
    network.load_state_dict(other.state_dict(), strict=False)
    return network


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_start_as_their_fixed_network(name):
    fixed, corrected = OPERATORS[name](transform="fourier"), OPERATORS[name](**BLOCKS)
    fixed = monarchize(fixed, transform="dense") if name != "FactorizedFNO" else fixed
    with_weights_of(corrected, fixed)
    grid = corrected.grid_shape
    x = torch.randn(2, 1, *grid)
    torch.testing.assert_close(corrected(x), fixed(x))
    disturb(corrected)
    assert not torch.allclose(corrected(x), fixed(x))
    corrected(x).sum().backward()
    assert all(p.grad is not None for t in corrections(corrected) for p in t.parameters())


@pytest.mark.parametrize("name", RECONSTRUCTIONS)
def test_reconstructions_start_as_their_fixed_network(name):
    torch.manual_seed(0)
    grid = (12, 9)
    fixed, corrected = RECONSTRUCTIONS[name](grid), RECONSTRUCTIONS[name](grid, **BLOCKS)
    with_weights_of(corrected, fixed)
    kspace = torch.randn(1, 2, *grid, dtype=torch.complex64)
    mask, maps = torch.ones(1, *grid), torch.randn(1, 2, *grid, dtype=torch.complex64)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(
        corrected(kspace, mask, maps), fixed(kspace, mask, maps), rtol=1e-3, atol=1e-4
    )
    disturb(corrected)
    assert corrections(corrected) and torch.isfinite(corrected(kspace, mask, maps)).all()
    small = kspace[..., :8, :8], mask[..., :8, :8], maps[..., :8, :8]
    assert corrected(*small).shape == (1, 8, 8)


def test_monarchize_keeps_the_outputs_of_trained_networks():
    theirs = NeuralopFNO(
        n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1
    )
    for network in (theirs, FNO((9, 8), transform="cosine", **SMALL)):
        converted = monarchize(network, transform="corrected", grid_shape=(12, 8))
        assert corrections(converted)
        for grid in ((12, 8), (9, 11)):  # neuralop misplaces frequencies on the second
            x = torch.randn(2, 1, *grid)
            torch.testing.assert_close(converted(x), network(x), rtol=1e-4, atol=1e-5)
        disturb(converted)
        assert torch.isfinite(converted(torch.randn(2, 1, 9, 11))).all()


def test_densify_gives_the_fixed_network_back_and_refuses_what_it_cannot_write():
    network = FNO((9, 8), **BLOCKS, **SMALL)
    fixed = densify(network)
    x = torch.randn(2, 1, 9, 8)
    assert not corrections(fixed)
    torch.testing.assert_close(fixed(x), network(x))
    disturb(network)
    with pytest.raises(ValueError, match="a correction over several axes must be untrained"):
        densify(network)
    line = FNO((16,), n_modes=(6,), hidden_channels=4, n_layers=1, **BLOCKS)
    disturb(line)
    x = torch.randn(2, 1, 16)
    torch.testing.assert_close(densify(line)(x), line(x))
    sense = SENSE((12, 9), **BLOCKS)
    disturb(sense)
    sample = torch.randn(1, 2, 12, 9, dtype=torch.complex64)
    torch.testing.assert_close(
        densify(sense)(sample, torch.ones(1, 12, 9), sample),
        sense(sample, torch.ones(1, 12, 9), sample),
    )
