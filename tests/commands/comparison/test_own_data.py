"""One's own arrays trained: precision, fields that are given alone, fewer modes than trained."""

import numpy as np
import pytest
import torch
import yaml
from tolerances import assert_close

from monarch_sciml import models
from monarch_sciml.cli import main
from monarch_sciml.commands.comparison.evaluate import evaluate_run
from monarch_sciml.commands.comparison.loaded_run import load_run
from monarch_sciml.commands.comparison.saved import saved_spec
from monarch_sciml.commands.comparison.trained_run import build_network
from monarch_sciml.data import PairModule, TrajectoryModule, pack
from monarch_sciml.metrics import fourier_rmse
from monarch_sciml.metrics.spectrum import band_sizes
from monarch_sciml.training import OneStepObjective, RolloutObjective

N, T, X = 8, 6, 16
SMALL = {"n_modes": [8], "hidden_channels": 4, "n_layers": 1}
NETWORKS = {
    "FNO": (models.FNO, SMALL),
    "Monarch-NO": (models.FNO, {**SMALL, "transform": "monarch"}),
    "FNO, cosine": (models.FNO, {**SMALL, "transform": "cosine"}),
    "TFNO": (models.FNO, {**SMALL, "factorization": "tucker", "rank": 0.5}),
    "corrected": (models.FNO, {**SMALL, "transform": "corrected"}),
    "F-FNO": (models.FactorizedFNO, {**SMALL, "transform": "monarch"}),
    "space-time": (models.SpaceTimeFNO, {**SMALL, "n_modes": [8, 2], "n_steps_out": 2}),
    "U-Net": (models.UNet, {"hidden_channels": 4}),
    "TF-Net": (models.TFNet, {"hidden_channels": 4}),
    "ResNet": (models.ResNet, {"hidden_channels": 4}),
}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Trajectories beside a force and a number of each sample."""
    arrays = {"u": noise(N, T, X), "force": noise(N, X, seed=1), "nu": noise(N, seed=2)}
    return pack(arrays, tmp_path_factory.mktemp("own") / "set.h5", axes="sample,time,x", dt=0.1)


def trajectories(path, **options):
    sizes = {"n_train": 4, "n_validation": 2, "n_test": 2, "n_steps_in": 4, "n_steps_out": 2}
    return TrajectoryModule(path, **{**sizes, **options})


def batch_of(data):
    return {name: torch.stack([data.train[0][name], data.train[1][name]]) for name in data.train[0]}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_trained_in_double_precision(packed, name):
    kind, options = NETWORKS[name]
    data = trajectories(packed, dtype="float64")

    def network(grid, **sizes):
        return kind(grid, **sizes, **options)

    model = build_network(network, data, seed=0)
    kinds = {p.dtype for p in model.parameters()}
    assert kinds <= {torch.float64, torch.complex128}
    objective, batch = RolloutObjective(), batch_of(data)
    prediction = objective.predict(model, batch)
    assert prediction.dtype == torch.float64
    assert (
        float((prediction - prediction.float()).detach().abs().max()) > 0
    )  # no step in single precision
    objective.loss(model, batch).backward()
    assert all(p.grad is None or p.grad.dtype == p.dtype for p in model.parameters())
    assert torch.get_default_dtype() == torch.float32


class Echo(torch.nn.Module):
    """Keep what was seen; return the last frame."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x[:, 3:4]


def test_every_step_sees_what_is_given_alone(packed):
    data = trajectories(packed, input_only=["nu", "force"])
    assert data.spec.network_arguments == {"grid_shape": (X,), "in_channels": 6, "out_channels": 1}
    batch, network = batch_of(data), Echo()
    RolloutObjective().predict(network, batch)
    assert len(network.seen) == 2
    for seen in network.seen:
        assert torch.equal(seen[:, 4:], batch["input_only"])
    network = Echo()
    OneStepObjective(noise=0.5).loss(network, batch)
    (seen,) = network.seen
    assert torch.equal(seen[:, 4:], batch["input_only"].repeat_interleave(2, dim=0))  # no noise
    with pytest.raises(ValueError, match=r"a sample of .* needs fields, got none of"):
        trajectories(packed, input_only=["u"])
    with pytest.raises(ValueError, match="must not be among `fields`, got 'u'"):
        trajectories(packed, fields=["u"], input_only=["u"])
    with pytest.raises(ValueError, match="must not be among `fields`, got 'nu'"):
        trajectories(packed, fields=["u", "nu"], input_only=["nu"])


