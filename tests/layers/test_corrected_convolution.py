"""The spectral convolution with one corrected transform over the whole grid."""

import pytest
import torch
from neuralop.layers.spectral_convolution import SpectralConv

from monarch_sciml.kernels import contiguous
from monarch_sciml.layers import MonarchSpectralConv, corrected_convolution
from monarch_sciml.models import FNO

CASES = {
    "line": ((30,), (9,)),
    "plane": ((16, 12), (6, 5)),
    "plane-odd": ((9, 11), (5, 6)),
    "space": ((6, 5, 8), (4, 3, 4)),
}


def layer_of(name, *, rank=2, **options):
    """A layer away from its start, in float64."""
    grid, modes = CASES[name]
    torch.manual_seed(0)
    layer = MonarchSpectralConv(
        3, 4, modes, transform="corrected", grid_shape=grid, transform_rank=rank, **options
    ).double()
    for transform in (*layer.analysis, *layer.synthesis):
        for parameter in transform.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return layer, torch.randn(2, 3, *grid, dtype=torch.float64)


def by_matrices(layer, x):
    """The formula with dense matrices, y = Re(S W A x) + b."""
    analysis, synthesis = layer.analysis[0].rows(), layer.synthesis[0].rows().mT
    weight = layer._padded_weight()
    weight = weight.flatten(0, layer.order - 1).to(analysis.dtype)
    modes = torch.einsum("kn,bin->kbi", analysis, x.flatten(2).to(analysis.dtype))
    y = torch.einsum("nk,kbo->bon", synthesis, modes @ weight)
    y = y if x.is_complex() else y.real
    return y.view(*y.shape[:2], *x.shape[2:]) + layer.bias


@pytest.fixture(params=["blocks", "dense", "plain"])
def way(request, monkeypatch):
    """Each way to compute the same layer."""
    if request.param != "dense":
        monkeypatch.setattr(corrected_convolution, "_DENSE_PAYS", 0)
    if request.param == "plain":
        monkeypatch.setattr(corrected_convolution, "needs_plain_operations", lambda *_: True)
    else:
        monkeypatch.setattr(
            corrected_convolution, "_DENSE_PAYS", 0 if request.param == "blocks" else 1e9
        )


@pytest.mark.parametrize("name", CASES)
def test_equals_neuralop_before_training(name, way):
    grid, modes = CASES[name]
    grid = tuple(n + n % 2 for n in grid)  # neuralop misplaces frequencies on odd grids
    theirs = SpectralConv(3, 4, modes)
    layer = MonarchSpectralConv(3, 4, modes, transform="corrected", grid_shape=grid)
    weight = theirs.weight.to_tensor().movedim((0, 1), (-2, -1))
    with torch.no_grad():
        layer.weight.copy_(torch.view_as_real(weight))
        layer.bias.copy_(theirs.bias)
    x = torch.randn(2, 3, *grid)
    torch.testing.assert_close(layer(x), theirs(x))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_those_of_dense_matrices(name, way, monkeypatch):
    monkeypatch.setattr(contiguous, "_CHUNK", 64)  # rows in several slices
    monkeypatch.setattr(contiguous, "_FEWEST_ROWS", 2)
    layer, x = layer_of(name)
    wanted = [x.requires_grad_(), *layer.parameters()]
    results = []
    for y in (layer(x), by_matrices(layer, x)):
        results.append([y, *torch.autograd.grad(y.sin().sum(), wanted)])
    for ours, reference in zip(*results):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("options", [{"init": "dct"}, {"complex_data": True}])
def test_real_bases_and_complex_fields_equal_dense_matrices(options):
    layer, x = layer_of("plane", **options)
    x = torch.complex(x, x.flip(0)) if "complex_data" in options else x
    torch.testing.assert_close(layer(x), by_matrices(layer, x))


