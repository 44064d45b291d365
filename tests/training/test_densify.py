"""Sparse-to-dense inside the training loop: no jump, exact resume, checkpoints of either kind."""

import types
from dataclasses import replace

import pytest
import torch
from torch import nn

from monarch_sciml.layers import MonarchLinear
from monarch_sciml.training import (
    Budget,
    Optimisation,
    RolloutObjective,
    load_weights,
    train,
)

BUDGET = Budget(epochs=6, batch_size=4)


class Channels(nn.Module):
    """Two linear maps over 16 points."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = MonarchLinear(16, 32), MonarchLinear(32, 16)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def data():
    fields = torch.randn(16, 1, 1, 16, generator=torch.Generator().manual_seed(1))
    samples = [{"input": u, "target": u.flip(-1)} for u in fields]
    return types.SimpleNamespace(train=samples[:12], validation=samples[12:])


def run(model, output, optimisation, **options):
    return train(
        model,
        RolloutObjective(),
        data(),
        optimisation=optimisation,
        budget=options.pop("budget", BUDGET),
        output=output,
        progress=False,
        **options,
    )


OPTIMISATION = Optimisation(learning_rate=1e-2, densify_at=0.5)


def test_the_switch_changes_nothing_but_the_structure(tmp_path):
    model = Channels()
    result = run(model, tmp_path / "switch", OPTIMISATION)
    assert type(model.first) is type(model.second) is nn.Linear
    kept = Channels()
    plain = run(kept, tmp_path / "kept", Optimisation(learning_rate=1e-2))
    before, after = ([row["train_loss"] for row in r.progress.history] for r in (plain, result))
    assert before[:3] == after[:3]  # the same bits until then
    jump = abs(after[3] - after[2]) / abs(before[3] - before[2])
    assert jump < 3 and after[-1] < after[3]
    rates = [[row["learning_rate_weights"] for row in r.progress.history] for r in (plain, result)]
    assert rates[0] == rates[1]  # the schedule goes on


@pytest.mark.parametrize(("stop", "rates"), [(2, None), (3, "fan_in"), (4, None)])
def test_a_run_resumes_across_the_switch_bit_for_bit(tmp_path, one_thread, stop, rates):
    optimisation = Optimisation(
        learning_rate=1e-2, densify_at=0.5, scheduler="constant", factor_learning_rates=rates
    )
    whole = Channels()
    run(whole, tmp_path / "whole", optimisation)
    # the switch stands at half of the whole budget: stop a run of that budget from inside
    part = Channels()
    with pytest.raises(Stopped):
        train(
            part,
            StopsAfter(stop),
            data(),
            optimisation=optimisation,
            budget=BUDGET,
            output=tmp_path / "part",
            progress=False,
        )
    resumed = Channels()
    result = run(resumed, tmp_path / "part", optimisation, resume=True)
    assert result.progress.epoch == 6
    for (name, a), (other, b) in zip(whole.named_parameters(), resumed.named_parameters()):
        assert name == other and torch.equal(a, b)


class Stopped(Exception):
    pass


class StopsAfter(RolloutObjective):
    """An objective whose loss fails in the epoch after so many."""

    def __init__(self, epochs):
        super().__init__()
        object.__setattr__(self, "left", [3 * epochs])

    def loss(self, model, batch):
        if not self.left[0]:
            raise Stopped
        self.left[0] -= 1
        return super().loss(model, batch)

    def settings(self):
        return RolloutObjective().settings()


def test_checkpoints_of_either_kind_are_loaded(tmp_path):
    model = Channels()
    result = run(model, tmp_path / "run", OPTIMISATION)
    x = torch.randn(3, 1, 16)
    fresh = Channels()
    with pytest.raises(ValueError, match=r"got none \(dense\) in .*, and 2 structured layers in"):
        load_weights(fresh, result.last)
    load_weights(fresh, result.last, adapt=True)
    assert torch.equal(fresh(x), model(x))
    early = run(Channels(), tmp_path / "early", OPTIMISATION, budget=Budget(epochs=2, batch_size=4))
    kept = run(Channels(), tmp_path / "kept", Optimisation())
    with pytest.raises(ValueError, match=r"got 2 structured layers in .*, and none \(dense\) in"):
        load_weights(model, kept.last)
    load_weights(model, kept.last, adapt=True)
    assert isinstance(model.first, MonarchLinear)
    assert early.progress.epoch == 2


GUIDED = Optimisation(learning_rate=1e-2, guided_until=0.5)


@pytest.mark.parametrize("optimisation", [GUIDED, replace(GUIDED, densify_at=0.5)])
def test_guides_hand_over_and_go_and_a_run_resumes_across_that(tmp_path, one_thread, optimisation):
    whole = Channels()
    x = torch.randn(3, 1, 16)
    before = whole(x)
    whole.first.add_guide()
    torch.testing.assert_close(whole(x), before)  # the guide starts as the product
    torch.testing.assert_close(whole.first.to_linear()(x), whole.first(x))
    whole.first.remove_guide()
    result = run(whole, tmp_path / "whole", optimisation)
    names = {name.rpartition(".")[2] for name, _ in whole.named_parameters()}
    dense = optimisation.densify_at is not None
    assert names == ({"weight", "bias"} if dense else {"left", "right", "bias"})
    losses = [row["train_loss"] for row in result.progress.history]
    assert losses[-1] < losses[0]
    part = Channels()
    with pytest.raises(Stopped):
        train(
            part, StopsAfter(2), data(), optimisation=optimisation, budget=BUDGET,
            output=tmp_path / "part", progress=False,
        )  # fmt: skip
    assert part.first.guide is not None and 0 < part.first.guide_share < 1
    loaded = Channels()
    load_weights(loaded, tmp_path / "part" / "checkpoints" / "last", adapt=True)
    assert 0 < loaded.first.guide_share < 1
    resumed = Channels()
    run(resumed, tmp_path / "part", optimisation, resume=True)
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


class WorseEveryEpoch(RolloutObjective):
    """An objective whose validation error grows."""

    epoch = 0

    def evaluate(self, model, batch):
        self.epoch += 1
        return {
            name: 0 * value + self.epoch for name, value in super().evaluate(model, batch).items()
        }


def test_the_best_epoch_is_one_without_guides(tmp_path):
    model = Channels()
    result = train(
        model, WorseEveryEpoch(), data(), optimisation=GUIDED, budget=BUDGET,
        output=tmp_path, progress=False,
    )  # fmt: skip
    assert result.progress.best_epoch == 4  # of six, three with guides
    load_weights(Channels(), result.best)  # not adapted: it holds factors alone


def test_factors_have_their_own_rates():
    groups = Optimisation(factor_learning_rates="fan_in").parameter_groups(Channels())
    rates = {group["name"]: group["lr"] / 1e-3 for group in groups}
    # fan-ins p and k·t: 4 and 4 of 16, 8 and 4 of 32
    assert rates == pytest.approx({"weights": 1, "factors_x4": 4, "factors_x8": 8})
    assert sum(len(group["params"]) for group in groups) == 6


def test_a_dense_network_cannot_be_multiplied_out(tmp_path):
    with pytest.raises(ValueError, match="needs a network with structured linear layers, got Line"):
        run(nn.Linear(16, 16), tmp_path, OPTIMISATION)
    with pytest.raises(ValueError, match="must be a share of the steps between 0 and 1, got"):
        Optimisation(densify_at=1.5)
    with pytest.raises(ValueError, match="`guided_until` must not be after `densify_at`, got 0"):
        Optimisation(densify_at=0.5, guided_until=0.6)


@pytest.mark.parametrize("name", ["densify_at", "guided_until"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_short_training_ends_with_the_structure_asked_for(tmp_path, name, epochs):
    model = Channels()
    budget = Budget(epochs=epochs, batch_size=12)  # one step an epoch: 0.9 of them rounds to all
    run(model, tmp_path, Optimisation(**{name: 0.9}), budget=budget)
    if name == "densify_at":
        assert type(model.first) is nn.Linear
    else:
        assert model.first.guide is None and model.first.guide_share == 0


def test_shares_of_the_training_need_its_length(tmp_path):
    optimisation = replace(OPTIMISATION, scheduler="constant")
    run(Channels(), tmp_path, optimisation)
    with pytest.raises(ValueError, match=r"settings it was started with, got budget\.epochs 12"):
        longer = Budget(epochs=12, batch_size=4)
        run(Channels(), tmp_path, optimisation, budget=longer, resume=True)
