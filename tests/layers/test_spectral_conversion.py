"""A converted spectral convolution computes what neuralop's does, its misplaced modes included."""

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv
from tolerances import assert_close

from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.layers.spectral_conversion import (
    fixed_or_dense,
    learnable_from_fixed,
    learnable_from_neuralop,
)

OPTIONS = [
    {},
    {"bias": False},
    {"complex_data": True},
    {"resolution_scaling_factor": 2},
    {"resolution_scaling_factor": 0.5},
    {"separable": True},
    {"max_n_modes": 3},  # more than n_modes
    {"max_n_modes": 4},
    {"factorization": "tucker", "rank": 0.5, "implementation": "factorized"},
    {"factorization": "cp", "rank": 0.5},
    {"factorization": "tt", "rank": 0.5},
    {"fft_norm": "ortho"},
]
# n_modes, then an even and an odd grid
SHAPES = [
    ((12,), (32,), (37,)),
    ((12, 8), (24, 26), (25, 23)),
    ((7, 5), (22, 24), (25, 23)),
    ((3, 4, 5), (12, 14, 16), (9, 11, 17)),
]


def perturb(layer):
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "analysis" in name or "synthesis" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))


def field(grid, *, complex_data=False, channels=2):
    dtype = torch.complex64 if complex_data else torch.float32
    return torch.randn(1, channels, *grid, dtype=dtype)


@torch.no_grad()
def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    assert float((a - b).abs().max() / b.abs().max()) < tolerance


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("n_modes", "even", "odd"), SHAPES)
def test_equals_neuralop_on_every_grid(n_modes, even, odd, options):
    torch.manual_seed(0)
    if "max_n_modes" in options:
        options = options | {"max_n_modes": tuple(n + options["max_n_modes"] for n in n_modes)}
    theirs = SpectralConv(2, 2, n_modes, **options)
    ours = learnable_from_neuralop(theirs)
    for grid in (even, odd):
        x = field(grid, complex_data=theirs.complex_data)
        close(ours(x), theirs(x))
    perturb(ours)
    assert not torch.allclose(ours(x), theirs(x), rtol=1e-2, atol=1e-2)


def test_every_frequency_is_where_neuralop_writes_it_for_a_given_output_shape():
    torch.manual_seed(0)
    theirs = SpectralConv(2, 3, (6, 8))
    ours = learnable_from_neuralop(theirs, (16, 16))
    for grid, target in [((16, 16), (24, 20)), ((16, 16), (10, 12)), ((15, 16), (20, 9))]:
        x = field(grid)
        close(ours(x, output_shape=target), theirs(x, output_shape=target))


def test_exact_placement_repairs_what_neuralop_misplaces():
    # a band-limited field convolved on 16 x 16 is the same function on 15 x 15 points
    torch.manual_seed(0)
    layer = learnable_from_neuralop(SpectralConv(1, 1, (6, 6)))

    def field_on(n):
        t = 2 * torch.pi * torch.arange(n) / n
        return (torch.cos(t[:, None] - 2 * t) + torch.sin(2 * t[:, None]))[None, None]

    assert layer.placement == "neuralop"
    even, odd = layer(field_on(16)).detach(), layer(field_on(15)).detach()
    assert not torch.allclose(odd.square().mean(), even.square().mean(), rtol=1e-3)
    layer.placement = "exact"
    odd = layer(field_on(15)).detach()
    torch.testing.assert_close(odd[..., 0, 0], even[..., 0, 0])
    torch.testing.assert_close(odd.square().mean(), even.square().mean())


def test_one_axis_of_real_data_needs_no_misplacing():
    assert learnable_from_neuralop(SpectralConv(1, 1, (6,))).placement == "exact"


def test_neuralop_placement_compiles():
    torch.manual_seed(0)
    layer = learnable_from_neuralop(SpectralConv(2, 2, (6, 6)), (15, 16))
    x = field((15, 16))
    close(torch.compile(layer, backend="aot_eager")(x), layer(x))


def test_per_channel_layers_place_alike():
    torch.manual_seed(0)
    theirs = SpectralConv(2, 3, (6, 6))
    ours = learnable_from_neuralop(theirs, (16, 16), per_channel=True)
    assert ours.analysis[0].n_copies == 2 and ours.synthesis[0].n_copies == 3
    x = field((17, 15))
    close(ours(x), theirs(x))


def test_modes_are_carried_over_and_can_be_raised_again():
    torch.manual_seed(0)
    theirs = SpectralConv(2, 2, (12, 12), max_n_modes=(12, 7))
    ours = learnable_from_neuralop(theirs, (32, 32))
    theirs.n_modes = (6, 4)
    fewer = learnable_from_neuralop(theirs, (32, 32))
    assert fewer.n_modes == [6, 4] and fewer.max_n_modes == [12, 12]
    x = field((32, 32))
    close(fewer(x), theirs(x))
    fewer.n_modes = (12, 12)
    close(fewer(x), ours(x))


