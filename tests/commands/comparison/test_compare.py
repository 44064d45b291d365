"""`compare_networks` on fields of any kind, shared among processes, with runs that fail."""

import csv
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from monarch_sciml._checks import UsageError
from monarch_sciml.commands.comparison.compare import _checked_seeds, compare_networks
from monarch_sciml.commands.comparison.field_figures import field_figures
from monarch_sciml.commands.comparison.outputs import write_report_files
from monarch_sciml.commands.comparison.trained_run import Contender, LoopOptions, TrainedRun
from monarch_sciml.data.spec import DataModule, FieldSpec, ScanSpec
from monarch_sciml.training import Budget, Optimisation, Progress, RolloutObjective, RunBusy
from monarch_sciml.training.lock import run_lock

QUIET = LoopOptions(progress=False)
AGAIN = LoopOptions(progress=False, resume=True)


class Fields(DataModule):
    """Waves that decay, on any grid; the same function of space on every one."""

    def __init__(self, grid=(12,), n_out=3, walls=True, complex_=False, **changes):
        n_dims = len(grid)
        sizes = {
            "fields": ("u",),
            "grid_shape": grid,
            "n_steps_in": 2,
            "n_steps_out": n_out,
            "n_fields_in": 1,
            "n_fields_out": 1,
            "domain_extent": (1.0,) * n_dims,
            "boundary": (("neumann" if walls else "periodic"),) * n_dims,
            "dt": 0.5 if n_out > 1 else None,
        }
        self.n_test = changes.pop("n_test", 3)
        self._spec = FieldSpec(**{**sizes, **changes})
        axes = [(torch.arange(n) + 0.5) / n for n in grid]
        x = sum(torch.meshgrid(*axes, indexing="ij"))
        times = torch.arange(2 + n_out).reshape(-1, 1, *[1] * n_dims)
        waves = [torch.cos(math.pi * k * x) + 0.1 for k in (1, 2, 3, 4)]
        self.waves = [wave * 0.8**times for wave in waves]  # (T, 1, *grid)
        if complex_:
            self.waves = [wave * (1 + 0.5j) for wave in self.waves]

    spec = property(lambda self: self._spec)
    train = property(lambda self: self._samples(4))
    validation = property(lambda self: self._samples(2))
    test = property(lambda self: self._samples(self.n_test))

    def _samples(self, count):
        return [{"input": u[:2], "target": u[2:]} for u in self.waves[:count]]


class Linear(nn.Module):
    """Mix the channels at every point; works on any grid."""

    def __init__(self, grid_shape, in_channels, out_channels, *, size=1.0, broken=False):
        super().__init__()
        del grid_shape
        self.weight = nn.Parameter(size * torch.randn(out_channels, in_channels))
        self.broken = broken

    def forward(self, x):
        mixed = torch.einsum("oc,bc...->bo...", self.weight.to(x.dtype), x)
        return mixed * math.nan if self.broken and not self.training else mixed


def contender(rate=0.01, **options):
    def factory(grid_shape, **sizes):
        return Linear(grid_shape, **sizes, **options)

    return Contender(network=factory, optimisation=Optimisation(learning_rate=rate))


@pytest.fixture
def undrawn(monkeypatch):
    """Draw nothing: figures take most of the time of a tiny comparison."""
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    monkeypatch.setattr("monarch_sciml.commands.comparison.outputs.cost_figure", lambda *_: None)
    monkeypatch.setattr("monarch_sciml.commands.comparison.outputs.metrics_figure", lambda *_: None)
    monkeypatch.setattr("monarch_sciml.commands.comparison.outputs.environment", dict)
    monkeypatch.setattr("monarch_sciml.commands.comparison.trained_run.environment", dict)


@pytest.fixture
def unrendered(monkeypatch):
    """Make every figure, but no picture of it: other tests render them."""

    def touched(_, path, *, overwrite):
        path.parent.mkdir(exist_ok=overwrite)
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
        return path

    monkeypatch.setattr("monarch_sciml.commands.comparison.outputs.save", touched)


NETWORKS = {"FNO": contender(), "Monarch-NO": contender(size=0.1)}


def compare(output, data=None, networks=NETWORKS, **more):
    options = {"seeds": [0], "options": QUIET, **more}
    objective = options.pop("objective", RolloutObjective())
    budget = options.pop("budget", Budget(epochs=2, batch_size=2))
    return compare_networks(data or Fields(), networks, objective, budget, output, **options)


def rows_of(output, file="results.csv"):
    with (output / file).open(newline="") as stream:
        return list(csv.DictReader(stream))


