"""FNO and Monarch-NO are one network: equal at initialisation, both neuralop's FNO around."""

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.models import FNO as NeuralopFNO
from neuralop.models import TFNO
from tolerances import assert_close

from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models import FNO, densify, monarchize

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
def test_the_baseline_commutes_with_shifts_on_odd_grids(padding):
    """A Fourier layer is a convolution; with misplaced frequencies (neuralop 2.0.0) it is none."""
    torch.manual_seed(0)
    network = FNO((15, 16), 3, 2, domain_padding=padding, **SIZES)
    layer = network.network.fno_blocks.convs[0]
    x = torch.randn(2, 6, 19 if padding else 15, 20 if padding else 16)
    assert_close(layer(x.roll(4, 2)), layer(x).roll(4, 2), relative=0.0001)


ON_EVEN_GRIDS = [
    ((16, 16), {}, (15, 16)),
    ((16, 16), {}, (31, 33)),
    ((16, 16), {"n_modes": (7, 6)}, (9, 8)),
    ((16, 16), {"factorization": "tucker", "rank": 0.5}, (15, 16)),
    ((16, 16), {"domain_padding": 0.125}, (17, 17)),
    ((8, 8, 8), {"n_modes": (4, 4, 4)}, (5, 7, 9)),
]


@pytest.mark.parametrize(("built_for", "options", "grid"), ON_EVEN_GRIDS, ids=str)
def test_the_baseline_of_an_even_grid_is_right_on_odd_ones(built_for, options, grid):
    """neuralop's layer, and the same frequencies as our layer with its weights."""
    torch.manual_seed(0)
    network = FNO(built_for, 3, 2, **{**SIZES, **options})
    layer = network.network.fno_blocks.convs[0]
    assert isinstance(layer, SpectralConv)
    x = torch.randn(2, 6, *(n + 2 * round(options.get("domain_padding", 0) * n) for n in grid))
    shifts = tuple(range(3, 3 + len(grid)))
    axes = tuple(range(2, 2 + len(grid)))
    assert_close(layer(x.roll(shifts, axes)), layer(x).roll(shifts, axes), relative=0.0001)
    ours = densify(monarchize(network))
    assert ours.network.fno_blocks.convs[0].placement == "exact"
    fields = torch.randn(2, 3, *grid)
    assert_close(network(fields), ours(fields), relative=0.0001)
    network(fields).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("padding", [None, 0.125])
@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"transform_rank": 2}], ids=str)
def test_untrained_monarch_no_equals_fno_on_every_grid(options, padding):
    torch.manual_seed(0)
    fourier = FNO((16, 16), 3, 2, domain_padding=padding, **SIZES)
    monarch = FNO((16, 16), 3, 2, transform="monarch", domain_padding=padding, **SIZES, **options)
    share_weights(fourier, monarch)
    for grid in [(16, 16), (32, 32)]:
        x = torch.randn(2, 3, *grid)
        assert_close(monarch(x), fourier(x), relative=1e-05)


def test_transforms_live_on_the_training_grid():
    network = FNO((20, 16), 1, 1, transform="monarch", domain_padding=0.1, **SIZES)
    layer = network.network.fno_blocks.convs[0]
    assert isinstance(layer, MonarchSpectralConv)
    assert [transform.n for transform in layer.analysis] == [
        24,
        20,
    ]  # 0.1 of each axis on both sides


@pytest.mark.parametrize("transform", ["fourier", "monarch", "cosine"])
def test_a_grid_with_fewer_points_than_modes_is_refused_later_too(transform):
    network = FNO((16, 16), 1, 1, n_modes=(8, 8), hidden_channels=2, transform=transform)
    with pytest.raises(ValueError, match="`n_modes` must be at most 4 along axis -1 for a grid"):
        network(torch.zeros(1, 1, 8, 4))


def test_modes_beyond_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"`n_modes` must be at most 16 along axis -1 .* got 20"):
        FNO((32, 16), n_modes=(12, 20))
    with pytest.raises(ValueError, match="`n_modes` must have 2 sizes"):
        FNO((32, 16), n_modes=(12,))


