"""Transforms outside of spectral convolutions become Monarch, dense or fixed: the same function."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models import SENSE, MoDL, ReconstructionUNet, VarNet, densify, monarchize
from monarch_sciml.transforms import (
    CosineTransform,
    DenseTransform,
    FixedTransform,
    FourierTransform,
    LearnableTransform,
    MonarchTransform,
    SineTransform,
)

GRID = (16, 12)
SMALL = {"hidden_channels": 4, "n_levels": 1}
NETWORKS = {
    "sense": lambda **o: SENSE(GRID, **o),
    "unet": lambda **o: ReconstructionUNet(GRID, **SMALL, **o),
    "varnet": lambda **o: VarNet(GRID, n_cascades=2, **SMALL, **o),
    "varnet, adjoint": lambda **o: VarNet(GRID, n_cascades=2, encoding="adjoint", **SMALL, **o),
    "varnet, per cascade": lambda **o: VarNet(GRID, n_cascades=2, per_cascade=True, **SMALL, **o),
    "modl": lambda **o: MoDL(GRID, n_iterations=2, **SMALL, **o),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def sample(dtype=torch.complex128):
    torch.manual_seed(0)
    kspace = torch.randn(2, 3, *GRID, dtype=dtype)
    maps = torch.randn(2, 3, *GRID, dtype=dtype) / 2
    return kspace, (torch.rand(2, *GRID) > 0.5).to(dtype.to_real()), maps


def learned(module):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return module


def of_type(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@every_network
def test_a_trained_network_with_the_fft_goes_on_as_monarch(name):
    torch.manual_seed(0)
    network = learned(NETWORKS[name]().double())
    converted = monarchize(network)
    ours = NETWORKS[name](transform="monarch").double()
    assert of_type(converted, MonarchTransform) and not of_type(converted, FixedTransform)
    assert not of_type(network, LearnableTransform)
    ours.load_state_dict(converted.state_dict())  # the names and sizes of the one built so
    result = converted(*sample())
    assert_close(result, network(*sample()), relative=1e-09)
    assert torch.equal(ours(*sample()), result)
    result.abs().sum().backward()
    for transform in of_type(converted, MonarchTransform):
        assert all(bool(p.grad.any()) for p in transform.parameters())


@every_network
def test_and_goes_on_dense_or_back_to_the_fft(name):
    torch.manual_seed(0)
    network = learned(NETWORKS[name]().double())
    back = densify(monarchize(network))
    assert not of_type(back, LearnableTransform)
    assert_close(back(*sample()), network(*sample()), relative=1e-09)
    network = learned(monarchize(network))
    dense = densify(network)
    assert of_type(dense, DenseTransform) and not of_type(dense, MonarchTransform)
    assert_close(dense(*sample()), network(*sample()), relative=1e-09)


def test_a_network_asked_on_another_matrix_before_is_converted_too():
    network = learned(SENSE((12, 12), transform="monarch").double())
    before = network(*sample())
    densify(network, inplace=True)
    assert not of_type(network, MonarchTransform)
    torch.testing.assert_close(network(*sample()), before)
    with torch.no_grad():
        network.transform[0].weight.zero_()
    assert not torch.allclose(network(*sample()), before)


@pytest.mark.parametrize("options", [{"n_coils": 3}, {"separable": False}], ids=str)
def test_copies_are_multiplied_out_one_by_one(options):
    network = learned(SENSE(GRID, transform="monarch", **options).double())
    torch.testing.assert_close(densify(network)(*sample()), network(*sample()))


@pytest.mark.parametrize(
    "fixed",
    [
        FourierTransform(12, 5),
        FourierTransform(12, inverse=True, centered=True, norm="backward"),
        FourierTransform(12, 4, real_input=True),
        CosineTransform(12, 7, norm="forward"),
        SineTransform(12, inverse=True),
    ],
    ids=lambda t: t.extra_repr(),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bare_transforms_of_every_kind(fixed, dtype):
    fixed = fixed.to(dtype).eval()
    monarch = monarchize(fixed)
    assert type(monarch) is MonarchTransform and monarch.spec == fixed.spec
    assert not monarch.training and monarch.factors[0].dtype == dtype
    torch.testing.assert_close(monarch.matrix(), fixed.matrix())
    back = densify(monarch)
    assert type(back) is type(fixed) and back.spec == fixed.spec
    assert torch.equal(back.matrix(), fixed.matrix())
    dense = densify(learned(monarch))
    assert type(dense) is DenseTransform and dense.spec == monarch.spec
    torch.testing.assert_close(dense.matrix(), monarch.matrix())


def test_rank_order_and_freezing():
    monarch = monarchize(FourierTransform(24), transform_rank=2, transform_order=3)
    assert (monarch.rank, monarch.order) == (2, 3)
    monarch = learned(monarch).requires_grad_(False)
    assert not densify(monarch).weight.requires_grad


@pytest.mark.parametrize("init", ["random", "irandom", "hadamard"])
def test_what_has_no_fixed_form_becomes_dense(init):
    monarch = MonarchTransform(16, init=init).double()
    dense = densify(monarch)
    assert type(dense) is DenseTransform
    torch.testing.assert_close(dense.matrix(), monarch.matrix())


def test_transforms_inside_a_spectral_convolution_are_the_layers_own():
    layer = MonarchSpectralConv(2, 2, (4,), transform="fourier", grid_shape=(8,))
    model = nn.Sequential(layer, nn.Identity())
    inside = of_type(layer, FixedTransform)
    converted = monarchize(model, inplace=True)
    assert of_type(layer, FixedTransform) == inside  # the old layer is as it was
    assert not of_type(converted, FixedTransform)
    again = converted[0]
    assert of_type(densify(converted, inplace=True), MonarchTransform) == []
    assert of_type(again, MonarchTransform)