def figures_of(output):
    return {path.stem for path in (output / "figures").iterdir()}


ERRORS = {"metrics", "cost", "training", "spectrum", "fourier-bands"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Fields((16,)), {"rollout", "error-over-time", "boundary"}),
        (Fields((10, 13), walls=False), {"rollout", "error-over-time"}),
        (Fields((8, 6, 7)), {"rollout", "error-over-time", "boundary"}),
        (Fields((16,), n_out=1), {"samples", "boundary"}),
        (Fields((9, 12), n_out=1), {"samples", "boundary"}),
        (Fields((6, 8, 7), n_out=1), {"samples", "boundary"}),
        (Fields((12, 8), walls=False, complex_=True), {"rollout", "error-over-time"}),
    ],
    ids=["1-D", "2-D", "3-D", "1-D pairs", "2-D pairs", "3-D pairs", "complex"],
)
@pytest.mark.usefixtures("unrendered")
def test_every_kind_of_fields_has_its_figures(data, expected, tmp_path):
    networks = NETWORKS
    if data.test[0]["target"].is_complex():
        networks = dict(list(NETWORKS.items())[:1])
    text = compare(tmp_path / "out", data, networks)
    cost = set() if len(networks) < 2 else {"cost"}
    assert figures_of(tmp_path / "out") == expected | (ERRORS - {"cost"}) | cost
    assert "report: " in text
    assert 0 < float(rows_of(tmp_path / "out")[0]["relative_l2"]) < 2


@pytest.mark.parametrize(
    ("dt", "times", "unit"), [(0.5, [0.5, 1.0, 1.5], "dimensionless"), (None, [1, 2, 3], "frames")]
)
def test_time_counts_from_the_last_frame_given(dt, times, unit):
    run = TrainedRun("FNO", 0, nn.Identity(), Progress(), {})
    figures = field_figures(
        [run], Fields(dt=dt), lambda _, batch: 1.1 * batch["target"], batch_size=2
    )
    axes = figures["error-over-time"].axes[0]
    assert axes.lines[0].get_xdata().tolist() == pytest.approx(times)
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.1] * 3)
    assert axes.get_xlabel() == f"time since the last frame given ({unit})"


@pytest.mark.parametrize(("n_out", "name"), [(3, "rollout"), (1, "samples")])
def test_x_is_drawn_to_the_right_and_y_upwards(n_out, name):
    data = Fields((4, 6), n_out=n_out)
    x, y = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    data.waves = [(10 * x + y).expand(2 + n_out, 1, 4, 6)]
    run = TrainedRun("FNO", 0, nn.Identity(), Progress(), {})
    figures = field_figures([run], data, lambda _, batch: 1.1 * batch["target"], batch_size=1)
    (shown, *_) = [axes.images[0] for axes in figures[name].axes if axes.images]
    image = shown.get_array()
    assert shown.origin == "upper" and image.shape == (6, 4)
    assert image[-1].tolist() == [0, 10, 20, 30] and image[:, 0].tolist() == [5, 4, 3, 2, 1, 0]


def test_names_may_be_numbers(undrawn, tmp_path):
    compare_networks(
        Fields(),
        {1: contender()},
        RolloutObjective(),
        Budget(epochs=1, batch_size=4),
        tmp_path / "out",
        seeds=[0],
        evaluate_on={24: Fields((24,))},
        options=QUIET,
    )
    assert "relative_l2 on 24" in (tmp_path / "out" / "table.md").read_text()


def test_chosen_metrics_are_columns_of_table_and_results(undrawn, tmp_path):
    objective = RolloutObjective(metrics=("vrmse", "boundary_rmse", "fourier_rmse"))
    text = compare(tmp_path, objective=objective, seeds=[0, 1])
    columns = ["relative_l2", "vrmse", "boundary_rmse", "fourier_rmse_low", "fourier_rmse_middle"]
    assert list(rows_of(tmp_path)[0])[2:7] == columns  # 12 points have no high band
    assert all(f"{column} ↓" in text for column in columns)


@pytest.mark.usefixtures("unrendered")
def test_other_resolutions_are_measured_without_training(tmp_path):
    finer = {"24": Fields((24,)), "48": Fields((48,))}
    text = compare(tmp_path, evaluate_on=finer, seeds=[0, 1])
    rows = rows_of(tmp_path)
    for row in rows:
        values = [float(row[f"relative_l2{on}"]) for on in ("", " on 24", " on 48")]
        assert values == pytest.approx([values[0]] * 3, rel=0.02)
        assert "nrmse on 48" in row
    assert "On other data without retraining (trained on 12):" in text
    assert text.count("relative_l2 on 48 ↓") == 1
    assert "relative_l2 on 24" in (tmp_path / "table.md").read_text()
    assert "On other data" in (tmp_path / "report.html").read_text()
    assert "transfer" in figures_of(tmp_path)


