"""Time several ways of doing one thing against each other, in paired rounds."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int

Call = Callable[[], object]
_FEWEST = 3  # rounds, whatever the time limit


@dataclass(frozen=True)
class Timing:
    """Seconds that one candidate took in every round.

    Attributes
    ----------
    wall
        Elapsed time of each round, in seconds.
    cpu
        Processor time of this process, all its threads, in seconds: what other programs on the
        machine disturb least.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def paired_rounds(
    candidates: Mapping[str, Call],
    *,
    rounds: int = 15,
    warmup: int = 3,
    max_seconds: float | None = None,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time every candidate once in each round, in random order.

    Whatever slows the machine down for a while then falls on all candidates alike, and their ratios
    within a round stay meaningful.

    Parameters
    ----------
    candidates
        Name and function of each candidate. The functions are called without arguments.
    rounds
        Number of rounds that are recorded.
    warmup
        Number of calls of each candidate before the first round (one if a call takes more than a
        second).
    max_seconds
        Seconds after which no further round starts, after at least three.
    seed
        Seed of the order of the calls within a round.

    Returns
    -------
    The times of each candidate, in the order given.

    Notes
    -----
    Garbage collection is off meanwhile. CUDA devices are synchronised before and after each call.

    Examples
    --------
    >>> times = paired_rounds({"sum": lambda: sum(range(100))}, rounds=4)
    >>> len(times["sum"].wall)
    4
    """
    if not candidates:
        rule = "there must be something to time"
        raise ValueError(message(rule, "no candidates", "Name at least one."))
    for call in candidates.values():
        for _ in range(warmup):
            if _seconds(call)[0] > 1.0:
                break
    order, generator = list(candidates), random.Random(seed)
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    begin = time.perf_counter()
    with _no_collection():
        for done in range(positive_int("rounds", rounds)):
            late = max_seconds is not None and time.perf_counter() - begin > max_seconds
            if late and done >= _FEWEST:
                break
            generator.shuffle(order)
            for name in order:
                elapsed, used = _seconds(candidates[name])
                wall[name].append(elapsed)
                cpu[name].append(used)
            gc.collect(0)
    return {name: Timing(tuple(wall[name]), tuple(cpu[name])) for name in candidates}


def summary(times: Mapping[str, Timing], baseline: str) -> dict[str, dict[str, Any]]:
    """Return, for each candidate, medians, quartiles and ratios to the baseline.

    Returns
    -------
    `seconds`, `seconds_q1`, `seconds_q3` (median and quartiles of the elapsed time), `cpu_seconds`
    (median processor time), `rounds`, and how many times faster than the baseline of the same
    round: `ratio`, `ratio_q1`, `ratio_q3` (median and quartiles, elapsed) and `cpu_ratio` (median,
    processor time).

    Raises
    ------
    ValueError
        When the baseline was not timed.
    """
    if baseline not in times:
        rule = "`baseline` must be one of the candidates"
        raise ValueError(message(rule, repr(baseline), f"Choose from {', '.join(times)}."))
    against = times[baseline]
    rows = {}
    for name, timing in times.items():
        low, middle, high = quartiles(timing.wall)
        ratio_low, ratio, ratio_high = quartiles([a / b for a, b in zip(against.wall, timing.wall)])
        rows[name] = {
            "seconds": middle,
            "seconds_q1": low,
            "seconds_q3": high,
            "cpu_seconds": statistics.median(timing.cpu),
            "ratio": ratio,
            "ratio_q1": ratio_low,
            "ratio_q3": ratio_high,
            "cpu_ratio": statistics.median(
                a / max(b, 1e-9) for a, b in zip(against.cpu, timing.cpu)
            ),
            "rounds": len(timing.wall),
        }
    return rows


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def forward_call(module: nn.Module, *inputs: Tensor) -> Call:
    """Return a call of the module without gradients."""

    def call() -> None:
        with torch.no_grad():
            module(*inputs)

    return call


def forward_backward_call(module: nn.Module, *inputs: Tensor) -> Call:
    """Return a call of the module and its backward pass to inputs and parameters."""
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    parameters = [p for p in module.parameters() if p.requires_grad]
    with torch.no_grad():
        gradient = torch.randn_like(module(*inputs))

    def call() -> None:
        for leaf in (*leaves, *parameters):
            leaf.grad = None
        module(*leaves).backward(gradient)

    return call


def _seconds(call: Call) -> tuple[float, float]:
    """Return the elapsed and the processor time of one call."""
    _synchronise()
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    _synchronise()
    return time.perf_counter() - wall, time.process_time() - cpu


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
