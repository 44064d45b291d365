"""What every reconstruction network must do, whatever its transform."""

import copy

import pytest
import torch
from tolerances import assert_close
from torch import nn

from monarch_sciml.models import SENSE, MoDL, ReconstructionUNet, VarNet
from monarch_sciml.physics.sense_operator import SenseOperator
from monarch_sciml.solvers import CGSENSE
from monarch_sciml.transforms import LearnableTransform

pytestmark = pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")

SMALL = {"hidden_channels": 4, "n_levels": 2}
NETWORKS = {
    "unet": (ReconstructionUNet, SMALL),
    "unet, not residual": (ReconstructionUNet, {**SMALL, "residual": False}),
    "varnet": (VarNet, {**SMALL, "n_cascades": 3}),
    "varnet, adjoint": (VarNet, {**SMALL, "n_cascades": 2, "encoding": "adjoint"}),
    "varnet, fourier": (VarNet, {**SMALL, "n_cascades": 2, "encoding": "fourier"}),
    "varnet, per cascade": (VarNet, {**SMALL, "n_cascades": 3, "per_cascade": True}),
    "modl": (MoDL, {**SMALL, "n_iterations": 2}),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name, grid, transform="fourier", seed=0, **more):
    torch.manual_seed(seed)
    network, options = NETWORKS[name]
    return awake(network(grid, transform=transform, **options, **more), seed)


def awake(network, seed=0):
    """Give the last layers of the U-Nets, which start at zero, weights."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "project"):
            nn.init.normal_(module.project.weight, std=0.3, generator=generator)
    return network


def phantom(grid, batch=2, coils=3, lines=False, dtype=torch.complex64):
    """Discs seen by smooth coils of unit norm, undersampled at random; and the image."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, n, dtype=torch.float64) for n in grid), indexing="ij"
    )
    angle = 2 * torch.pi * torch.arange(coils)[:, None, None] / coils
    distance = (x - 1.2 * angle.cos()) ** 2 + (y - 1.2 * angle.sin()) ** 2
    maps = torch.polar(torch.exp(-0.5 * distance), angle + 0.5 * x)
    maps = (maps / maps.abs().square().sum(0).sqrt()).expand(batch, -1, -1, -1)
    radius = 0.4 + 0.4 * torch.rand(batch, 1, 1, generator=generator, dtype=torch.float64)
    image = torch.polar(
        (x**2 + y**2 < radius) + 0.3 * (x > 0).double(), (0.5 * x + 0.3 * y) + 0 * radius
    )
    shape = (batch, 1 if lines else grid[0], grid[1])
    mask = (torch.rand(shape, generator=generator) < 0.5).double().expand(batch, *grid)
    maps, image = maps.to(dtype), image.to(dtype)
    mask = mask.to(dtype.to_real())
    return SenseOperator(mask, maps).forward(image), mask, maps, image


def loss_of(network, kspace, mask, maps, image):
    return (network(kspace, mask, maps) - image).abs().square().mean()


@every_network
@pytest.mark.parametrize(("grid", "lines"), [((16, 12), True), ((15, 23), False)])
@pytest.mark.parametrize("transform", ["monarch", "dense"])
def test_starts_as_the_network_with_the_fft(name, grid, lines, transform):
    *sample, _ = phantom(grid, lines=lines, dtype=torch.complex128)
    expected = build(name, grid).double()(*sample)
    result = build(name, grid, transform).double()(*sample)
    assert_close(result, expected, relative=1e-10)


@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_untrained_networks_change_nothing(transform):
    *sample, _ = phantom((16, 12))
    zero_filled = SENSE((16, 12))(*sample)
    for network in (ReconstructionUNet, VarNet):
        result = network((16, 12), transform=transform, **SMALL)(*sample)
        assert_close(result, zero_filled, relative=0.0001)
    # Tikhonov regularisation towards the last image, ten times: nearly the least squares solution
    modl = MoDL((16, 12), transform=transform, regularization=1e-3, n_cg_iterations=100, **SMALL)
    solution = CGSENSE((16, 12), regularization=1e-4)(*sample)
    assert (modl(*sample) - solution).norm() < 0.01 * solution.norm()
    assert (zero_filled - solution).norm() > 0.1 * solution.norm()


@every_network
def test_single_precision_agrees_with_double(name):
    *sample, _ = phantom((16, 12), dtype=torch.complex128)
    single = [t.to(torch.complex64 if t.is_complex() else torch.float32) for t in sample]
    for transform in ("fourier", "monarch"):
        network = build(name, (16, 12), transform)
        result = network(*single)
        assert result.dtype == torch.complex64
        assert_close(result.to(torch.complex128), network.double()(*sample), relative=0.001)


@every_network
@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_samples_do_not_depend_on_those_beside_them(name, transform):
    kspace, mask, maps, _ = phantom((16, 12), batch=3)
    network = build(name, (16, 12), transform).eval()
    together = network(kspace, mask, maps)
    for i in range(3):
        alone = network(kspace[[i]], mask[[i]], maps[[i]])
        assert_close(alone, together[[i]], relative=0.001)