def test_modes_that_the_grid_has_no_room_for_are_left_out():
    theirs = SpectralConv(2, 2, (8, 8), max_n_modes=(12, 12))  # 12 non-negative: 22 of both signs
    assert learnable_from_neuralop(theirs).max_n_modes == [12, 22]
    ours = learnable_from_neuralop(theirs, (16, 16))
    assert ours.max_n_modes == [12, 16] and ours.weight.shape == (12, 9, 2, 2, 2)


def test_dtype_frozen_weights_and_mode_are_kept():
    torch.manual_seed(0)
    theirs = SpectralConv(2, 2, (6, 6)).double().eval()  # leaves complex weights as they are
    for parameter in theirs.parameters():
        parameter.requires_grad_(False)
    ours = learnable_from_neuralop(theirs, (16, 16))
    assert not ours.training and not ours.weight.requires_grad and not ours.bias.requires_grad
    trainable = {name.split(".")[0] for name, p in ours.named_parameters() if p.requires_grad}
    assert trainable == {"analysis", "synthesis"}
    x = field((16, 16))
    y = ours(x.double())
    assert y.dtype == torch.float64
    close(y.float(), theirs(x).float())


def test_the_random_stream_is_left_alone():
    theirs = SpectralConv(2, 2, (6, 6))
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    fixed_or_dense(learnable_from_fixed(MonarchSpectralConv(1, 1, (4,), transform="fourier")))
    torch.manual_seed(0)
    fixed_or_dense(learnable_from_neuralop(theirs))
    torch.testing.assert_close(torch.randn(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("grid", [(16,), (16, 15), (8, 9, 8)])
@pytest.mark.parametrize("basis", ["fourier", "cosine", "sine"])
def test_fixed_to_learnable_and_back(basis, grid, bias):
    torch.manual_seed(0)
    n_modes = (4,) * len(grid)
    layer = MonarchSpectralConv(2, 3, n_modes, transform=basis, grid_shape=grid, bias=bias)
    learnable = learnable_from_fixed(layer)
    assert [t.n for t in learnable.synthesis] == list(grid)
    assert learnable.weight is layer.weight and learnable.bias is layer.bias
    again = fixed_or_dense(learnable)
    assert not list(again.analysis.parameters()) and again.weight is layer.weight
    for size in (grid, tuple(n + 3 for n in grid)):
        x = field(size)
        close(learnable(x), layer(x))
        torch.testing.assert_close(again(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"complex_data": True},
        {"init": "dct"},
        {"init": "dst"},
        {"init": "random"},
        {"transform_rank": 2},
        {"transform_order": 3},
        {"max_n_modes": (9, 10), "resolution_scaling_factor": 2},
    ],
    ids=str,
)
def test_a_learned_layer_multiplies_out_to_a_dense_one(options, per_channel):
    torch.manual_seed(0)
    layer = MonarchSpectralConv(
        2, 3, (6, 5), grid_shape=(12, 16), per_channel=per_channel, **options
    )
    perturb(layer)
    dense = fixed_or_dense(layer)
    assert {type(t).__name__ for t in [*dense.analysis, *dense.synthesis]} == {"DenseTransform"}
    # a random transform has no counterpart on another grid
    for grid in [(12, 16), (24, 18), (13, 11)][: 1 if options.get("init") == "random" else None]:
        x = field(grid, complex_data=layer.complex_data)
        close(dense(x), layer(x))


def test_a_dense_layer_is_exact_in_float64_and_keeps_the_placement():
    torch.manual_seed(0)
    layer = learnable_from_neuralop(SpectralConv(2, 2, (6, 6))).double()
    perturb(layer)
    dense = fixed_or_dense(layer)
    assert dense.placement == "neuralop"
    x = field((17, 15)).double()
    assert_close(dense(x), layer(x))


class TwiceSpectralConv(SpectralConv):
    def forward(self, x, output_shape=None):
        return 2 * super().forward(x, output_shape)


class RenamedSpectralConv(SpectralConv):
    pass


def test_a_subclass_is_converted_when_it_computes_the_same():
    torch.manual_seed(0)
    theirs = RenamedSpectralConv(2, 2, (6, 6))
    x = field((16, 16))
    close(learnable_from_neuralop(theirs)(x), theirs(x))
    with pytest.raises(ValueError, match=r"must compute what neuralop 2\.0\.0 does"):
        learnable_from_neuralop(TwiceSpectralConv(2, 2, (6, 6)))


def test_a_large_bias_does_not_hide_the_function():
    torch.manual_seed(0)
    theirs = SpectralConv(2, 2, (6, 6))
    with torch.no_grad():
        theirs.bias.fill_(1e5)
        assert learnable_from_neuralop(theirs).placement == "neuralop"


@pytest.mark.parametrize("precision", ["half", "mixed"])
def test_reduced_precision_is_refused(precision):
    theirs = SpectralConv(2, 2, (6, 6), fno_block_precision=precision)
    with pytest.raises(ValueError, match=f"`fno_block_precision` must be 'full' .* '{precision}'"):
        learnable_from_neuralop(theirs)
