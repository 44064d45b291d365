import math
import types

import pytest
import torch
from tolerances import assert_close
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from monarch_sciml.training import Budget, Optimisation, RolloutObjective, train
from monarch_sciml.transforms import FourierTransform, MonarchTransform, SeparableTransform


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.transform = SeparableTransform([MonarchTransform(6, init="dft"), FourierTransform(6)])
        self.again = self.transform


def deviate(model):
    """Move the transform away from its initial value and give every parameter a gradient."""
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        with torch.no_grad():
            p += torch.randn(p.shape, generator=generator, dtype=p.dtype)
        gradient = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        p.grad = gradient if p.requires_grad else None
    return model


def test_groups_split_the_trainable_parameters_once_each():
    model = Network()
    settings = Optimisation(
        learning_rate=0.1, weight_decay=0.2, transform_learning_rate_factor=3, transform_decay=0.4
    )
    weights, transform = settings.parameter_groups(model)
    assert (weights["name"], weights["lr"], weights["weight_decay"]) == ("weights", 0.1, 0.2)
    assert (transform["name"], transform["weight_decay"]) == ("transform", 0.4)
    assert transform["lr"] == pytest.approx(0.3)
    assert {id(p) for p in weights["params"]} == {id(p) for p in model.linear.parameters()}
    assert {id(p) for p in transform["params"]} == {id(p) for p in model.transform.parameters()}


def test_network_without_transform_has_one_group():
    assert [g["name"] for g in Optimisation().parameter_groups(nn.Linear(2, 2))] == ["weights"]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_one_step_is_adam_or_adamw_on_the_weights_and_decoupled_decay_on_the_transform(name):
    model = deviate(Network().double())
    settings = Optimisation(
        optimizer=name,
        learning_rate=0.01,
        weight_decay=0.3,
        transform_learning_rate_factor=2.0,
        transform_decay=10.0,
    )
    weights, transform = settings.parameter_groups(model)
    expected = [p.detach().clone().requires_grad_() for p in weights["params"]]
    for p, q in zip(expected, weights["params"]):
        p.grad = q.grad.clone()
    oracle = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    oracle(expected, lr=0.01, weight_decay=0.3).step()
    # first step of Adam: p - lr sign(gradient), after p += lr * decay * (0 - p)
    pulled = [
        p.detach() * (1 - 0.02 * 10.0) - 0.02 * p.grad / (p.grad.abs() + 1e-8)
        for p in transform["params"]
    ]
    settings.build_optimizer(model).step()
    for p, q in zip(weights["params"] + transform["params"], expected + pulled):
        assert_close(p, q)


def test_decay_alone_moves_the_transform_to_its_initial_matrix():
    model = deviate(Network().double())
    learned = model.transform[0]
    before = [p.detach().clone() for p in model.transform.parameters()]
    for p in model.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    optimizer = Optimisation(learning_rate=0.1, transform_decay=2.0).build_optimizer(model)
    for _ in range(3):
        optimizer.step()
    for p, q in zip(model.transform.parameters(), before):
        torch.testing.assert_close(p.detach(), q * (1 - 0.1 * 2.0) ** 3)
    for _ in range(300):
        optimizer.step()
    torch.testing.assert_close(learned.matrix(), learned.initial_matrix())


@pytest.mark.parametrize("scheduler", ["cosine", "step", "constant"])
def test_schedules_equal_those_of_torch(scheduler):
    model = Network()
    settings = Optimisation(
        learning_rate=0.1,
        scheduler=scheduler,
        step_size=2,
        gamma=0.3,
        transform_learning_rate_factor=0.5,
    )
    optimizer = settings.build_optimizer(model)
    ours = settings.build_scheduler(optimizer, steps_per_epoch=3, epochs=5)
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    theirs = {
        "cosine": lambda: CosineAnnealingLR(other, T_max=15),
        "step": lambda: StepLR(other, step_size=6, gamma=0.3),
        "constant": lambda: StepLR(other, step_size=100),
    }[scheduler]()
    for _ in range(15):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([theirs.get_last_lr()[0], 0.5 * theirs.get_last_lr()[0]])
        for part in (optimizer, other, ours, theirs):
            part.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", "sgd"),
        ("scheduler", "linear"),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("weight_decay", -1.0),
        ("transform_decay", math.inf),
        ("gradient_clip", 0.0),
        ("gamma", -0.5),
        ("step_size", 0),
        ("transform_learning_rate_factor", -1.0),
    ],
)
def test_bad_values_are_named(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        Optimisation(**{field: value})


@pytest.mark.parametrize("field", ["learning_rate", "gamma", "weight_decay", "gradient_clip"])
def test_what_is_no_number_is_named(field):
    with pytest.raises(TypeError, match=f"`{field}` must be a number, got '0.1'"):
        Optimisation(**{field: "0.1"})
    if field != "gradient_clip":
        with pytest.raises(TypeError, match=f"`{field}` must be a number, got None"):
            Optimisation(**{field: None})


def test_only_the_transform_learns():
    model = Network()
    Optimisation().freeze(model)
    assert all(p.requires_grad for p in model.linear.parameters())
    settings = Optimisation(learning_rate=0.1, trained_part="transform")
    settings.freeze(model)
    assert [g["name"] for g in settings.parameter_groups(model)] == ["transform"]
    assert not any(p.requires_grad for p in model.linear.parameters())
    with pytest.raises(ValueError, match="needs a network with a learnable transform, got Linear"):
        settings.freeze(nn.Linear(2, 2))


def test_a_run_that_trains_the_transform_alone_keeps_the_weights(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), MonarchTransform(6, init="dct"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fields = torch.randn(8, 1, 1, 6)  # trajectories, steps, fields, grid
    samples = [{"input": u, "target": 0.5 * u} for u in fields]
    train(
        model,
        RolloutObjective(),
        types.SimpleNamespace(train=samples[:6], validation=samples[6:]),
        optimisation=Optimisation(learning_rate=0.1, trained_part="transform", weight_decay=1.0),
        budget=Budget(epochs=2, batch_size=3),
        output=tmp_path,
        progress=False,
    )
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed and all(name.startswith("1.") for name in changed)