def test_every_test_sample_is_kept_also_when_finished_runs_are_collected_again(undrawn, tmp_path):
    finer = {"24": Fields((24,), n_test=2)}
    compare(tmp_path, evaluate_on=finer, seeds=[0, 1])
    before, table = (tmp_path / "samples.csv").read_text(), (tmp_path / "table.md").read_text()
    (tmp_path / "samples.csv").unlink()
    compare(tmp_path, evaluate_on=finer, seeds=[0], only="FNO", options=AGAIN)
    assert (tmp_path / "samples.csv").read_text() == before
    rows = rows_of(tmp_path, "samples.csv")
    assert len(rows) == 2 * 2 * (3 + 2)
    assert list(rows[0])[:4] == ["network", "seed", "evaluated_on", "sample"]
    for run in rows_of(tmp_path):
        for on, column in (("", "relative_l2"), ("24", "relative_l2 on 24")):
            values = [
                float(row["relative_l2"])
                for row in rows
                if (row["network"], row["seed"], row["evaluated_on"])
                == (run["network"], run["seed"], on)
            ]
            assert sum(values) / len(values) == pytest.approx(float(run[column]), rel=1e-6)
    assert "Over test samples:\n\n| network" in table
    assert "Over test samples" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("unrendered")
def test_the_report_of_one_run_speaks_of_one(tmp_path):
    run = TrainedRun(
        "FNO", 0, Linear((12,), 2, 1), Progress(), {"relative_l2": torch.tensor([0.5, 1.0])}
    )
    write_report_files(
        [run], Fields(), RolloutObjective(), Budget(epochs=1, batch_size=1), tmp_path,
        baseline="", title="", configuration="", command="monarch-sciml train",
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text()
    assert "monarch-sciml train" in page and "monarch-sciml compare" not in page
    assert "means over 2 test units. Data:" in page
    assert "for every network" not in page and "Every network saw" not in page


def test_volumes_are_named_by_their_files(undrawn, tmp_path):
    spec = ScanSpec((12, 12), 4, 2.0)
    paths = [f"scans/{name}.h5" for name in "abc"]
    parts = SimpleNamespace(spec=spec, test=SimpleNamespace(paths=paths))
    runs = [
        TrainedRun(
            "U-Net", 0, nn.Identity(), Progress(), {"psnr": torch.tensor([30.0, 31.0, 35.0])}
        ),
        TrainedRun("VarNet", 0, nn.Identity(), Progress(), {}, failure="diverged"),
    ]
    write_report_files(
        runs, parts, RolloutObjective(), Budget(epochs=1, batch_size=1), tmp_path,
        baseline="U-Net", title="", configuration="",
    )  # fmt: skip
    rows = rows_of(tmp_path, "samples.csv")
    assert [row["volume"] for row in rows] == ["a.h5", "b.h5", "c.h5"]
    assert "32.0 ± 1.5" in (tmp_path / "table.md").read_text().split("Over test volumes")[1]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Fields((24,), fields=("v",)), r"set fine must have the fields of .*'u'.* got \('v',\)"),
        (Fields((24,), walls=False), "the boundary of the training data"),
        (Fields((24,), n_steps_in=3), "the n_steps_in of the training data, 2, got 3"),
        (Fields((24, 24)), "number of grid axes of the training data, 1, got 2"),
        (Fields((24,), domain_extent=(2.0,)), "the domain_extent of"),
        (Fields((24,), dt=0.1), "the dt of the training data, 0.5, got 0.1"),
        (Fields((24,), n_test=0), "evaluation set fine: a data set must have samples, got 0"),
    ],
)
def test_data_of_another_problem_are_refused_before_training(other, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        compare(tmp_path / "out", evaluate_on={"fine": other})
    assert not (tmp_path / "out").exists()


def test_unknown_boundaries_and_longer_rollouts_are_no_obstacle(undrawn, tmp_path):
    longer = Fields((24,), n_out=5, boundary=("unknown",), dt=None)
    compare(tmp_path, evaluate_on={"longer": longer})
    assert float(rows_of(tmp_path)[0]["relative_l2 on longer"]) > 0


def test_an_empty_test_set_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="a data set must have samples, got 0"):
        compare(tmp_path / "out", Fields(n_test=0))
    assert not (tmp_path / "out").exists()