def test_gradients_once_and_twice(way):
    layer, x = layer_of("plane-odd", rank=1, grid_blocks=2, mode_blocks=2)
    x = x[:1].requires_grad_()
    y = layer(x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    wanted = [x, layer.weight, *layer.analysis.parameters(), *layer.synthesis.parameters()]
    second = torch.autograd.grad(first.square().sum(), wanted)
    z = by_matrices(layer, x)
    (expected,) = torch.autograd.grad(z.square().sum(), x, create_graph=True)
    torch.testing.assert_close(first, expected)
    for ours, reference in zip(second, torch.autograd.grad(expected.square().sum(), wanted)):
        torch.testing.assert_close(ours, reference)


def test_fewer_modes_can_be_used_at_run_time(way):
    layer, x = layer_of("plane")
    layer.n_modes = (4, 2)
    torch.testing.assert_close(layer(x), by_matrices(layer, x))
    fixed = MonarchSpectralConv(3, 4, (4, 2), max_n_modes=(6, 5), transform="fourier").double()
    fixed.load_state_dict(layer.state_dict(), strict=False)
    for transform in (*layer.analysis, *layer.synthesis):
        for parameter in transform.parameters():
            torch.nn.init.zeros_(parameter)
    fixed.n_modes = (4, 2)
    torch.testing.assert_close(layer(x), fixed(x))


def test_another_grid_in_and_out(way):
    layer, _ = layer_of("plane")
    x = torch.randn(2, 3, 20, 18, dtype=torch.float64)
    fine, coarse = (layer.analysis[0], layer.synthesis[0])
    analysis, synthesis = fine.resampled((20, 18)), coarse.resampled((24, 14))
    modes = torch.einsum("kn,bin->kbi", analysis.rows(), x.flatten(2).to(torch.complex128))
    modes = modes @ layer._padded_weight().flatten(0, 1)
    y = torch.einsum("kn,kbo->bon", synthesis.rows(), modes).real
    expected = y.view(2, 4, 24, 14) + layer.bias
    torch.testing.assert_close(layer(x, output_shape=(24, 14)), expected)


def test_half_precision_stays_near_single(way):
    layer, x = layer_of("plane")
    layer, x = layer.float(), x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.float32  # as of neuralop's layer
    assert (y.float() - layer(x)).norm() < 0.02 * layer(x).norm()


def test_network_trains_and_transfers():
    torch.manual_seed(0)
    network = FNO(
        (16, 16),
        n_modes=(6, 6),
        hidden_channels=4,
        n_layers=1,
        transform="corrected",
        transform_rank=2,
        grid_blocks=4,
        mode_blocks=(2, 1),
    )
    x = torch.randn(4, 1, 16, 16)
    target = x.roll(3, -1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (network(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.abs().sum() > 0 for p in network.network.fno_blocks.convs[0].parameters())
    assert network(torch.randn(1, 1, 20, 24)).shape == (1, 1, 20, 24)


def test_one_transform_an_axis_on_request():
    layer = MonarchSpectralConv(
        2, 2, (6, 6), transform="corrected", grid_shape=(16, 16), per_axis=True
    )
    assert [t.n for t in layer.analysis] == [16, 16]
    with pytest.raises(
        ValueError, match="`per_channel` is an option of transform='monarch' or 'dense'"
    ):
        MonarchSpectralConv(2, 2, (6, 6), transform="corrected", per_channel=True)


@pytest.mark.parametrize("options", [{}, {"init": "dct"}, {"complex_data": True}])
@pytest.mark.parametrize("target", [(16, 16), (12, 14), (20, 12)])
def test_fewer_modes_on_a_grid_without_room_for_all(options, target):
    sizes = {"max_n_modes": (16, 16), "grid_shape": (16, 16)}
    layer = MonarchSpectralConv(2, 3, (6, 5), transform="corrected", **sizes, **options)
    name = "cosine" if "init" in options else "fourier"
    plain = MonarchSpectralConv(2, 3, (6, 5), transform=name, **sizes, **options)
    plain.weight, plain.bias = layer.weight, layer.bias
    x = torch.randn(2, 2, 12, 14)
    torch.testing.assert_close(layer(x, target), plain(x, target), rtol=1e-4, atol=1e-5)


def test_blocks_of_every_axis():
    layer = MonarchSpectralConv(
        2, 2, (6, 6), transform="corrected", grid_shape=(16, 16), per_axis=True, grid_blocks=(2, 4)
    )
    assert [t.patches.counts for t in layer.analysis] == [(2,), (4,)]
    with pytest.raises(ValueError, match="`grid_blocks` must be one number of blocks, or 2 of"):
        MonarchSpectralConv(
            2, 2, (6, 6), transform="corrected", per_axis=True, grid_blocks=(2, 4, 8)
        )
