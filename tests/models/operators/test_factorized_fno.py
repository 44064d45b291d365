"""The factorised FNO against its definition by torch.fft, for every transform and grid."""

import pytest
import torch
from tolerances import assert_close

from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models import FactorizedFNO, densify, monarchize

SIZES = {"hidden_channels": 6, "n_layers": 3}


def definition(network, x, n_modes):
    """The paper's equations with torch.fft on full axes, no code of ours but the weights."""
    axes = [torch.arange(n, dtype=x.dtype) / n for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(x), -1, *x.shape[2:])

    def pointwise(layer, u):
        weight = layer.weight.flatten(1)
        bias = layer.bias.view(-1, *(1,) * (u.ndim - 2))
        return torch.einsum("bi...,oi->bo...", u, weight) + bias

    def two_layers(layers, u):
        return pointwise(layers[2], pointwise(layers[0], u).relu())

    z = pointwise(network.lift, torch.cat([x, grid], dim=1))
    for index, feed_forward in enumerate(network.feed_forward):
        convs = network.spectral[index % len(network.spectral)].convs
        h = 0
        for axis, (conv, modes) in enumerate(zip(convs, n_modes), start=2):
            spectrum = torch.fft.rfft(z, dim=axis, norm="ortho").movedim(axis, -1)
            kept = torch.zeros_like(spectrum)
            for k in range(modes // 2 + 1):
                matrix = torch.view_as_complex(conv.weight)[k]
                kept[..., k] = torch.einsum("bi...,io->bo...", spectrum[..., k], matrix)
            h = h + torch.fft.irfft(kept.movedim(-1, axis), z.shape[axis], dim=axis, norm="ortho")
        z = z + two_layers(feed_forward, h)
    return two_layers(network.project, z)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("grid", [(16,), (16, 12), (15, 9), (8, 9, 6)], ids=str)
def test_is_the_definition_in_float64(grid, shared):
    torch.manual_seed(0)
    n_modes = (8, 4, 6)[: len(grid)]
    network = FactorizedFNO(grid, 2, 3, n_modes=n_modes, shared_weights=shared, **SIZES).double()
    x = torch.randn(2, 2, *grid, dtype=torch.float64)
    expected = definition(network, x, n_modes)
    assert_close(network(x), expected, relative=1e-11)


ABLATIONS = [
    {},
    {"transform_rank": 2},
    {"transform_order": 3},
    {"per_channel": True},
    {"per_channel": True, "transform_rank": 2, "transform_order": 3},
    {"n_modes": (10, 4)},
    {"shared_weights": False},
    {"weight_norm": True},
    {"domain_padding": (0.25, 0.0)},
]


@pytest.mark.parametrize("init", ["dft", "dct", "dst"])
@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_ablation_starts_as_the_fixed_network_and_transfers(options, init):
    torch.manual_seed(0)
    options = {"n_modes": (6, 6), **SIZES, **options}
    network = FactorizedFNO((12, 16), 2, 1, transform="monarch", init=init, **options).double()
    name = {"dft": "fourier", "dct": "cosine", "dst": "sine"}[init]
    shared = {k: v for k, v in options.items() if k != "per_channel" and "transform_" not in k}
    fixed = FactorizedFNO((12, 16), 2, 1, transform=name, **shared).double()
    loaded = fixed.load_state_dict(network.state_dict(), strict=False)
    assert not loaded.missing_keys
    for grid in [(12, 16), (24, 32), (48, 64)]:
        x = torch.randn(1, 2, *grid, dtype=torch.float64)
        assert_close(network(x), fixed(x), relative=1e-10)


@pytest.mark.parametrize("transform", ["fourier", "monarch", "dense", "cosine", "sine"])
def test_every_transform_trains(transform):
    torch.manual_seed(0)
    network = FactorizedFNO((8, 8), n_modes=(4, 4), transform=transform, **SIZES)
    x = torch.randn(4, 1, 8, 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        loss = (network(x) - x.roll(1, -1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


@pytest.mark.parametrize("shared", [True, False])
def test_monarchize_and_densify_keep_the_function(shared):
    torch.manual_seed(0)
    network = FactorizedFNO((12, 10), n_modes=(6, 6), shared_weights=shared, **SIZES).double()
    x = torch.randn(1, 1, 12, 10, dtype=torch.float64)
    monarch = monarchize(network)
    layers = [m for m in monarch.modules() if isinstance(m, MonarchSpectralConv)]
    assert len(layers) == (2 if shared else 2 * SIZES["n_layers"])
    assert [layers[0].analysis[0].n, layers[1].analysis[0].n] == [12, 10]
    torch.testing.assert_close(monarch(x), network(x))
    with torch.no_grad():
        for conv in layers:
            for factor in conv.analysis[0].factors:
                factor.add_(0.1 * torch.randn_like(factor))
    assert not torch.allclose(monarch(x), network(x))
    torch.testing.assert_close(densify(monarch)(x), monarch(x))


def test_sharing_and_factorising_save_parameters():
    def spectral(**options):
        network = FactorizedFNO((32, 32), n_modes=(16, 16), hidden_channels=8, **options)
        return sum(p.numel() for p in network.spectral.parameters())

    assert spectral() == 2 * 9 * 8 * 8 * 2  # axes, modes, channels, channels, complex
    assert spectral(shared_weights=False) == 4 * spectral()


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_initial_spectral_weights_are_xaviers(gain):
    torch.manual_seed(0)
    network = FactorizedFNO((32, 32), n_modes=(30, 16), hidden_channels=32, spectral_gain=gain)
    for conv in network.spectral[0].convs:
        theirs = torch.empty(32, 32, len(conv.weight), 2)  # the authors' layout
        torch.nn.init.xavier_normal_(theirs, gain=gain)
        assert float(conv.weight.detach().std()) == pytest.approx(float(theirs.std()), rel=0.03)
    assert [len(conv.weight) for conv in network.spectral[0].convs] == [16, 9]


def test_padding_is_zeros_after_the_lifting():
    """A network whose layers add nothing returns the projection of the lifted field."""
    torch.manual_seed(0)
    network = FactorizedFNO((10, 8), n_modes=(4, 4), domain_padding=0.2, **SIZES)
    with torch.no_grad():
        for feed_forward in network.feed_forward:
            feed_forward[2].weight.zero_()
            feed_forward[2].bias.zero_()
    plain = FactorizedFNO((10, 8), n_modes=(4, 4), **SIZES)
    plain.load_state_dict(network.state_dict())
    x = torch.randn(1, 1, 10, 8)
    torch.testing.assert_close(network(x), plain(x))
    assert [conv.analysis[0].n for conv in network.spectral[0].convs] == [14, 12]


def test_without_coordinates_a_periodic_network_is_equivariant_to_shifts():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 12, 16, dtype=torch.float64)
    for embedding, equal in [(False, True), (True, False)]:
        network = FactorizedFNO(
            (12, 16), n_modes=(6, 6), positional_embedding=embedding, **SIZES
        ).double()
        moved = network(x.roll((3, 5), (2, 3)))
        assert torch.allclose(moved, network(x).roll((3, 5), (2, 3))) == equal


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: FactorizedFNO((8, 8), n_modes=(4,)), "`n_modes` must have 2 sizes"),
        (lambda: FactorizedFNO((8, 8), n_modes=(10, 4)), "at most 8 along axis -2"),
        (lambda: FactorizedFNO((8, 8), n_modes=(4, 4), domain_padding=-1.0), "`domain_padding`"),
        (lambda: FactorizedFNO((8, 8), n_modes=(4, 4), spectral_gain=0.0), "`spectral_gain` must"),
        (lambda: FactorizedFNO((8, 8), n_modes=(4, 4), transform="fft"), "`transform` must be"),
        (
            lambda: FactorizedFNO((8, 8), n_modes=(4, 4))(torch.zeros(1, 3, 8, 8)),
            r"must be \(batch, 1, 2 grid axes\)",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