def test_a_training_that_diverges_does_not_stop_the_others(undrawn, tmp_path):
    networks = {"wild": contender(rate=1e30), "tame": contender(), "broken": contender(broken=True)}
    text = compare(tmp_path, networks=networks, seeds=[0, 1], baseline="wild")
    wild = [line for line in text.splitlines() if line.startswith("wild")]
    assert "failed (2 of 2)" in wild[0] and "2" in wild[0].split()
    assert any(
        "wild, seed 1 diverged: the " in line and "must stay finite" in line for line in wild
    )
    assert (
        next(x for x in text.splitlines() if x.startswith("broken")).count("failed (2 of 2)") == 2
    )
    assert "Training budget: 2 epochs each" in text
    rows = {(row["network"], row["seed"]): row for row in rows_of(tmp_path)}
    assert rows["wild", "0"]["relative_l2"] == "nan" and rows["wild", "0"]["epochs"] == "nan"
    assert float(rows["tame", "1"]["relative_l2"]) < 2
    for file in ("table.md", "report.html"):
        assert "seed 0 diverged" in (tmp_path / file).read_text()
    assert (tmp_path / "wild/seed-0/config.yaml").is_file()
    # resumed, it diverges again and is said again
    again = compare(tmp_path, networks=networks, seeds=[0, 1], baseline="wild", options=AGAIN)
    assert again.count("diverged: ") == 2


@pytest.mark.usefixtures("unrendered")
def test_when_all_diverge_there_is_a_table_all_the_same(tmp_path):
    text = compare(tmp_path, networks={"wild": contender(rate=1e30)})
    assert "relative_l2 ↓" in text and "failed" in text


def test_shards_are_put_together_by_the_last_call(undrawn, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    compare(whole, seeds=[0, 1, 10])
    text = compare(parts, only="FNO", seeds=[1])
    assert [row["network"] for row in rows_of(parts)] == ["FNO"] and "vs FNO" in text
    text = compare(parts, only=["Monarch-NO"], seeds=[0, 10], options=AGAIN)
    names = [("FNO", "1"), ("Monarch-NO", "0"), ("Monarch-NO", "10")]
    assert [(row["network"], row["seed"]) for row in rows_of(parts)] == names
    compare(parts, seeds=[0, 1, 10], options=AGAIN)
    ours, theirs = rows_of(parts), rows_of(whole)
    for row in (*ours, *theirs):
        row["seconds"] = row["seconds_per_epoch"] = ""
    assert ours == theirs


def test_unfinished_runs_and_runs_with_other_settings_are_left_out_and_named(undrawn, tmp_path):
    compare(tmp_path, only="FNO", seeds=[1])
    networks = {**NETWORKS, "FNO": contender(rate=0.5)}
    text = compare(tmp_path, networks=networks, only="Monarch-NO", options=AGAIN)
    assert "FNO, seed 1 is not in the table: a run must be resumed with the settings" in text
    budget = Budget(epochs=3, batch_size=2)
    text = compare(tmp_path, only="Monarch-NO", seeds=[2], options=AGAIN, budget=budget)
    assert "FNO, seed 1 is not in the table: it is not finished." in text
    assert "baseline" not in text and "vs FNO" not in text
    assert [row["network"] for row in rows_of(tmp_path)] == ["Monarch-NO"]


def test_a_run_that_another_process_trains_is_left_to_it(undrawn, elsewhere, monkeypatch, tmp_path):
    monkeypatch.setitem(run_lock.__wrapped__.__kwdefaults__, "patience", 0.0)
    process = elsewhere(tmp_path / "FNO" / "seed-0")
    text = compare(tmp_path, seeds=[0])
    assert "FNO, seed 0 is not in the table: another process is training it." in text
    assert [row["network"] for row in rows_of(tmp_path)] == ["Monarch-NO"]
    with pytest.raises(RunBusy, match="FNO, seed 0 is not in the table"):
        compare(tmp_path, networks={"FNO": contender()}, options=AGAIN)
    process.kill()
    process.wait()
    compare(tmp_path, options=AGAIN)
    assert [row["network"] for row in rows_of(tmp_path)] == ["FNO", "Monarch-NO"]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("GNO", "`only` must be one of 'FNO', 'Monarch-NO', got 'GNO'"),
        ("FNO,", "`only` must be one of 'FNO', 'Monarch-NO', got ''"),
        ([], "`only` must name networks of the comparison, got none"),
    ],
)
def test_unknown_networks_are_refused(only, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        compare(tmp_path / "out", only=only)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_that_no_comparison_has(seeds):
    with pytest.raises(UsageError, match="`seeds` must"):
        _checked_seeds(seeds)
