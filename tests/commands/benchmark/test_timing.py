"""Paired rounds, their summary, and the calls that are timed."""

import gc
import time

import pytest
import torch

from monarch_sciml.commands.benchmark import Effort, Work, compare_calls, compare_modules
from monarch_sciml.commands.benchmark.timing import (
    Timing,
    forward_backward_call,
    forward_call,
    paired_rounds,
    quartiles,
    summary,
)


def test_every_round_calls_each_candidate_once_in_changing_order():
    calls = []
    candidates = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = paired_rounds(candidates, rounds=20, warmup=2)
    assert list(times) == ["a", "b", "c"]
    assert all(len(timing.wall) == len(timing.cpu) == 20 for timing in times.values())
    counted = calls[6:]
    rounds = [tuple(counted[i : i + 3]) for i in range(0, 60, 3)]
    assert all(set(one) == set("abc") for one in rounds)
    assert len(set(rounds)) > 3
    assert gc.isenabled()


def test_the_time_limit_leaves_three_rounds():
    times = paired_rounds({"a": lambda: time.sleep(0.01)}, rounds=50, max_seconds=0.0)
    assert len(times["a"].wall) == 3


def test_wall_and_processor_time_are_told_apart(monkeypatch):
    clock = {"wall": 0.0, "cpu": 0.0}  # a clock of our own: a busy machine changes nothing
    monkeypatch.setattr(time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["cpu"])

    def wait():
        clock["wall"] += 0.5
        clock["cpu"] += 0.125

    times = paired_rounds({"wait": wait}, rounds=3)["wait"]
    assert set(times.wall) == {0.5}
    assert set(times.cpu) == {0.125}


def test_ratios_are_taken_within_rounds():
    # both twice as slow in the second round: the ratio must not notice
    times = {
        "base": Timing((1.0, 2.0, 1.0), (1.0, 2.0, 1.0)),
        "fast": Timing((0.25, 0.5, 0.25), (0.5, 1.0, 0.5)),
    }
    rows = summary(times, "base")
    assert rows["fast"]["ratio"] == rows["fast"]["ratio_q1"] == rows["fast"]["ratio_q3"] == 4.0
    assert rows["fast"]["cpu_ratio"] == 2.0
    assert rows["base"]["ratio"] == 1.0
    assert rows["base"]["seconds"] == 1.0 and rows["base"]["rounds"] == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 3.0, 3.0)), ([1.0, 2.0, 3.0], (1.5, 2.0, 2.5)), ([4.0, 0.0], (1.0, 2.0, 3.0))],
)
def test_quartiles(values, expected):
    assert quartiles(values) == expected


def test_calls_of_a_module():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3)
    forward_call(layer, x)()
    assert layer.weight.grad is None
    call = forward_backward_call(layer, x)
    call()
    first = layer.weight.grad.clone()
    call()  # gradients do not add up
    torch.testing.assert_close(layer.weight.grad, first)
    assert x.grad is None


def test_rows_of_a_comparison():
    modules = {
        "one": torch.nn.Linear(64, 64),
        "two": torch.nn.Sequential(*[torch.nn.Linear(64, 64)] * 2),
    }
    x = torch.randn(128, 64)
    work = {"forward": Work(1e3, 2e3), "forward+backward": Work(3e3, 6e3)}
    rows = compare_modules(
        modules, [x], baseline="one", case={"grid": 8}, effort=Effort(rounds=3), work=work
    )
    assert [(row["pass"], row["candidate"]) for row in rows] == [
        ("forward", "one"), ("forward", "two"),
        ("forward+backward", "one"), ("forward+backward", "two"),
    ]  # fmt: skip
    assert all(row["grid"] == 8 and row["baseline"] == "one" for row in rows)
    assert rows[0]["peak_bytes"] == 4 * 128 * 64 and rows[0]["peak_ratio"] == 1.0
    assert rows[1]["peak_bytes"] == 2 * 4 * 128 * 64
    assert rows[2]["work_operations"] == 6e3
    assert rows[0]["threads"] == torch.get_num_threads()
    plain = compare_calls(
        {"a": lambda: None}, baseline="a", case={}, effort=Effort(rounds=2, memory=False)
    )
    assert "peak_bytes" not in plain[0] and "work_bytes" not in plain[0]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="something to time, got no candidates"):
        paired_rounds({})
    with pytest.raises(ValueError, match="`baseline` must be one of the candidates, got 'x'"):
        summary({"a": Timing((1.0,), (1.0,))}, "x")
