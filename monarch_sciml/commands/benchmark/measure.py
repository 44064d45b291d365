"""One comparison: candidates timed against a baseline, with memory and the roofline's share.

A row is a plain dict, the columns of `timing.summary` with the case and the candidate before and
memory and work behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from monarch_sciml.commands.benchmark.memory import peak_memory
from monarch_sciml.commands.benchmark.timing import (
    Call,
    forward_backward_call,
    forward_call,
    paired_rounds,
    summary,
)

Pass = Literal["forward", "forward+backward"]
PASSES: tuple[Pass, ...] = ("forward", "forward+backward")
MeasuredRow = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Bound the time of a measurement.

    Attributes
    ----------
    rounds
        Paired rounds of every comparison.
    max_seconds
        Seconds after which no further round of a comparison starts (after at least three).
    memory
        Whether to measure peak memory too.
    """

    rounds: int = 15
    max_seconds: float = 20.0
    memory: bool = True


@dataclass(frozen=True)
class Work:
    """The least work of a computation: bytes between memory and processor, and operations."""

    n_bytes: float
    n_operations: float


def compare_modules(
    modules: Mapping[str, nn.Module],
    inputs: Sequence[Tensor],
    *,
    baseline: str,
    case: Mapping[str, Any],
    effort: Effort,
    work: Mapping[Pass, Work] | None = None,
    passes: Sequence[Pass] = PASSES,
) -> list[MeasuredRow]:
    """Time modules on the same inputs, forward without gradients and forward with backward."""
    make = {"forward": forward_call, "forward+backward": forward_backward_call}
    rows = []
    for kind in passes:
        calls = {name: make[kind](module, *inputs) for name, module in modules.items()}
        rows += compare_calls(
            calls,
            baseline=baseline,
            case={**case, "pass": kind},
            effort=effort,
            work=None if work is None else work[kind],
            device=inputs[0].device,
        )
    return rows


def compare_calls(
    calls: Mapping[str, Call],
    *,
    baseline: str,
    case: Mapping[str, Any],
    effort: Effort,
    work: Work | None = None,
    device: torch.device | str = "cpu",
) -> list[MeasuredRow]:
    """Time functions against a baseline; return one row for each."""
    times = paired_rounds(calls, rounds=effort.rounds, max_seconds=effort.max_seconds)
    peaks = (
        {name: peak_memory(call, device) for name, call in calls.items()} if effort.memory else {}
    )
    rows = []
    for name, numbers in summary(times, baseline).items():
        row = {**case, "candidate": name, "baseline": baseline, **numbers}
        row["threads"] = torch.get_num_threads()
        if peaks:
            row["peak_bytes"] = peaks[name]
            row["peak_ratio"] = peaks[name] / max(peaks[baseline], 1)
        if work is not None:
            row["work_bytes"], row["work_operations"] = work.n_bytes, work.n_operations
        rows.append(row)
    return rows
