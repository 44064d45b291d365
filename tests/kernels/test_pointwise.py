"""What surrounds a spectral convolution in one pass: equal to the separate operations."""

from __future__ import annotations

import copy

import pytest
import torch
from tolerances import assert_close
from torch.autograd import gradcheck, gradgradcheck

from monarch_sciml.kernels import pointwise
from monarch_sciml.models import FNO, monarchize
from monarch_sciml.models.operators import neuralop_blocks

SAMPLES, CHANNELS, HIDDEN, POINTS = 3, 4, 2, 10
_LAYERS = ((HIDDEN, CHANNELS), (HIDDEN,), (CHANNELS, HIDDEN), (CHANNELS,))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=["whole", "some samples", "some points"])
def cut(request, monkeypatch):
    """Take the field as a whole, two samples at a time, or three points at a time."""
    whole = CHANNELS * POINTS * SAMPLES
    sizes = {"whole": (whole, whole), "some samples": (60, whole), "some points": (40, 12)}
    monkeypatch.setattr(pointwise, "_CHUNK", sizes[request.param][0])
    monkeypatch.setattr(pointwise, "_LONGEST", sizes[request.param][1])


@pytest.fixture
def everywhere(monkeypatch):
    """Take the kernels for fields of every size."""
    monkeypatch.setattr(pointwise, "_FEWEST", 0)
    monkeypatch.setattr(pointwise, "_FEWEST_HIDDEN", 0)


def random(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def tail_arguments():
    field = (SAMPLES, CHANNELS, POINTS)
    shapes = [field, field, (CHANNELS, CHANNELS), *_LAYERS, (CHANNELS,)]
    return [random(*shape) for shape in shapes]


@pytest.mark.parametrize("activate", [True, False])
def test_the_tail_is_its_plain_operations_with_all_gradients(activate, cut):
    arguments = tail_arguments()
    ours = pointwise.block_tail(*arguments, activate=activate)
    plain = pointwise.plain_block_tail(activate, *arguments)
    assert_close(ours, plain)
    cotangent = torch.randn_like(ours)
    found = torch.autograd.grad(ours, arguments, cotangent)
    for gradient, other in zip(found, torch.autograd.grad(plain, arguments, cotangent)):
        assert_close(gradient, other)

    def tail(*values):
        return pointwise.block_tail(*values, activate=activate)

    assert gradcheck(tail, arguments, fast_mode=True)
    assert gradgradcheck(tail, arguments, fast_mode=True)
    with torch.no_grad():
        assert_close(tail(*arguments), plain)


def test_the_channel_network_is_its_plain_operations_with_all_gradients(cut):
    arguments = [random(SAMPLES, CHANNELS, POINTS), *(random(*shape) for shape in _LAYERS)]
    assert_close(pointwise.channel_mlp(*arguments), pointwise.plain_channel_mlp(*arguments))
    assert gradcheck(pointwise.channel_mlp, arguments, fast_mode=True)
    assert gradgradcheck(pointwise.channel_mlp, arguments, fast_mode=True)


def test_layers_without_biases_and_frozen_matrices():
    arguments = [random(SAMPLES, CHANNELS, POINTS), random(*_LAYERS[0]), None, random(*_LAYERS[2])]
    arguments[1].requires_grad_(False)
    ours = pointwise.channel_mlp(*arguments, None)
    plain = pointwise.plain_channel_mlp(*arguments, None)
    assert_close(ours, plain)
    wanted = [arguments[0], arguments[3]]
    found = torch.autograd.grad(ours.square().sum(), wanted)
    for gradient, other in zip(found, torch.autograd.grad(plain.square().sum(), wanted)):
        assert_close(gradient, other)


def networks(**options):
    """Return a network and one of the same weights whose modules are neuralop's own."""
    network = FNO((8, 8), n_modes=(4, 4), hidden_channels=4, n_layers=2, **options)
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, neuralop_blocks.FNOBlocks | neuralop_blocks.ChannelMLP):
            module.__class__ = type(module).__bases__[0]
    return network, plain


def calls_of(monkeypatch):
    """Count the calls of both kernels."""
    calls = []
    for name in ("block_tail", "channel_mlp"):
        kernel = getattr(pointwise, name)

        def counted(*args, name=name, kernel=kernel, **options):
            calls.append(name)
            return kernel(*args, **options)

        monkeypatch.setattr(pointwise, name, counted)
    return calls


@pytest.mark.parametrize("transform", ["fourier", "monarch", "corrected"])
@pytest.mark.parametrize("padding", [None, 0.25])
def test_a_network_keeps_its_outputs_and_gradients(transform, padding, everywhere, monkeypatch):
    network, plain = networks(transform=transform, domain_padding=padding)
    calls, x = calls_of(monkeypatch), torch.randn(2, 1, 8, 8)
    y, other = network(x), plain(x)
    assert calls == ["channel_mlp", "block_tail", "block_tail", "channel_mlp"]
    assert_close(y, other)
    y.square().sum().backward()
    other.square().sum().backward()
    assert list(network.state_dict()) == list(plain.state_dict())
    for ours, theirs in zip(network.parameters(), plain.parameters()):
        assert_close(ours.grad, theirs.grad)


def test_hooks_on_the_modules_inside_are_called(everywhere, monkeypatch):
    network, plain = networks(transform="monarch")
    seen = []
    blocks = network.network.fno_blocks
    blocks.channel_mlp[0].fcs[0].register_forward_hook(lambda *_: seen.append("mlp"))
    blocks.fno_skips[1].register_forward_hook(lambda *_: seen.append("skip"))
    calls, x = calls_of(monkeypatch), torch.randn(2, 1, 8, 8)
    assert_close(network(x), plain(x))
    assert seen == ["mlp", "skip"]
    assert "block_tail" not in calls


def test_parametrised_modules_are_called(everywhere, monkeypatch):
    network, plain = networks(transform="monarch")
    for mlp in network.network.fno_blocks.channel_mlp:
        torch.nn.utils.parametrizations.weight_norm(mlp.fcs[0])
    calls, x = calls_of(monkeypatch), torch.randn(2, 1, 8, 8)
    assert_close(network(x), plain(x))
    assert "block_tail" not in calls


def test_replaced_matrices_are_called_themselves(everywhere, monkeypatch):
    network = FNO((8, 8), n_modes=(4, 4), hidden_channels=16, n_layers=2, transform="monarch")
    network = monarchize(network, linear=True, spectral=False)
    calls = calls_of(monkeypatch)
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 1, 8, 8)
    assert "block_tail" not in calls


def test_small_fields_half_precision_and_autocast_take_the_modules(monkeypatch):
    network, _ = networks(transform="monarch")
    calls, x = calls_of(monkeypatch), torch.randn(2, 1, 8, 8)
    network(x)
    monkeypatch.setattr(pointwise, "_FEWEST", 0)
    monkeypatch.setattr(pointwise, "_FEWEST_HIDDEN", 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(x)
    torch.func.vmap(network)(x.unsqueeze(0))
    network.bfloat16()(x.bfloat16())
    assert not calls
