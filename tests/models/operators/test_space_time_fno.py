"""The FNO in space and time: neuralop's FNO on a repeated input, trained by the roll-out loss."""

import pytest
import torch
from neuralop.models import FNO as NeuralopFNO
from tolerances import assert_close

from monarch_sciml.models import FNO, SpaceTimeFNO, densify
from monarch_sciml.training import RolloutObjective

SIZES = {"n_modes": (6, 6, 4), "hidden_channels": 4, "n_layers": 2}


def test_is_neuralops_fno_with_time_as_an_axis_and_steps_first():
    torch.manual_seed(0)
    ours = SpaceTimeFNO((8, 12), 3, 2, n_steps_out=10, **SIZES)
    torch.manual_seed(0)
    theirs = NeuralopFNO(in_channels=3, out_channels=2, domain_padding=[0, 0, 0.2], **SIZES)
    x = torch.randn(2, 3, 8, 12)
    expected = theirs(torch.stack([x] * 10, dim=-1))
    steps = ours(x)
    assert steps.shape == (2, 20, 8, 12)
    for t in range(10):
        for c in range(2):
            torch.testing.assert_close(steps[:, 2 * t + c], expected[:, c, ..., t])


def test_spectral_parameters_are_the_papers():
    with torch.device("meta"):
        network = SpaceTimeFNO(
            (64, 64), 10, 1, n_steps_out=40, n_modes=(16, 16, 14), hidden_channels=20
        )
    count = 0
    for name, parameter in network.named_parameters():
        if "convs" in name and "weight" in name:
            count += parameter.numel() * (2 if parameter.is_complex() else 1)
    assert count == 6_553_600  # 6,558,537 with the pointwise layers, which differ in neuralop


@pytest.mark.parametrize("init", ["dft", "dct"])
@pytest.mark.parametrize("grid", [(9,), (8, 10)], ids=str)
def test_monarch_along_time_too_starts_as_the_fixed_network_and_transfers(grid, init):
    torch.manual_seed(0)
    sizes = {**SIZES, "n_modes": SIZES["n_modes"][-len(grid) - 1 :]}
    network = SpaceTimeFNO(
        grid, 3, 2, n_steps_out=6, transform="monarch", init=init, time_padding=0.2, **sizes
    ).double()
    layer = network.network.fno_blocks.convs[0]
    assert [t.n for t in layer.analysis] == [*grid, 8]
    fixed = densify(network)
    for factor in (1, 2):
        x = torch.randn(2, 3, *(factor * n for n in grid), dtype=torch.float64)
        assert_close(network(x), fixed(x), relative=1e-10)


@pytest.mark.parametrize("n_at_once", [8, 4])
def test_trains_by_the_rollout_objective(n_at_once):
    torch.manual_seed(0)
    network = SpaceTimeFNO((8, 8), 8, 2, n_steps_out=n_at_once, transform="monarch", **SIZES)
    batch = {"input": torch.randn(2, 4, 2, 8, 8), "target": torch.randn(2, 8, 2, 8, 8)}
    objective = RolloutObjective()
    loss = objective.loss(network, batch)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    first = network(batch["input"].flatten(1, 2)).unflatten(1, (n_at_once, 2))
    torch.testing.assert_close(objective.predict(network, batch)[:, :n_at_once], first)


def test_one_step_without_padding_is_the_plain_fno():
    """With T = 1 the time axis holds nothing but frequency zero."""
    torch.manual_seed(0)
    network = SpaceTimeFNO(
        (8, 8), 2, 1, n_steps_out=1, time_padding=0.0, positional_embedding=False,
        n_modes=(6, 6, 1), hidden_channels=4, transform="cosine",
    )  # fmt: skip
    plain = FNO(
        (8, 8), 2, 1, positional_embedding=False, n_modes=(6, 6), hidden_channels=4,
        transform="cosine",
    )  # fmt: skip
    state = {
        name: value.reshape(plain.state_dict()[name].shape)
        for name, value in network.state_dict().items()
        if torch.is_tensor(value)
    }
    plain.load_state_dict(state, strict=False)
    x = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(network(x), plain(x))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_steps_out": 0}, "`n_steps_out` must be at least 1"),
        ({"n_steps_out": 2}, "`n_modes` must be at most 2 along axis -1"),
        ({"n_steps_out": 8, "time_padding": -0.1}, "`time_padding` must be at least 0"),
        ({"n_steps_out": 8, "domain_padding": (0.1,)}, "one fraction of at least 0, or 2"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        SpaceTimeFNO((8, 8), **SIZES, **options)


def test_bad_input_is_named():
    network = SpaceTimeFNO((8, 8), 2, n_steps_out=4, **SIZES)
    with pytest.raises(ValueError, match=r"must be \(batch, 2, 2 grid axes\)"):
        network(torch.zeros(1, 2, 8, 8, 4))
