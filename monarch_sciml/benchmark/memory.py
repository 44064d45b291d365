"""The most memory that one call needs."""

from __future__ import annotations

import os

import torch
from torch.profiler import ProfilerActivity, profile

from monarch_sciml.benchmark.timing import Call


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
    every time. Scratch memory inside MKL and oneDNN is not part of it.

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
    events = [] if results is None else [e for e in results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
        peak = max(peak, held)
    return peak
