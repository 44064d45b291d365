"""`benchmark linear`: structured layers against nn.Linear."""

import csv

import pytest
import torch

from monarch_sciml.cli import main
from monarch_sciml.commands.benchmark import results as benchmark_results
from monarch_sciml.commands.benchmark.command import benchmark_linear
from monarch_sciml.commands.benchmark.linear import LINEAR, linear_layers, linear_work


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    """Measure the machine's limits in no time."""
    measure = benchmark_results.measure_machine
    monkeypatch.setattr(
        benchmark_results, "measure_machine", lambda: measure(repeats=1, size=1 << 16)
    )


def test_a_row_for_every_layer_and_pass(tmp_path, capsys):
    arguments = ["--widths=[64]", "--vectors=[4]", "--rounds=1", f"--output={tmp_path / 'out'}"]
    assert main(["benchmark", "linear", *arguments]) == 0
    assert "| width " in capsys.readouterr().out
    with (tmp_path / "out" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ["nn.Linear", *LINEAR]
    assert [(row["pass"], row["candidate"]) for row in rows] == [
        (kind, name) for kind in ("forward", "forward+backward") for name in names
    ]
    held = {row["candidate"]: int(row["n_parameters"]) for row in rows}
    assert held["nn.Linear"] == 64 * 64 and all(held[name] <= 64 * 32 for name in LINEAR)
    assert (tmp_path / "out" / "roofline.png").exists()


def test_layers_are_within_the_share():
    layers = linear_layers(128, 8, 0.25, ["Monarch", "low rank"])
    assert layers["Monarch"].n_blocks == (8, 8) and layers["low rank"].n_blocks == (1, 1)
    assert all(layers[name].n_weights <= 128 * 32 for name in ("Monarch", "low rank"))


def test_the_work_of_a_dense_layer():
    work = linear_work(10, 3, 100, 4)
    assert work["forward"].n_operations == 2 * 3 * 10 * 10
    assert work["forward"].n_bytes == 4 * (3 * 10 + 3 * 10 + 10 * 10)


@pytest.mark.filterwarnings("ignore")
def test_torch_structured_is_a_candidate(tmp_path):
    pytest.importorskip("torch_structured", reason="needs torch-structured (the dev extra)")
    layer = linear_layers(64, 4, 0.5, ["torch-structured"])["torch-structured"]
    assert sum(p.numel() for p in layer.parameters()) == 64 * 64 // 2
    assert layer(torch.randn(3, 64)).shape == (3, 64)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"candidates": ["monarch"]}, "`candidates` must be one of 'Monarch', 'Monarch, cont"),
        ({"widths": [8]}, "must leave Monarch a layer within 0.5 of the parameters, got 8"),
    ],
)
def test_what_cannot_be_measured_is_said(tmp_path, options, text):
    with pytest.raises(ValueError, match=text):
        benchmark_linear(tmp_path / "out", **options)
    assert not (tmp_path / "out" / "results.csv").exists()
