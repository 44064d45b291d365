"""`monarch-sciml benchmark`: folders it writes, figures, tables, mistakes."""

import csv
import json

import pytest
import torch

from monarch_sciml._checks import UsageError
from monarch_sciml.cli import main
from monarch_sciml.commands.benchmark import command as benchmark
from monarch_sciml.commands.benchmark import results as benchmark_results
from monarch_sciml.commands.benchmark.figures import fitted_exponent
from monarch_sciml.commands.benchmark.layers import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:.*factor.*:UserWarning")
QUICK = {"rounds": 1, "max_seconds": 0.0}


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    """Measure the machine's limits in no time."""
    measure = benchmark_results.measure_machine
    monkeypatch.setattr(
        benchmark_results, "measure_machine", lambda: measure(repeats=1, size=1 << 16)
    )


def rows_of(folder):
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_layer_from_the_command_line(tmp_path, capsys):
    output = tmp_path / "layer"
    before = torch.get_num_threads()
    arguments = ["--sizes=[8,16]", "--modes=[4,6]", "--channels=[2]", "--batch=[1]", "--rounds=1"]
    assert main(["benchmark", "layer", f"--output={output}", *arguments, "--threads=1"]) == 0
    text = capsys.readouterr().out
    assert "times faster" in text and "this machine: copy" in text
    assert torch.get_num_threads() == before
    rows = rows_of(output)
    assert len(rows) == 2 * len(LAYERS) * (2 + 2)  # passes x candidates x (sizes + modes)
    assert {row["scan"] for row in rows} == {"grid", "modes"}
    assert all(float(row["seconds"]) > 0 and row["threads"] == "1" for row in rows)
    assert json.loads((output / "environment.json").read_text())["packages"]["torch"]
    assert set(json.loads((output / "machine.json").read_text())) >= {"copy", "gemm"}
    for figure in ("scaling-grid.png", "scaling-modes.png", "roofline.png"):
        assert (output / figure).stat().st_size > 5000


def test_results_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "results.csv").write_text("precious")
    assert main(["benchmark", "generate", f"--output={tmp_path}"]) == 1
    assert "`output` must not hold results yet" in capsys.readouterr().err
    assert (tmp_path / "results.csv").read_text() == "precious"


def test_transform_and_model(tmp_path):
    text = benchmark.benchmark_transform(tmp_path / "t", sizes=[8, 12], coils=2, **QUICK)
    assert "two-bmm Monarch" in text
    assert (tmp_path / "t" / "scaling-size.png").exists()
    text = benchmark.benchmark_model(
        tmp_path / "m", sizes=[8], modes=4, channels=4, batch=[1, 2], n_layers=1, **QUICK
    )
    assert {row["batch"] for row in rows_of(tmp_path / "m")} == {"1", "2"}
    assert "no spectral layer" in text


def test_mri_generate_and_load(tmp_path):
    text = benchmark.benchmark_mri(tmp_path / "i", matrices=[(12, 8)], coils=2, **QUICK)
    assert "mSENSE" in text and "data consistency, 2-D mask" in text
    benchmark.benchmark_generate(tmp_path / "g", sizes=[16], batch=1, t_end=0.01, **QUICK)
    ours = next(row for row in rows_of(tmp_path / "g") if "NavierStokes2d" in row["candidate"])
    assert float(ours["error"]) < 1e-4 and float(ours["trajectories_per_minute"]) > 0
    benchmark.benchmark_load(tmp_path / "l", sizes=[8], modes=4, channels=2, batch=2, **QUICK)
    names = {row["candidate"] for row in rows_of(tmp_path / "l")}
    assert names == {"training step", "loader, in memory", "loader, from file"}


def test_no_device_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="no CUDA device"):
        benchmark.benchmark_model(tmp_path, device="cuda")


def test_exponent_of_too_few_sizes():
    assert fitted_exponent([4], [1.0]) != fitted_exponent([4], [1.0])  # NaN


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("layer", {"modes": []}, "`modes` must name at least one"),
        ("layer", {"sizes": []}, "`sizes` must name at least one"),
        ("model", {"sizes": []}, "`sizes` must name at least one"),
        ("linear", {"vectors": [0]}, "`vectors` must be at least 1"),
    ],
)
def test_lists_without_an_entry(tmp_path, name, options, match):
    with pytest.raises(UsageError, match=match):
        getattr(benchmark, f"benchmark_{name}")(output=tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_before_the_measurement(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="files must be writable in the folder"):
        benchmark.benchmark_transform(output=tmp_path / "a", sizes=[8])
