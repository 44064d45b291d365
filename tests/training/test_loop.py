import csv
import math
import signal
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from monarch_sciml.training import (
    Budget,
    Objective,
    Optimisation,
    ReconstructionObjective,
    RolloutObjective,
    TrainingDiverged,
    evaluate_model,
    load_state,
    load_weights,
)
from monarch_sciml.training.evaluate import mean_metrics

CONSTANT = Optimisation(learning_rate=1e-2, scheduler="constant")


class Nothing(Objective):
    """A loss given by a function of the network and a step counter; a scripted metric."""

    monitor = "score"

    def __init__(self, loss=None, scores=(), mode="min"):
        self._loss, self._scores, self._n, self.mode = loss, list(scores), 0, mode
        self.seen = []

    def loss(self, model, batch):
        self._n += 1
        value = sum(p.abs().square().sum() for p in model.parameters())
        return value if self._loss is None else self._loss(value, self._n)

    def predict(self, model, batch):
        return batch["target"]

    def evaluate(self, model, batch):
        score = self._scores.pop(0) if self._scores else 0.0
        self.seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"score": torch.full((len(batch["input"]),), score)}


def same_tensors(a, b):
    """Whether two nested states are equal bit for bit (NaN equals NaN)."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_tensors(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_tensors, a, b))
    return a == b or (a != a and b != b)


def end_state(folder):
    """Everything a run leaves behind that does not depend on the clock."""
    state = load_state(folder / "checkpoints" / "last")
    state["progress"].pop("seconds")
    for row in state["progress"]["history"]:
        row.pop("seconds")
    with (folder / "metrics.csv").open() as file:
        state["csv"] = [{**row, "seconds": 0} for row in csv.DictReader(file)]
    for name in ("last", "best"):
        state[name] = load_file(folder / "checkpoints" / name / "model.safetensors")
    return state


def test_killed_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tiny, program, tmp_path):
    tiny.run(tmp_path / "whole")
    killed = program("train", tmp_path / "killed", 27)  # in the 3rd epoch of 10 samples each
    assert killed.returncode == -signal.SIGKILL, killed.errors
    assert load_state(tmp_path / "killed" / "checkpoints" / "last")["progress"]["epoch"] == 2
    with pytest.raises(FileExistsError, match="must not hold a run yet"):
        tiny.run(tmp_path / "killed")
    result = tiny.run(tmp_path / "killed", resume=True, model=tiny.Network(seed=5))
    assert (result.progress.epoch, result.progress.step) == (4, 12)
    whole, resumed = end_state(tmp_path / "whole"), end_state(tmp_path / "killed")
    assert same_tensors(whole, resumed)
    assert [row["epoch"] for row in resumed["csv"]] == ["1", "2", "3", "4"]
    # and the comparison can fail: another seed ends elsewhere
    tiny.run(tmp_path / "other", seed=1)
    assert not same_tensors(whole["last"], end_state(tmp_path / "other")["last"])


def test_more_epochs_continue_a_run_whose_schedule_does_not_depend_on_them(tiny, tmp_path):
    tiny.run(tmp_path / "whole", epochs=3, optimisation=CONSTANT)
    tiny.run(tmp_path / "longer", epochs=1, optimisation=CONSTANT)
    tiny.run(tmp_path / "longer", epochs=3, optimisation=CONSTANT, resume=True)
    assert same_tensors(end_state(tmp_path / "whole"), end_state(tmp_path / "longer"))


def test_finished_run_returns_at_once_with_its_weights(tiny, tmp_path):
    trained = tiny.Network()
    first = tiny.run(tmp_path, epochs=1, model=trained)
    model = tiny.Network(seed=3)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    again = tiny.run(tmp_path, epochs=1, model=model, resume=True)
    assert not calls
    assert again.progress == first.progress
    assert same_tensors(dict(model.state_dict()), dict(trained.state_dict()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seed": 3}, r"seed 3 \(was 0\)"),
        ({"epochs": 2}, r"budget.epochs 2 \(was 1\)"),
        ({"budget": Budget(epochs=1, batch_size=5)}, r"budget.batch_size 5 \(was 4\)"),
        ({"optimisation": CONSTANT}, r"optimisation.scheduler constant \(was cosine\)"),
        ({"objective": RolloutObjective()}, r"objective RolloutObjective \(was OneStepObjective\)"),
        ({"mixed_precision": "bf16"}, r"mixed_precision bf16 \(was no\)"),
    ],
)
def test_resume_under_other_settings_is_refused(tiny, tmp_path, change, problem):
    tiny.run(tmp_path, epochs=1)
    before = end_state(tmp_path)
    with pytest.raises(ValueError, match=problem) as error:
        tiny.run(tmp_path, **{"epochs": 1, "resume": True, **change})
    assert "\n" not in str(error.value)
    assert same_tensors(before, end_state(tmp_path))


def test_resume_with_another_network_is_refused(tiny, tmp_path):
    tiny.run(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="weights must fit the network"):
        tiny.run(tmp_path, epochs=1, resume=True, model=nn.Conv2d(2, 1, 1))


def test_run_directory_may_exist_but_not_hold_a_run_or_be_a_file(tiny, tmp_path):
    (tmp_path / "config.yaml").write_text("kept")
    tiny.run(tmp_path, epochs=1, resume=True)  # nothing to resume from: starts
    assert (tmp_path / "config.yaml").read_text() == "kept"
    with pytest.raises(FileExistsError, match="must not hold a run yet"):
        tiny.run(tmp_path, epochs=1)
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        tiny.run(tmp_path / "config.yaml", epochs=1)


def fail(*_):
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("loss", "error"),
    [(fail, RuntimeError), (lambda loss, n: loss * math.nan, TrainingDiverged)],
    ids=["raises", "NaN"],
)
def test_a_run_that_fails_in_its_first_epoch_can_just_be_repeated(tiny, tmp_path, loss, error):
    for _ in range(2):  # the same failure again, not "exists"
        with pytest.raises(error):
            tiny.run(tmp_path / "run", objective=Nothing(loss))
    (tmp_path / "run" / "mine.txt").write_text("kept")
    settings = {"epochs": 1, "optimisation": CONSTANT}
    tiny.run(tmp_path / "run", **settings)
    tiny.run(tmp_path / "other", **settings)
    assert same_tensors(end_state(tmp_path / "run"), end_state(tmp_path / "other"))
    assert (tmp_path / "run" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("gone", ["metrics.csv", "checkpoints/last", "checkpoints/best"])
def test_what_an_epoch_has_left_behind_is_never_written_over(tiny, tmp_path, gone):
    tiny.run(tmp_path, epochs=1)
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="must not hold a run yet"):
        tiny.run(tmp_path, epochs=1)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_loss_stops_with_its_step_and_keeps_the_last_good_checkpoint(tiny, tmp_path, value):
    objective = Nothing(lambda loss, n: loss * (value if n == 5 else 1.0))
    pattern = rf"{value} at step 5 in epoch 2\. .*learning_rate.*after epoch 1 is kept"
    with pytest.raises(TrainingDiverged, match=pattern) as error:
        tiny.run(tmp_path, objective=objective)
    assert "\n" not in str(error.value)
    state = end_state(tmp_path)
    assert state["progress"]["epoch"] == len(state["csv"]) == 1
    assert all(w.isfinite().all() for w in state["last"].values())


def test_bad_gradient_of_the_last_step_is_not_saved(tiny, tmp_path):
    # sqrt has the value 0 and an infinite slope at 0: the loss looks fine
    objective = Nothing(lambda loss, n: loss + (((loss - loss).sqrt()) if n == 6 else 0.0))
    with pytest.raises(TrainingDiverged, match=r"weights must stay finite.*step 6 in epoch 2"):
        tiny.run(tmp_path, objective=objective)
    assert end_state(tmp_path)["progress"]["epoch"] == 1


def test_network_with_nothing_to_train_returns_at_once(tiny, tmp_path):
    model = nn.Conv2d(2, 1, 1).requires_grad_(False)
    before = model.weight.clone()
    result = tiny.run(tmp_path, model=model)
    assert result.progress.epoch == 0
    assert torch.equal(model.weight, before)
    load_weights(nn.Conv2d(2, 1, 1), result.best)
    assert not result.metrics.exists()


@pytest.mark.parametrize(
    ("mode", "scores", "best"),
    [
        ("min", [3.0, 1.0, 2.0, 1.0], 2),
        ("max", [1.0, 3.0, 2.0, 3.0], 2),
        ("min", [math.nan, math.inf, 5.0, math.nan], 3),
        ("max", [math.nan, math.nan, math.nan, math.nan], 1),
        ("min", [4.0, 3.0, 2.0, 1.0], 4),
    ],
)
def test_best_checkpoint_is_that_of_the_best_metric(tiny, tmp_path, mode, scores, best):
    objective = Nothing(scores=scores, mode=mode)
    samples = tiny.data(n_validation=4)  # one batch: one score an epoch
    result = tiny.run(tmp_path, objective=objective, samples=samples)
    assert result.progress.best_epoch == best
    assert same_tensors(result.progress.best_value, scores[best - 1])
    assert same_tensors(load_file(result.best / "model.safetensors"), objective.seen[best - 1])
    assert not same_tensors(objective.seen[best - 1], objective.seen[best % 4])


def test_without_validation_data_the_best_is_the_last(tiny, tmp_path):
    samples = SimpleNamespace(train=tiny.Fields(4), validation=None)
    result = tiny.run(tmp_path, epochs=2, samples=samples)
    state = end_state(tmp_path)
    assert same_tensors(state["best"], state["last"])
    assert result.progress.best_epoch == 2
    assert math.isnan(result.progress.best_value)


def test_metrics_csv_holds_every_epoch_and_the_validation_that_was_due(tiny, tmp_path):
    model = tiny.Network()
    budget = Budget(epochs=5, batch_size=4, evaluate_every=2)
    result = tiny.run(tmp_path, model=model, budget=budget)
    with result.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["epoch", "step", "seconds", "train_loss"]
    assert [row["validation_nrmse"] != "" for row in rows] == [False, True, False, True, True]
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12, 15]
    assert float(rows[0]["learning_rate_transform"]) == 1e-2
    assert float(rows[4]["train_loss"]) < float(rows[0]["train_loss"])
    assert 0 < float(rows[0]["seconds"]) < float(rows[4]["seconds"])
    metrics = evaluate_model(model, RolloutObjective(), tiny.data().validation, batch_size=2)
    expected = mean_metrics(metrics)["relative_l2"]
    assert float(rows[4]["validation_relative_l2"]) == pytest.approx(expected, rel=1e-6)


def test_train_loss_is_the_mean_over_samples(tiny, tmp_path):
    class Sizes(Nothing):
        def loss(self, model, batch):
            return 0.0 * super().loss(model, batch) + len(batch["input"])

    result = tiny.run(tmp_path, epochs=1, objective=Sizes())  # batches of 4, 4 and 2
    assert result.progress.history[0]["train_loss"] == pytest.approx((16 + 16 + 4) / 10)


def test_gradient_is_clipped_over_all_parameters(tiny, tmp_path):
    norms = []

    def record(optimizer, *_):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.stack([g.abs().square().sum() for g in gradients]).sum().sqrt()))

    hook = register_optimizer_step_pre_hook(record)
    try:
        for clip in (None, 0.5, 1e9):
            settings = Optimisation(gradient_clip=clip)
            objective = Nothing(lambda loss, n: 100 * loss)
            tiny.run(tmp_path / str(clip), epochs=1, optimisation=settings, objective=objective)
    finally:
        hook.remove()
    free, clipped, loose = norms[:3], norms[3:6], norms[6:]
    assert min(free) > 10
    assert clipped == pytest.approx([0.5] * 3, rel=1e-4)
    assert loose == free


def test_epochs_shuffle_differently_and_visit_every_sample_once(tiny, tmp_path):
    class Recording(tiny.Fields):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    orders = []
    for seed in (0, 0, 1):
        seen = []
        samples = SimpleNamespace(train=Recording(6), validation=None)
        tiny.run(tmp_path / str(len(orders)), epochs=2, seed=seed, samples=samples)
        orders.append((seen[:6], seen[6:]))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1]
    assert sorted(orders[0][0]) == sorted(orders[0][1]) == list(range(6))


def test_workers_do_not_change_the_result(tiny, tmp_path):
    tiny.run(tmp_path / "0", epochs=1, num_workers=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork and threads, Python 3.12
        tiny.run(tmp_path / "1", epochs=1, num_workers=1)
    assert same_tensors(end_state(tmp_path / "0"), end_state(tmp_path / "1"))


def test_tensorboard_curves_are_written_on_request(tiny, tmp_path):
    tiny.run(tmp_path / "with", epochs=2, tensorboard=True)
    tiny.run(tmp_path / "without", epochs=1)
    assert list((tmp_path / "with" / "tensorboard").glob("events.*"))
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_progress_bar_shows_loss_and_epoch(tiny, tmp_path, capsys):
    tiny.run(tmp_path / "shown", epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "loss=" in shown
    assert "6/6" in shown
    tiny.run(tmp_path / "hidden", epochs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_mixed_precision_runs_and_leaves_the_network_in_full_precision(tiny, tmp_path):
    class Network(nn.Conv2d):
        def forward(self, x):
            kinds.add(torch.is_autocast_enabled("cpu"))
            return super().forward(x)

    for precision, autocast in (("bf16", True), ("no", False)):
        kinds, model = set(), Network(2, 1, 1)
        tiny.run(tmp_path / precision, epochs=1, model=model, mixed_precision=precision)
        assert kinds == {autocast}
        kinds.clear()
        assert model(torch.randn(1, 2, 4, 4)).dtype == torch.float32
        assert kinds == {False}


def test_float64_stays_float64(tiny, tmp_path):
    samples = SimpleNamespace(
        train=tiny.Fields(4, dtype=torch.float64), validation=tiny.Fields(2, dtype=torch.float64)
    )
    model = nn.Conv2d(2, 1, 1).double()
    tiny.run(tmp_path, epochs=1, model=model, samples=samples)
    assert end_state(tmp_path)["last"]["weight"].dtype == torch.float64


def test_empty_data_and_bad_budgets_are_refused(tiny, tmp_path):
    empty = SimpleNamespace(train=tiny.Fields(0), validation=None)
    with pytest.raises(ValueError, match="must have samples"):
        tiny.run(tmp_path, samples=empty)
    for field in ("epochs", "batch_size", "evaluate_every"):
        with pytest.raises(ValueError, match=f"`{field}` must be at least 1"):
            Budget(**{"epochs": 1, "batch_size": 1, field: 0})


def test_neuralop_fno_trains(tiny, tmp_path):
    from neuralop.models import FNO

    torch.manual_seed(0)
    model = FNO(n_modes=(4, 4), hidden_channels=8, in_channels=2, out_channels=1, n_layers=1)
    result = tiny.run(tmp_path, epochs=15, model=model, objective=RolloutObjective())
    history = result.progress.history
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    load_weights(model, result.best)


class Scans(torch.utils.data.Dataset):
    """Two volumes of three slices; every second phase-encoding line is missing."""

    def __init__(self, n_coils=2, size=8):
        generator = torch.Generator().manual_seed(0)
        self.maps = torch.randn(n_coils, size, size, generator=generator, dtype=torch.complex64)
        self.maps /= self.maps.abs().square().sum(0).sqrt()
        self.images = torch.randn(6, size, size, generator=generator, dtype=torch.complex64)
        self.mask = torch.zeros(size, size)
        self.mask[:, ::2] = 1

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        kspace = torch.fft.fft2(self.maps * self.images[index], norm="ortho") * self.mask
        return {
            "masked_kspace": kspace,
            "mask": self.mask,
            "coil_maps": self.maps,
            "target": self.images[index],
            "scale": torch.tensor(1.0 + index // 3),
            "max": self.images.abs().max(),
            "volume": torch.tensor(index // 3),
            "slice": torch.tensor(index % 3),
        }


class Reconstruction(nn.Module):
    """A learned weight of each k-space sample before the adjoint."""

    def __init__(self, size=8):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, size, dtype=torch.complex64))

    def forward(self, masked_kspace, mask, coil_maps):
        images = torch.fft.ifft2(self.weight * mask[:, None] * masked_kspace, norm="ortho")
        return (coil_maps.conj() * images).sum(1)


@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_mri_network_trains_in_the_same_loop(tiny, tmp_path, criterion):
    samples = SimpleNamespace(train=Scans(), validation=Scans())
    model = Reconstruction()
    objective = ReconstructionObjective(criterion)
    first = mean_metrics(evaluate_model(model, objective, Scans(), batch_size=4))
    result = tiny.run(
        tmp_path,
        epochs=10,
        model=model,
        samples=samples,
        objective=objective,
        optimisation=Optimisation(learning_rate=0.05),
    )
    last = result.progress.history[-1]
    assert {"validation_nmse", "validation_psnr", "validation_ssim"} < last.keys()
    assert last["validation_nmse"] < 0.9 * first["nmse"]
