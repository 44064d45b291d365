"""The baselines compute what they claim to: neuralop's layer, torch.fft, the original solver."""

import pytest
import torch

from monarch_sciml.commands.benchmark.layers import (
    LAYERS,
    TRANSFORMS,
    TRITON,
    full_transforms,
    layer_work,
    spectral_layers,
    with_triton,
)
from monarch_sciml.commands.benchmark.models import operators, training_step
from monarch_sciml.commands.benchmark.pipelines import original_navier_stokes
from monarch_sciml.solvers.navier_stokes import solve_navier_stokes


@pytest.mark.parametrize(
    ("grid", "modes"),
    [((16,), (6,)), ((16, 12), (6, 8)), ((8, 12, 10), (4, 6, 10)), ((8, 8), (8, 8))],
)
def test_layers_equal_neuralops_in_values_and_gradients(grid, modes):
    layers = spectral_layers(grid, modes, 3)
    assert set(layers) == set(LAYERS)
    x = torch.randn(2, 3, *grid)
    probe = torch.randn(2, 3, *grid)
    found = {}
    for name, layer in layers.items():
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.backward(probe)
        found[name] = y.detach(), leaf.grad, layer.bias.grad.flatten()
    for name, values in found.items():
        for value, expected in zip(values, found["neuralop"]):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4, msg=name)


def test_a_choice_of_layers():
    assert list(spectral_layers((8, 8), (4, 4), 2, ["Monarch"])) == ["neuralop", "Monarch"]
    with pytest.raises(ValueError, match=r"`candidates` must be one of 'neuralop'.*got 'fast'"):
        spectral_layers((8, 8), (4, 4), 2, ["fast"])


@pytest.mark.parametrize("grid", [(16, 12), (15, 20)])
def test_full_transforms_equal_the_centred_fft(grid):
    transforms = full_transforms(grid)
    assert set(transforms) == set(TRANSFORMS)
    x = torch.randn(2, *grid, dtype=torch.complex64)
    expected = transforms.pop("shifted fft2c")(x)
    del transforms["torch.fft.fft2"]
    for name, transform in transforms.items():
        torch.testing.assert_close(transform(x), expected, rtol=1e-4, atol=1e-4, msg=name)


def test_work_of_the_layer():
    # one axis, all by hand: 2 rows x 4 modes x 2 operations for each of 2 * 3 * 10 numbers
    work = layer_work((10,), (6,), 3, 2)
    transform = 4 * 4 * 60
    assert work["forward"].n_operations == 2 * transform + 8 * 2 * 4 * 9
    assert work["forward"].n_bytes == 2 * 4 * 60 + 8 * 4 * 9
    assert work["forward+backward"].n_operations == 3 * work["forward"].n_operations


def test_networks_with_equal_outputs():
    models = operators((16, 16), (6, 6), 4, 2)
    x = torch.randn(2, 1, 16, 16)
    expected = models["neuralop FNO"](x)
    torch.testing.assert_close(models["Monarch-NO"](x), expected, rtol=1e-4, atol=1e-5)
    rest = models["no spectral layer"]
    assert not torch.allclose(rest(x), expected, atol=1e-3)
    assert not any(p.is_complex() for p in rest.parameters())
    before = [p.detach().clone() for p in rest.parameters()]
    training_step(rest, x, x)()
    assert any(not torch.equal(a, b) for a, b in zip(before, rest.parameters()))


@pytest.mark.parametrize("finest", [2, 8])
def test_the_original_solver_is_of_first_order(finest):
    """Waves up to a third of the 32 points take part in the advection, by the 2/3 rule."""
    t = torch.arange(32, dtype=torch.float64) / 32
    x, y = torch.meshgrid(2 * torch.pi * t, 2 * torch.pi * t, indexing="ij")
    w0 = (torch.sin(x) * torch.cos(finest * y) + torch.cos(x + y))[None]
    truth = solve_navier_stokes(w0, viscosity=1e-2, t_end=0.2, dt=1e-3)[0][:, -1]

    def error(dt):
        w = original_navier_stokes(w0, viscosity=1e-2, t_end=0.2, dt=dt)
        return float((w - truth).norm() / truth.norm())

    coarse, fine = error(4e-3), error(2e-3)
    assert fine < 1e-3
    assert 1.8 < coarse / fine < 2.2


def test_triton_is_a_candidate_on_a_gpu_only(monkeypatch):
    pytest.importorskip("triton", reason="needs the package triton")
    assert with_triton(LAYERS, "cuda") == (*LAYERS, TRITON)
    assert with_triton(LAYERS, "cpu") == LAYERS
    layers = spectral_layers((16,), (6,), 2, ["Monarch", TRITON])
    transforms = full_transforms((130, 4), ["Monarch", TRITON])
    image = torch.randn(1, 130, 4, dtype=torch.complex64)
    with pytest.raises(ValueError, match="'Monarch, Triton' needs a CUDA device, got cpu"):
        transforms[TRITON](image)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    x = torch.randn(1, 2, 16)
    y = layers[TRITON](x)
    assert y.grad_fn.name() == "FusedConvolutionBackward"
    torch.testing.assert_close(y, layers["Monarch"](x))
    torch.testing.assert_close(transforms[TRITON](image), transforms["Monarch"](image))
