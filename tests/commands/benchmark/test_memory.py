"""Peak memory of calls whose allocations are known, and the machine's limits."""

import itertools
import time

import pytest
import torch

from monarch_sciml.commands.benchmark import Machine, measure_machine, peak_memory


def test_counts_what_is_held_at_once():
    x = torch.zeros(1 << 16)

    def chain():
        y = x
        for _ in range(5):
            y = torch.sin(y)  # two tensors at a time, the first being x

    def kept():
        return [torch.sin(x) for _ in range(5)]

    assert peak_memory(chain) == 2 * 4 * x.numel()
    assert peak_memory(kept) == 5 * 4 * x.numel()
    assert peak_memory(lambda: None) == 0


def test_counts_the_backward_pass():
    x = torch.zeros(1 << 16, requires_grad=True)

    def call():
        x.grad = None
        torch.exp(x).sum().backward()

    assert 2 * 4 * x.numel() <= peak_memory(call) <= 3 * 4 * x.numel() + 4096


@pytest.mark.parametrize("profiled", [False, True])
def test_what_was_held_before_does_not_count(profiled):
    x = torch.zeros(1 << 16)
    held = []

    def allocate():
        held.append(torch.ones(1 << 16))

    if profiled:
        peak_memory(allocate)  # the profiler then knows the size of what is released below
    else:
        allocate()

    def call():
        held.clear()
        return torch.sin(x)

    assert peak_memory(call) == 4 * x.numel()


def test_machine(monkeypatch):
    ticks = itertools.count()  # every call takes one second: rates are bytes and operations
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    machine = measure_machine(repeats=2, size=1 << 20)
    numbers = machine.as_dict()
    assert set(numbers) == {"copy", "cached_copy", "gemm", "gemm_fast"}
    assert numbers["copy"] == 8 * 2**20
    assert numbers["cached_copy"] == 8 * 2**16
    assert numbers["gemm"] == numbers["gemm_fast"] == 2 * 1024**3


@pytest.mark.parametrize(("n_bytes", "n_operations", "expected"), [(10, 1, 5), (10, 400, 20)])
def test_roofline(n_bytes, n_operations, expected):
    assert Machine(2.0, 4.0, 10.0, 20.0).seconds(n_bytes, n_operations) == expected