DT = 0.5


@pytest.fixture(scope="module")
def forced(tmp_path_factory):
    """u' = f(t, x) by the trapezoidal rule, beside f and a number of each sample."""
    x = 2 * np.pi * np.arange(X) / X
    waves = np.stack([np.cos(x), np.sin(x), np.cos(2 * x)])
    force = noise(N, T, 3) @ waves
    steps = 0.5 * DT * (force[:, 1:] + force[:, :-1])
    u = np.cumsum(np.concatenate([noise(N, 1, 3, seed=1) @ waves, steps], axis=1), axis=1)
    arrays = {"u": u, "force": force, "nu": noise(N, seed=2)}
    path = tmp_path_factory.mktemp("forced") / "set.h5"
    return pack(arrays, path, axes="sample,time,x", dt=DT)


class Trapezoid(torch.nn.Module):
    """Channels: two frames of u, nu, the force at the last frame and at the next one."""

    def forward(self, x):
        assert x.shape[1] == 5
        return x[:, 1:2] + 0.5 * DT * (x[:, 3:4] + x[:, 4:5])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"windows": True, "window_steps": 2}, {"start": 1}, {"split": "time", "n_train": 3,
     "n_test": 3, "n_validation": 0, "n_steps_out": 1}],
)  # fmt: skip
def test_a_step_sees_a_force_at_its_own_time(forced, options, in_memory):
    sizes = {"n_steps_in": 2, "n_steps_out": 3, "dtype": "float64", "in_memory": in_memory}
    data = trajectories(forced, input_only=["force", "nu"], **(sizes | options))
    spec = data.spec
    assert (spec.fields, spec.input_only, spec.forcing) == (("u",), ("nu",), ("force",))
    assert spec.network_arguments["in_channels"] == 5
    for part in (data.train, data.test):
        sample = part[len(part) - 1]
        assert sample["forcing"].shape == (len(sample["target"]) + 1, 1, X)
        batch = {name: torch.stack([part[0][name], value]) for name, value in sample.items()}
        prediction = RolloutObjective().predict(Trapezoid(), batch)
        assert_close(prediction, batch["target"])
        assert_close(OneStepObjective().loss(Trapezoid(), batch), 0.0, scale=1.0)
    other = trajectories(forced, input_only=["nu"], **(sizes | options), fields=["u"])
    assert other.train.fingerprint() != data.train.fingerprint()


def test_several_steps_at_once_cannot_see_a_force_that_varies(forced):
    data = trajectories(forced, input_only=["force"], n_steps_in=2)

    def two_steps(x):
        return x[:, :2]

    with pytest.raises(ValueError, match=r"one step at a time where `input_only` .* got 2 steps"):
        RolloutObjective().predict(two_steps, batch_of(data))


def test_training_with_a_force_that_varies(forced, monkeypatch):
    monkeypatch.chdir(forced.parent)
    sizes = {"n_train": 5, "n_validation": 1, "n_test": 2, "n_steps_in": 1, "n_steps_out": 4}
    errors = {}
    for name, known in (("with", ["force"]), ("without", None)):
        options = {"input_only": known, "normalization": "unit_gaussian", "fields": ["u"]}
        configuration = {
            "data": {
                "class_path": "monarch_sciml.data.TrajectoryModule",
                "init_args": {"path": "set.h5", **sizes, **options},
            },
            "network": {"class_path": "monarch_sciml.models.FNO",
                        "init_args": {**SMALL, "transform": "monarch"}},
            "objective": {"class_path": "monarch_sciml.training.OneStepObjective"},
            "optimisation": {"learning_rate": 0.02},
            "budget": {"epochs": 60, "batch_size": 5},
            "options": {"progress": False},
            "output": name,
        }  # fmt: skip
        (forced.parent / f"{name}.yaml").write_text(yaml.safe_dump(configuration))
        monkeypatch.setattr(
            "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
        )
        assert main(["train", "--config", f"{name}.yaml"]) == 0
        again = evaluate_run(forced.parent / name, progress=False).splitlines()[2]
        errors[name] = float(again.split()[1])
    assert saved_spec(forced.parent / "with").forcing == ("force",)
    assert errors["with"] < 0.5 * errors["without"]
    with pytest.raises(ValueError, match=r"must have the forcing of the training data"):
        evaluate_run(forced.parent / "with", data={"input_only": []}, progress=False)


