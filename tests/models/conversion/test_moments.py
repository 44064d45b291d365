"""The state of an optimiser goes with the weights, in either direction."""

import pytest
import torch
from torch import nn

from monarch_sciml.layers import BlockDiagonalLinear, KroneckerLinear, MonarchLinear
from monarch_sciml.models import densify, monarchize
from monarch_sciml.models.conversion.moments import dense_moments, factor_moments


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


LAYERS = [
    lambda: MonarchLinear(24, 32, rank=2, dtype=torch.float64),
    lambda: MonarchLinear(22, 31, rank=2, order="contiguous", dtype=torch.float64),
    lambda: BlockDiagonalLinear(24, 32, n_blocks=2, dtype=torch.float64),
    lambda: KroneckerLinear(24, 32, rank=3, dtype=torch.float64),
]


@pytest.mark.parametrize("make", LAYERS)
def test_gradients_of_the_factors_follow_from_that_of_the_matrix(make):
    layer = make()
    dense = layer.to_linear()
    x = torch.randn(50, layer.in_features, dtype=torch.float64)
    for module in (layer, dense):
        (module(x) - 0.3).square().mean().backward()
    mapped = factor_moments(layer, dense.weight.grad, squares=False)
    for name, factor in layer.factors().items():
        torch.testing.assert_close(mapped[name], factor.grad)


@pytest.mark.parametrize("make", [LAYERS[0], LAYERS[2]])  # padding crops slices
def test_a_gradient_in_the_tangent_space_comes_back(make):
    layer = make()
    # the matrix is linear in every factor: its derivative along a direction of all of them
    tangent = sum(
        torch.func.functional_call(Matrix(layer), {f"layer.{name}": torch.randn_like(factor)})
        for name, factor in layer.factors().items()
    )
    back = dense_moments(layer, factor_moments(layer, tangent, squares=False), squares=False)
    torch.testing.assert_close(back, tangent)


class Matrix(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.dense_weight()


@pytest.mark.parametrize("make", LAYERS[:3])
def test_equal_second_moments_come_back_equal(make):
    layer = make()
    dense = torch.full((layer.out_features, layer.in_features), 0.7, dtype=torch.float64)
    mapped = factor_moments(layer, dense, squares=True)
    assert all(bool((value >= 0).all()) for value in mapped.values())
    if layer.in_features % 4 == 0:  # padding crops slices
        torch.testing.assert_close(dense_moments(layer, mapped, squares=True), dense)


def trained(model, optimizer, steps=5):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(64, 16, generator=generator)
    losses = []
    for _ in range(steps):
        loss = (model(x) - x.flip(-1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, 1e-2),
        lambda p: torch.optim.SGD(p, 1e-1, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, 1e-3),
    ],
)
def test_training_goes_on_through_both_conversions(make):
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16))
    optimizer = make(model.parameters())
    losses = trained(model, optimizer, 20)
    monarch = monarchize(model, linear=True, inplace=True, optimizer=optimizer)
    assert monarch is model and isinstance(model[0], MonarchLinear)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert set(optimizer.state) == set(held)
    for p in held:  # the moments have the shapes of the factors
        moments = [v for v in optimizer.state[p].values() if torch.is_tensor(v) and v.ndim]
        assert moments and all(m.shape == p.shape and m.isfinite().all() for m in moments)
    losses = trained(model, optimizer, 20)
    x = torch.randn(5, 16)
    before = model(x).detach()
    densify(model, inplace=True, optimizer=optimizer)
    torch.testing.assert_close(model(x).detach(), before)
    assert {id(p) for p in optimizer.state} == {id(p) for p in model.parameters()}
    again = trained(model, optimizer, 20)
    assert again[0] <= losses[-1] and again[-1] < again[0]


def test_what_cannot_be_carried_is_named():
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trained(model, optimizer)
    monarchize(model, linear=True, structure="kronecker", inplace=True, optimizer=optimizer)
    trained(model, optimizer)
    with pytest.warns(UserWarning, match="starts afresh, got 0, 1"):
        densify(model, inplace=True, optimizer=optimizer)
    assert not optimizer.state[model[0].weight] and optimizer.state[model[0].bias]
    trained(model, optimizer)


@pytest.mark.parametrize("kind", ["Adafactor", "Adadelta", "Rprop", "Adamax"])
def test_a_state_that_is_no_moment_starts_afresh_in_both_directions(kind):
    model = nn.Sequential(nn.Linear(16, 16))
    optimizer = getattr(torch.optim, kind)(model.parameters())
    trained(model, optimizer, 2)
    for convert in (lambda *a, **k: monarchize(*a, linear=True, **k), densify):
        with pytest.warns(UserWarning, match="starts afresh, got 0"):
            convert(model, inplace=True, optimizer=optimizer)
        trained(model, optimizer, 2)
