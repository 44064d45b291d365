import numpy as np
import pytest
import torch
from torch import nn

from monarch_sciml.training import OneStepObjective, ReconstructionObjective, RolloutObjective

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


class Shift(nn.Module):
    """A "reconstruction" that is off by a known complex number."""

    def forward(self, masked_kspace, mask, coil_maps):
        return masked_kspace[:, 0] + (3 + 4j)


def scans():
    g = torch.Generator().manual_seed(0)
    images = torch.randn(6, 9, 8, generator=g, dtype=torch.complex64)
    volume = torch.tensor([7, 2, 7, 2, 2, 7])
    peak = {int(v): images[volume == v].abs().max() for v in volume}
    return {
        "masked_kspace": images[:, None],
        "mask": torch.ones(6, 9, 8),
        "coil_maps": torch.ones(6, 1, 9, 8, dtype=torch.complex64),
        "target": images,
        "scale": torch.where(volume == 7, 2.0, 0.5),
        "max": torch.stack([peak[int(v)] for v in volume]),
        "volume": volume,
        "slice": torch.arange(6),
    }


@pytest.mark.parametrize(("criterion", "value"), [("l1", 5.0), ("mse", 25.0)])
def test_reconstruction_loss_is_of_the_complex_image(criterion, value):
    loss = ReconstructionObjective(criterion).loss(Shift(), scans())
    assert float(loss) == pytest.approx(value, rel=1e-5)


def test_ssim_loss_is_scikit_images():
    from skimage.metrics import structural_similarity

    samples = scans()
    expected = [
        1 - structural_similarity(
            t.abs().double().numpy(), (t + 3 + 4j).abs().double().numpy(), data_range=float(peak)
        )
        for t, peak in zip(samples["target"], samples["max"])
    ]  # fmt: skip
    loss = ReconstructionObjective("ssim").loss(Shift(), samples)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_kspace_loss_is_the_error_of_every_coil():
    samples = scans()
    loss = ReconstructionObjective("kspace").loss(Shift(), samples)
    # a constant is one sample of k-space, sqrt(H W) times as large
    assert loss.item() == pytest.approx(5.0 * np.sqrt(9 * 8) / (9 * 8), rel=1e-5)
    maps = torch.randn(6, 3, 9, 8, dtype=torch.complex64)
    samples["coil_maps"] = maps
    error = maps.numpy() * (3 + 4j)
    spectrum = np.fft.fftn(error, axes=(-2, -1), norm="ortho")  # shifts do not change the mean
    loss = ReconstructionObjective("kspace").loss(Shift(), samples)
    assert loss.item() == pytest.approx(np.abs(spectrum).mean(), rel=1e-5)


def test_kspace_loss_is_of_one_map_set():
    samples = scans()
    samples["coil_maps"] = torch.ones(6, 6, 1, 9, 8, dtype=torch.complex64)  # would broadcast
    for objective in (ReconstructionObjective("kspace"), ReconstructionObjective(kspace_weight=1)):
        with pytest.raises(ValueError, match=r"needs one set of coil maps .*, got \(6, 6, 1, 9, 8"):
            objective.loss(Shift(), samples)
    assert ReconstructionObjective("l1").loss(Shift(), samples).isfinite()


def test_reconstruction_losses_add_up():
    samples = scans()
    parts = {
        name: ReconstructionObjective(name).loss(Shift(), samples).item()
        for name in ("l1", "ssim", "kspace")
    }
    both = ReconstructionObjective("l1", ssim_weight=0.5, kspace_weight=2.0)
    expected = parts["l1"] + 0.5 * parts["ssim"] + 2 * parts["kspace"]
    assert both.loss(Shift(), samples).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "mse", "ssim", "kspace"])
def test_reconstruction_losses_have_gradients(criterion):
    class Given(nn.Module):
        def __init__(self, image):
            super().__init__()
            self.image = image

        def forward(self, masked_kspace, mask, coil_maps):
            return self.image

    samples = scans()
    samples = {k: v[:2] for k, v in samples.items()}
    samples = {
        k: v.to(torch.complex128 if v.is_complex() else torch.float64) for k, v in samples.items()
    }
    image = samples["target"] * (1.1 + 0.2j)
    image = image.requires_grad_()
    objective = ReconstructionObjective(criterion)
    assert torch.autograd.gradcheck(
        lambda x: objective.loss(Given(x), samples), (image,), fast_mode=True
    )


def test_a_network_that_returns_nan_has_the_loss_nan():
    class Bad(nn.Module):
        def forward(self, masked_kspace, mask, coil_maps):
            return masked_kspace[:, 0] * torch.nan

    for criterion in ("l1", "ssim"):
        assert ReconstructionObjective(criterion).loss(Bad(), scans()).isnan()


@pytest.mark.parametrize("name", ["ssim_weight", "kspace_weight"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_bad_weights_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be zero or positive"):
        ReconstructionObjective(**{name: value})


def test_reconstruction_metrics_are_scikit_images_of_each_volume_in_the_datas_unit():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    samples = scans()
    objective = ReconstructionObjective()
    rows = objective.evaluate(Shift(), samples)
    assert all(value.shape == (6,) for value in rows.values())
    metrics = objective.reduce(rows)
    assert set(metrics) == {"nmse", "psnr", "ssim"}
    scale = samples["scale"][:, None, None].double().numpy()
    target = samples["target"].abs().double().numpy() * scale
    prediction = (samples["target"] + 3 + 4j).abs().double().numpy() * scale
    for unit, number in enumerate((2, 7)):
        inside = (samples["volume"] == number).numpy()
        t, p = target[inside], prediction[inside]
        peak = t.max()
        assert float(metrics["nmse"][unit]) == pytest.approx(((t - p) ** 2).sum() / (t**2).sum())
        psnr = peak_signal_noise_ratio(t, p, data_range=peak)
        assert float(metrics["psnr"][unit]) == pytest.approx(psnr)
        ssim = np.mean([structural_similarity(a, b, data_range=peak) for a, b in zip(t, p)])
        assert float(metrics["ssim"][unit]) == pytest.approx(ssim, abs=1e-6)


def test_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="`criterion` must be one of 'l1', 'mse', 'ssim'"):
        ReconstructionObjective("l3")


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
