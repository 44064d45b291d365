import numpy as np
import pytest
import torch
from torch import nn

from monarch_sciml.training import OneStepObjective, RolloutObjective

B, T_IN, T_OUT, C, GRID = 3, 4, 5, 2, (6, 5)


def batch(t_out=T_OUT, c_out=C, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return {
        "input": torch.randn(B, T_IN, C, *GRID, generator=g, dtype=dtype),
        "target": torch.randn(B, t_out, c_out, *GRID, generator=g, dtype=dtype),
    }


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Conv2d(T_IN * C, C, 3, padding=1).double()


def test_rollout_feeds_predictions_back_steps_major(model):
    samples = batch()
    history = [samples["input"][:, t] for t in range(T_IN)]
    for _ in range(T_OUT):
        history.append(model(torch.cat(history[-T_IN:], dim=1)))
    expected = torch.stack(history[T_IN:], dim=1)
    torch.testing.assert_close(RolloutObjective().predict(model, samples), expected)


def test_rollout_predicts_more_steps_than_the_window_holds(model):
    samples = batch(t_out=2 * T_IN + 1)
    assert RolloutObjective().predict(model, samples).shape == samples["target"].shape


def test_loss_is_that_of_the_fno_paper(model):
    """Sum over steps of neuralop's LpLoss, whose sum over the batch we average."""
    from neuralop.losses import LpLoss

    samples = batch()
    prediction = RolloutObjective().predict(model, samples)
    relative = LpLoss(d=3, p=2, reduction="sum")  # norms over fields and grid
    expected = sum(
        relative(prediction[:, t], samples["target"][:, t]).sum() / B for t in range(T_OUT)
    )
    torch.testing.assert_close(RolloutObjective().loss(model, samples), expected)


def test_gradient_runs_through_the_rollout(model):
    samples = batch()
    objective = RolloutObjective()
    objective.loss(model, samples).backward()
    through = model.weight.grad.clone()
    model.zero_grad()
    OneStepObjective().loss(model, samples).backward()
    assert not torch.allclose(through, model.weight.grad)
    # and it is the slope of the loss
    direction = torch.randn_like(model.weight)
    slopes = []
    for sign in (1, -1):
        with torch.no_grad():
            model.weight += sign * 1e-5 * direction
            slopes.append(float(objective.loss(model, samples)))
            model.weight -= sign * 1e-5 * direction
    assert (slopes[0] - slopes[1]) / 2e-5 == pytest.approx(
        float((through * direction).sum()), rel=1e-6
    )


def test_metrics_are_those_of_the_whole_rollout_of_each_sample(model):
    samples = batch()
    model.requires_grad_(False)
    rows = RolloutObjective().evaluate(model, samples)
    prediction = RolloutObjective().predict(model, samples).numpy()
    target = samples["target"].numpy()
    for i in range(B):
        expected = np.linalg.norm(prediction[i] - target[i]) / np.linalg.norm(target[i])
        assert float(rows["relative_l2"][i]) == pytest.approx(expected)
    root = np.sqrt(np.mean((prediction - target) ** 2, axis=(-2, -1)))
    scale = np.sqrt(np.mean(target**2, axis=(-2, -1)))
    np.testing.assert_allclose(rows["nrmse"], (root / scale).mean(axis=(1, 2)))


def test_a_field_at_rest_spoils_only_its_nrmse(model):
    samples = batch()
    samples["target"][1, 2, 0] = 0
    rows = RolloutObjective().evaluate(model, samples)
    assert rows["relative_l2"].isfinite().all()
    assert rows["nrmse"].isfinite().tolist() == [True, False, True]
    samples["target"][1] = 0
    with pytest.raises(ValueError, match="needs a target that is not zero"):
        RolloutObjective().evaluate(model, samples)


def test_one_output_step_may_have_other_fields(model):
    darcy = batch(t_out=1, c_out=3)
    network = nn.Conv2d(T_IN * C, 3, 1).double()
    expected = network(darcy["input"].flatten(1, 2))[:, None]
    for objective in (RolloutObjective(), OneStepObjective()):
        assert torch.equal(objective.predict(network, darcy), expected)
        relative = (expected - darcy["target"]).flatten(1).norm(dim=1)
        relative = relative / darcy["target"].flatten(1).norm(dim=1)
        torch.testing.assert_close(objective.loss(network, darcy), relative.mean())
    for objective in (RolloutObjective(), OneStepObjective()):
        with pytest.raises(ValueError, match="must agree when there is more than one step"):
            objective.loss(network, batch(c_out=3))


def test_wrong_number_of_output_channels_is_named():
    with pytest.raises(ValueError, match=r"network must return \(3, 2, 6, 5\), got \(3, 1, 6, 5\)"):
        RolloutObjective().loss(nn.Conv2d(T_IN * C, 1, 1).double(), batch())


@pytest.mark.parametrize(("k", "t_out"), [(5, 5), (2, 6), (3, 6), (6, 6)])
def test_several_steps_at_once_are_fed_back_as_the_window_moves(k, t_out):
    torch.manual_seed(0)
    network = nn.Conv2d(T_IN * C, k * C, 3, padding=1).double()
    samples = batch(t_out=t_out)
    history = [samples["input"][:, t] for t in range(T_IN)]
    while len(history) < T_IN + t_out:
        out = network(torch.cat(history[-T_IN:], dim=1))
        history += [out[:, C * i : C * (i + 1)] for i in range(k)]  # steps-major
    expected = torch.stack(history[T_IN:], dim=1)
    torch.testing.assert_close(RolloutObjective().predict(network, samples), expected)


def test_steps_that_do_not_fill_the_rollout_are_refused():
    for k, text in [(3, "divide the roll-out of 5 steps, got 3"), (10, "got 10")]:
        network = nn.Conv2d(T_IN * C, k * C, 1).double()
        with pytest.raises(ValueError, match=text):
            RolloutObjective().loss(network, batch())
    with pytest.raises(ValueError, match=r"one step of 2 channels, got 10\. .* RolloutObjective"):
        OneStepObjective().loss(nn.Conv2d(T_IN * C, 5 * C, 1).double(), batch())


@pytest.mark.parametrize("t_out", [1, 2, T_OUT])
def test_one_step_loss_starts_every_step_from_the_true_history(model, t_out):
    samples = batch(t_out=t_out)
    truth = torch.cat([samples["input"], samples["target"]], dim=1)
    expected = torch.zeros((), dtype=torch.float64)
    for t in range(t_out):
        step = model(truth[:, t : t + T_IN].flatten(1, 2))
        goal = truth[:, T_IN + t]
        ratio = (step - goal).flatten(1).norm(dim=1) / goal.flatten(1).norm(dim=1)
        expected = expected + ratio.mean()
    torch.testing.assert_close(OneStepObjective().loss(model, samples), expected)


def test_noise_has_the_size_of_each_field_and_follows_the_seed():
    seen = []

    class Recorder(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, -C:]

    samples = batch()
    samples["input"][:, :, 1] *= 1000
    samples["target"][:, :, 1] *= 1000
    for noise in (0.0, 0.1, 0.1):
        torch.manual_seed(3)
        OneStepObjective(noise=noise).loss(Recorder(), samples)
    clean, noisy, again = (x.unflatten(1, (T_IN, C)) for x in seen)
    assert torch.equal(noisy, again)
    for field in range(C):
        added = (noisy - clean)[:, :, field]
        size = clean[:, :, field].square().mean().sqrt()
        assert float(added.square().mean().sqrt() / size) == pytest.approx(0.1, rel=0.05)
    # evaluation is without noise
    objective = OneStepObjective(noise=0.5)
    assert torch.equal(
        objective.evaluate(Recorder(), samples)["relative_l2"],
        objective.evaluate(Recorder(), samples)["relative_l2"],
    )


@pytest.mark.parametrize("noise", [-0.1, float("nan")])
def test_bad_noise_is_refused(noise):
    with pytest.raises(ValueError, match="`noise` must be zero or positive and finite"):
        OneStepObjective(noise=noise)


def test_settings_name_the_class_and_its_numbers():
    assert OneStepObjective(noise=0.5).settings() == {
        "objective": "OneStepObjective",
        "objective.noise": 0.5,
    }


def test_chosen_metrics_are_reported_after_the_monitored_one(model):
    samples = batch()
    model.requires_grad_(False)
    chosen = RolloutObjective(metrics=("max_error", "boundary_rmse"))
    rows = chosen.evaluate(model, samples)
    assert list(rows) == ["relative_l2", "max_error", "boundary_rmse"]
    gap = (chosen.predict(model, samples) - samples["target"]).abs()
    torch.testing.assert_close(rows["max_error"], gap.flatten(1).amax(1))
    assert list(OneStepObjective(0.1, metrics=("rmse",)).evaluate(model, samples))[1:] == ["rmse"]


def test_unknown_metrics_are_refused_and_known_ones_may_change_in_a_resumed_run():
    for objective in (RolloutObjective, OneStepObjective):
        with pytest.raises(ValueError, match=r"`metrics` must be one of 'relative_l2'.* got 'l2'"):
            objective(metrics=("l2",))
    assert RolloutObjective(metrics=("rmse",)).settings() == RolloutObjective().settings()
