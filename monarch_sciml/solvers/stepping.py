"""Record times, the check for NaN and the progress bar of all time-stepping solvers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number


def vector(name: str, value: Tensor) -> Tensor:
    """Return finite numbers (n,) in float64; ValueError for other shapes and values."""
    if value.ndim != 1:
        raise ValueError(message(f"`{name}` must have one axis", value.ndim, "Flatten it."))
    return finite(name, value.double(), remedy="Check its source.")


def record_schedule(
    t_end: float | None, n_record: int | None, record_times: Sequence[float] | None
) -> list[float]:
    """Return the times to record: t_end / n, ..., t_end, or `record_times` themselves."""
    if record_times is None:
        if t_end is None:
            rule = "`t_end` or `record_times` is needed"
            raise ValueError(message(rule, "neither", "Pass one of them."))
        count = positive_int("n_record", 1 if n_record is None else n_record)
        return [positive_number("t_end", t_end) * (i + 1) / count for i in range(count)]
    if t_end is not None or n_record is not None:
        rule = "`record_times` replaces `t_end` and `n_record`"
        raise ValueError(message(rule, "both", "Drop one of them."))
    times = [float(time) for time in record_times]
    increasing = all(a < b for a, b in itertools.pairwise(times))
    if not times or times[0] < 0 or not increasing or not math.isfinite(times[-1]):
        rule = "`record_times` must be increasing and not negative"
        raise ValueError(message(rule, times[:8], "Sort them."))
    return times


def check_finite(state: Tensor, time: float, dt: float | None) -> None:
    """Raise ValueError when a sample of `state` (B, ...) at `time` holds NaN or infinity.

    `dt` is None for a solver that chooses its steps.
    """
    bad = int((~torch.isfinite(state).flatten(1).all(dim=1)).sum())
    if bad:
        rule = "the solution must stay finite"
        got = f"NaN or infinity in {bad} of {len(state)} samples at t = {time:.4g}"
        if dt is None:
            raise ValueError(message(rule, got, "Choose other parameters."))
        raise ValueError(message(rule, f"{got} with dt = {dt:.3g}", "Choose a smaller `dt`."))


@contextmanager
def progress_bar(
    total: int, shown: bool | Callable[[float], object], *, name: str
) -> Iterator[Callable[[], object]]:
    """Yield a function that counts one step; a callable `shown` gets the fraction of each step."""
    if callable(shown):
        yield lambda: shown(1 / total)
    elif not shown:
        yield lambda: None
    else:
        from tqdm import tqdm

        with tqdm(total=total, desc=name, unit="step", dynamic_ncols=True) as bar:
            yield bar.update