@every_network
@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_one_step_of_training_lowers_the_loss_and_reaches_every_parameter(name, transform):
    sample = phantom((16, 12))
    network = build(name, (16, 12), transform)
    loss = loss_of(network, *sample)
    loss.backward()
    for which, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), which
        # no weight before a normalisation changes anything but its direction; step sizes of the
        # first and last cascades meet p = 0
        if "step_sizes" not in which:
            assert bool(parameter.grad.any()), which
    norm = sum(float(p.grad.square().sum()) for p in network.parameters()) ** 0.5
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 1e-3 * parameter.grad / norm
        assert loss_of(network, *sample) < loss


@every_network
def test_gradient_of_the_transform_is_the_slope_of_the_loss(name):
    sample = phantom((12, 10), dtype=torch.complex128)
    network = build(name, (12, 10), "monarch").double()
    if hasattr(network, "tolerance"):
        network.tolerance, network.n_cg_iterations = 1e-13, 100
    loss_of(network, *sample).backward()
    generator = torch.Generator().manual_seed(0)
    for transform in (m for m in network.modules() if isinstance(m, LearnableTransform)):
        parameter = transform.factors[0]
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += step * direction
                values.append(loss_of(network, *sample).item())
                parameter -= step * direction
        slope = (parameter.grad * direction).sum().item()
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-9)


@every_network
@pytest.mark.parametrize("resampling", ["relative", "frequency"])
def test_applies_to_other_matrices(name, resampling):
    *sample, _ = phantom((20, 13), dtype=torch.complex128)
    network = build(name, (16, 12), "monarch", resampling=resampling).double()
    expected = build(name, (20, 13)).double()(*sample)
    assert_close(network(*sample), expected, relative=1e-10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05
    assert not torch.allclose(network(*sample), expected, atol=1e-3)


@every_network
def test_state_dict_round_trip(name):
    *sample, _ = phantom((16, 12))
    source, target = build(name, (16, 12), "monarch"), build(name, (16, 12), "monarch", seed=1)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    assert not torch.allclose(target(*sample), source(*sample))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(*sample), source(*sample))
    assert torch.equal(copy.deepcopy(source)(*sample), source(*sample))


@every_network
def test_the_result_scales_with_the_data_and_zeros_stay_zeros(name):
    kspace, mask, maps, _ = phantom((16, 12))
    for transform in ("fourier", "monarch"):
        network = build(name, (16, 12), transform)
        expected = 1000 * network(kspace, mask, maps)
        assert_close(network(1000 * kspace, mask, maps), expected, relative=1)
        result = network(0 * kspace, mask, maps)
        assert result.abs().max() < 1e-6
        result.abs().square().sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@every_network
@pytest.mark.parametrize("transform", ["fourier", "monarch"])
def test_one_set_of_maps_with_and_without_its_axis_is_the_same(name, transform):
    kspace, mask, maps, _ = phantom((16, 12))
    network = build(name, (16, 12), transform)
    plain = network(kspace, mask, maps)
    assert torch.equal(network(kspace, mask, maps[:, None]), plain)


@every_network
@pytest.mark.parametrize("transform", ["monarch", "dense"])
def test_two_sets_of_maps_start_as_with_the_fft(name, transform):
    kspace, mask, maps, _ = phantom((15, 12), dtype=torch.complex128)
    sets = torch.stack([maps, 0.5 * maps.roll(1, 1) * maps[:, :1]], dim=1)  # not orthogonal
    expected = build(name, (15, 12)).double()(kspace, mask, sets)
    result = build(name, (15, 12), transform).double()(kspace, mask, sets)
    assert_close(result, expected, relative=1e-10)
    alone = build(name, (15, 12)).double()(kspace, mask, maps)
    assert not torch.allclose(expected, alone, atol=1e-2)


@every_network
def test_bad_input_is_named(name):
    kspace, mask, maps, _ = phantom((16, 12))
    network = build(name, (16, 12), "monarch")
    with pytest.raises(ValueError, match="must have the size of the k-space"):
        network(kspace, mask[:, :-1], maps)
    with pytest.raises(ValueError, match="must have the size of the k-space"):
        network(kspace, mask, maps[:, :-1])
    with pytest.raises(ValueError, match="must be the two sizes"):
        build(name, (16, 12, 3))
    with pytest.raises(ValueError, match="`transform` must be one of"):
        build(name, (16, 12), "wavelet")
    with pytest.raises(ValueError, match="`hidden_channels` must be at least 1"):
        type(network)((16, 12), hidden_channels=0)


def test_published_parameter_counts():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    # fastMRI's model has 29,936,966, of which 484,898 estimate the coil maps
    assert count(VarNet((320, 320))) == 29_936_966 - 484_898
    # two channels in and out instead of one: 9 * 32 and 32 + 1 more
    assert count(ReconstructionUNet((320, 320))) == 7_756_097 + 9 * 32 + 33
    # one U-Net for all iterations, and lambda
    assert count(MoDL((320, 320))) == count(ReconstructionUNet((320, 320))) + 1


def test_parameters_of_the_transforms():
    def extra(name, **options):
        plain = build(name, (16, 12), **options)
        ours = build(name, (16, 12), "monarch", **options)
        n_plain, n_ours = (sum(p.numel() for p in net.parameters()) for net in (plain, ours))
        return n_ours - n_plain

    one = sum(p.numel() for p in SENSE((16, 12), transform="monarch").parameters())
    assert extra("unet") == extra("modl") == one
    assert extra("varnet") == 2 * one
    assert extra("varnet, adjoint") == extra("varnet, fourier") == one
    assert extra("varnet, per cascade") == (4 + 3) * one