@pytest.fixture(scope="module")
def run(packed):
    """A run in double precision between normalised fields, made by the command."""
    folder = packed.parent
    sizes = {"n_train": 4, "n_validation": 2, "n_test": 2, "n_steps_in": 2, "n_steps_out": 2}
    options = {"dtype": "float64", "input_only": ["force"], "normalization": "unit_gaussian"}
    configuration = {
        "data": {
            "class_path": "monarch_sciml.data.TrajectoryModule",
            "init_args": {"path": str(packed), **sizes, **options},
        },
        "network": {
            "class_path": "monarch_sciml.models.FNO",
            "init_args": {**SMALL, "transform": "monarch"},
        },
        "objective": {"class_path": "monarch_sciml.training.RolloutObjective"},
        "budget": {"epochs": 1, "batch_size": 4},
        "options": {"progress": False},
        "output": str(folder / "run"),
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(configuration))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {})
        assert main(["train", "--config", str(folder / "train.yaml")]) == 0
    return folder / "run"


def test_a_run_keeps_its_precision_and_its_inputs(run):
    spec = saved_spec(run)
    assert (spec.dtype, spec.input_only) == ("float64", ("force",))
    model = load_run(run).model
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}
    assert "relative_l2" in evaluate_run(run, progress=False)


def test_a_grid_with_fewer_points_than_modes(run):
    with pytest.raises(
        ValueError, match=r"points as the network has modes, \(8,\), got \(4,\)"
    ) as e:
        evaluate_run(run, data={"subsample": 4}, progress=False)
    remedy = str(e.value).partition("--n_modes ")[2].split(",")[0]
    modes = [int(n) for n in remedy.strip('"[]').split(",")]
    text = evaluate_run(run, data={"subsample": 4}, n_modes=modes, progress=False)
    assert "grid: 4, trained on 16" in text


def test_modes_that_cannot_be_lowered(run, monkeypatch):
    model = torch.nn.Linear(2, 2)
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.evaluate.load_model", lambda *_, **__: model
    )
    with pytest.raises(ValueError, match="whose modes cannot be lowered, got Linear"):
        evaluate_run(run, n_modes=[4], progress=False)


@pytest.mark.parametrize("shape", [(X, 1), (1, X), (1, 8, X), (1, 1), (1,)])
def test_an_axis_of_one_point_has_no_wavenumbers(shape):
    several = tuple(n for n in shape if n > 1) or (1,)
    error = torch.from_numpy(noise(3, 2, 1, *shape))
    bands = fourier_rmse(error, 0 * error)
    right = fourier_rmse(error.view(3, 2, 1, *several), 0 * error.view(3, 2, 1, *several))
    assert torch.equal(bands.isnan(), right.isnan())
    assert torch.equal(bands.nan_to_num(), right.nan_to_num())
    assert band_sizes(shape) == band_sizes(several)


def test_pairs_of_complex_arrays_map_all_parts(tmp_path):
    x = noise(N, X) + 1j * noise(N, X, seed=1)
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(x)}, tmp_path / "a.pt")
    data = PairModule(tmp_path / "a.pt", n_train=4, n_test=2)
    assert (data.input_fields, data.target_fields) == (("x.real", "x.imag"), ("y.real", "y.imag"))