@pytest.mark.parametrize(
    ("grid", "options", "words"),
    [
        ((), {"n_modes": ()}, "`grid_shape` must have a size, got none"),
        ((16, 16), {"domain_padding": float("nan")}, "`domain_padding` .* got nan"),
        ((16, 16), {"domain_padding": (0.1, float("inf"))}, "`domain_padding` .* inf"),
        ((16, 16), {"domain_padding": -0.1}, "`domain_padding` .* got -0.1"),
        ((16, 16), {"lifting_channel_ratio": -1}, "`lifting_channel_ratio` must be at least 0"),
        ((16, 16), {"projection_channel_ratio": 0}, "`projection_channel_ratio` must leave"),
        ((16, 16), {"projection_channel_ratio": float("nan")}, "`projection_channel_ratio` must"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(grid, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        FNO(grid, **{**SIZES, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["tucker", "cp", "tt"])
def test_factorised_weights_are_neuralops_for_every_transform(kind):
    """The weights have neuralop's names and layout; complex numbers are stored as pairs."""
    options = {**SIZES, "factorization": kind, "rank": 0.3}
    torch.manual_seed(0)
    theirs = TFNO(in_channels=3, out_channels=2, **options)
    torch.manual_seed(0)
    fourier = FNO((16, 16), 3, 2, **options)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(fourier(x), theirs(x), rtol=0, atol=0)
    monarch = FNO((16, 16), 3, 2, transform="monarch", **options)
    weights = {k: v for k, v in theirs.state_dict().items() if torch.is_tensor(v)}
    weights = {k: torch.view_as_real(v) if v.is_complex() else v for k, v in weights.items()}
    loaded = monarch.network.load_state_dict(weights, strict=False)
    assert not loaded.unexpected_keys
    assert all("analysis" in key or "synthesis" in key for key in loaded.missing_keys)
    for grid in [(16, 16), (32, 32)]:
        x = torch.randn(2, 3, *grid)
        assert_close(monarch(x), theirs(x), relative=0.0001)


def test_tfno_has_a_tenth_of_the_spectral_parameters():
    def spectral(network):
        convs = network.network.fno_blocks.convs
        return sum(p.numel() for conv in convs for n, p in conv.named_parameters() if "weight" in n)

    options = {"n_modes": (16, 16), "hidden_channels": 16, "transform": "cosine"}
    dense = spectral(FNO((32, 32), **options))
    tucker = spectral(FNO((32, 32), factorization="tucker", rank=0.1, **options))
    assert dense == 4 * 16**4
    assert 0.07 < tucker / dense < 0.13


@pytest.mark.parametrize("transform", ["cosine", "monarch"])
def test_factorised_weights_train_copy_and_convert(transform):
    torch.manual_seed(0)
    network = FNO((16, 16), transform=transform, factorization="tucker", rank=0.3, **SIZES).double()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    network(x).square().mean().backward()
    assert all(p.grad is not None and p.dtype == torch.float64 for p in network.parameters())
    assert not any(p.is_complex() for p in network.parameters())
    converted = densify(network) if transform == "monarch" else monarchize(network)
    for old, new in zip(network.network.fno_blocks.convs, converted.network.fno_blocks.convs):
        assert type(old.analysis[0]) is not type(new.analysis[0])
        assert new.weight.rank == old.weight.rank  # the factors are kept
    assert_close(converted(x), network(x), relative=1e-10)


ABLATIONS = [
    {},
    {"transform_rank": 2},
    {"transform_order": 3},
    {"per_channel": True},
    {"per_channel": True, "transform_rank": 2, "transform_order": 3},
    {"n_modes": (12, 4)},
    {"factorization": "tucker", "rank": 0.5},
]


@pytest.mark.parametrize("init", ["dft", "dct", "dst"])
@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_ablation_starts_as_the_fixed_network(options, init):
    """In float64 to 1e-10, on its own grid and a finer one; densify gives the fixed twin."""
    torch.manual_seed(0)
    sizes = {**SIZES, **options}
    network = FNO((16, 12), 2, 1, transform="monarch", init=init, **sizes).double()
    fixed = densify(network)
    names = {"dft": "Fourier", "dct": "Cosine", "dst": "Sine"}
    layer = fixed.network.fno_blocks.convs[0]
    assert {type(t).__name__ for t in layer.analysis} == {f"{names[init]}Transform"}
    for grid in [(16, 12), (32, 24)]:
        x = torch.randn(2, 2, *grid, dtype=torch.float64)
        assert_close(network(x), fixed(x), relative=1e-10)


@pytest.mark.parametrize("padding", [None, 0.2, 0.125])
@pytest.mark.parametrize("grid", [(17,), (16,), (15, 12), (9, 8, 7)], ids=str)
@pytest.mark.parametrize("init", ["dct", "dst"])
@pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
def test_wall_bases_with_and_without_padding_transfer_to_finer_grids(init, grid, padding):
    torch.manual_seed(0)
    sizes = {"n_modes": (4,) * len(grid), "hidden_channels": 3, "n_layers": 1}
    network = FNO(grid, 1, 2, transform="monarch", init=init, domain_padding=padding, **sizes)
    fixed = FNO(
        grid, 1, 2, transform={"dct": "cosine", "dst": "sine"}[init], domain_padding=padding,
        **sizes,
    )  # fmt: skip
    fixed.load_state_dict(network.state_dict(), strict=False)
    for factor in (1, 2):
        x = torch.randn(2, 1, *(factor * n for n in grid))
        assert_close(network(x), fixed(x), relative=0.0001)


def test_transfer_from_32_to_128_converges_where_the_field_is_resolved():
    """A trained-like network (moved transforms) gives one function on finer and finer grids."""
    torch.manual_seed(0)
    network = FNO((32, 32), transform="monarch", n_modes=(8, 8), hidden_channels=4, n_layers=2)
    network = network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "analysis" in name or "synthesis" in name:
                parameter.add_(0.02 * torch.randn_like(parameter))

    def field(n):
        a = torch.arange(n, dtype=torch.float64) / n * 2 * torch.pi
        return (torch.cos(a)[:, None] * torch.sin(2 * a) + torch.cos(a - 1))[None, None]

    with torch.no_grad():
        coarse = [network(field(n))[..., :: n // 32, :: n // 32] for n in (32, 64, 128)]
    errors = [float((y - coarse[2]).norm() / coarse[2].norm()) for y in coarse[:2]]
    assert errors[0] < 0.05
    assert errors[1] < errors[0]


def test_padding_may_differ_from_axis_to_axis():
    network = FNO((20, 16), transform="monarch", domain_padding=(0.0, 0.25), **SIZES)
    layer = network.network.fno_blocks.convs[0]
    assert [transform.n for transform in layer.analysis] == [20, 24]
    assert network(torch.randn(1, 1, 20, 16)).shape == (1, 1, 20, 16)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"domain_padding": (0.1,)}, "`domain_padding` must be one fraction of at least 0, or 2"),
        ({"domain_padding": -0.1}, "`domain_padding` must be .* got -0.1"),
        ({"factorization": "svd"}, "`factorization` must be 'tucker', .* got 'svd'"),
        ({"factorization": "tucker", "rank": 0.0}, "`rank` above 0, got 'tucker' and 0.0"),
    ],
)
def test_bad_options_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        FNO((16, 16), **SIZES, **options)


def test_input_of_another_shape_is_named():
    network = FNO((16, 16), 3, 2, **SIZES)
    for shape in [(1, 2, 16, 16), (1, 3, 16), (3, 16, 16)]:
        with pytest.raises(ValueError, match=r"must be \(batch, 3, 2 grid axes\)"):
            network(torch.zeros(shape))


def test_double_precision_of_the_baseline_takes_a_conversion():
    torch.manual_seed(0)
    network = FNO((16, 16), 3, 2, **SIZES)
    x = torch.randn(2, 3, 16, 16)
    with pytest.raises(TypeError, match=r"needs float32, got float64\. Convert .* densify"):
        network(x.double())
    double = densify(monarchize(network, grid_shape=(16, 16))).double()
    assert_close(double(x.double()).float(), network(x), relative=1e-05)
