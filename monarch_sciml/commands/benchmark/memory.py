"""The most memory that one call needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from monarch_sciml.commands.benchmark.timing import Call


def peak_memory(call: Call, device: torch.device | str = "cpu") -> int:
    """Return the most bytes of tensors that a call holds at once, beyond what is held before.

    Parameters
    ----------
    call
        Function to run, once.
    device
        "cpu", or a CUDA device.

    Notes
    -----
    On a CPU the sum of torch's own allocations is followed by its profiler: exact and the same
    every time. Releasing what was held before the call does not count against it. Scratch memory
    inside MKL and oneDNN is not part of it.

    Examples
    --------
    >>> x = torch.zeros(1000)
    >>> peak_memory(lambda: torch.sin(torch.cos(x)))  # two tensors of 4000 bytes
    8000
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports every start on stderr
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    results = profiler.profiler.kineto_results if profiler.profiler is not None else None
    roots = [] if results is None else results.experimental_event_tree()
    held: dict[int, int] = {}  # bytes by address; what was held before the call is not in it
    total = peak = 0
    for event in sorted(_allocations(roots), key=lambda event: event.start_time_ns):
        address, n_bytes = event.extra_fields.ptr, event.extra_fields.alloc_size
        total -= held.pop(address, 0)
        if n_bytes > 0:
            held[address] = n_bytes
            total += n_bytes
        peak = max(peak, total)
    return peak


def _allocations(events: Iterable[Any]) -> Iterator[Any]:
    """Yield the allocations and releases in a tree of the profiler's events."""
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from _allocations(event.children)
