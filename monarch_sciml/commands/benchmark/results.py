"""Run a benchmark and write its folder: results, machine, environment and figures."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch

from monarch_sciml._checks import message, positive_int, present_device, usage_errors
from monarch_sciml._files import writable_folder, write_text
from monarch_sciml._signatures import arguments, describe, documentation
from monarch_sciml.commands.benchmark import Machine, measure_machine
from monarch_sciml.commands.benchmark.figures import roofline_figure, scaling_figure
from monarch_sciml.commands.benchmark.measure import Effort, MeasuredRow
from monarch_sciml.evaluation import save, write_rows
from monarch_sciml.evaluation.environment import environment


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Hold the options that all benchmarks share.

    Parameters
    ----------
    output
        Folder to make.
    rounds
        Paired rounds of every comparison.
    max_seconds
        Seconds after which no further round of a comparison begins.
    threads
        Threads of torch.
    device
        "cpu" or "cuda".
    overwrite
        Replace the results of an earlier run in `output`.
    """

    output: Path
    rounds: int = 15
    max_seconds: float = 20.0
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    overwrite: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Describe a benchmark.

    Attributes
    ----------
    measure
        Function that is called with the effort and the device, and yields one row for each pass of
        each candidate.
    scans
        Names of the scans among the rows; each gets a figure of time against size.
    memory
        Whether the peak memory is measured too.
    """

    measure: Callable[[Effort, str], Iterator[MeasuredRow]]
    scans: Sequence[str] = ()
    memory: bool = False

    def run(self, options: RunOptions) -> str:
        """Measure, write results.csv, environment.json, machine.json and figures; return the table.

        Raises
        ------
        FileExistsError
            When `output` holds results and `overwrite` is false.
        ValueError
            When the device is not there.
        """
        output = Path(options.output)
        results = output / "results.csv"
        if results.exists() and not options.overwrite:
            rule = "`output` must not hold results yet"
            remedy = "Pass another folder, or --overwrite."
            raise FileExistsError(message(rule, str(results), remedy))
        present_device(options.device)
        writable_folder(output)
        with _threads(options.threads):
            machine = measure_machine()
            effort = Effort(
                rounds=options.rounds, max_seconds=options.max_seconds, memory=self.memory
            )
            rows = list(self.measure(effort, options.device))
            described = environment()
        write_rows(rows, results, overwrite=True)
        write_text(output / "environment.json", json.dumps(described, indent=2) + "\n")
        write_text(output / "machine.json", json.dumps(machine.as_dict(), indent=2) + "\n")
        for scan in self.scans:
            chosen = [row for row in rows if row["scan"] == scan]
            figure = scaling_figure(chosen, "size" if scan == "size" else scan)
            save(figure, output / f"scaling-{scan}.png", overwrite=True)
        if any("work_bytes" in row for row in rows):
            save(roofline_figure(rows, machine), output / "roofline.png", overwrite=True)
        return f"{table(rows)}\n\n{_roofs(machine)}\nresults: {results}"


_RESULT = """
Returns
-------
str
    The table.

Raises
------
FileExistsError
    When `output` holds results and `overwrite` is false.
ValueError
    When a candidate is unknown, a size does not suit it, or the device is not there.
"""


def command(
    *, leave_out: Sequence[str] = (), **defaults: Any
) -> Callable[[Callable[..., Benchmark]], Callable[..., str]]:
    """Turn a function that returns a benchmark into one that also runs it.

    The function gets the options of `RunOptions` beside its own, with `output` first; signature and
    documentation are put together from both.

    Parameters
    ----------
    leave_out
        Names of options that this benchmark does not have.
    **defaults
        Other defaults of some options.
    """
    shared = [item for item in arguments(RunOptions, defaults) if item.name not in leave_out]

    def decorate(function: Callable[..., Benchmark]) -> Callable[..., str]:
        hints = get_type_hints(function)
        own = inspect.signature(function).parameters
        typed = [item.replace(annotation=hints[name]) for name, item in own.items()]

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> str:
            bound = inspect.signature(run).bind(*args, **kwargs)
            bound.apply_defaults()
            options = {key: value for key, value in bound.arguments.items() if key not in own}
            for name in own:
                _check_sizes(name, bound.arguments[name])
            benchmark = function(**{name: bound.arguments[name] for name in own})
            return benchmark.run(RunOptions(**options))

        names = [item.name for item in shared]
        text = documentation([function.__doc__], [*own], RunOptions.__doc__, names, _RESULT)
        describe(run, typed, shared, text, str)
        return run

    return decorate


def _check_sizes(name: str, value: Any) -> None:
    """Raise UsageError when a list of an option is empty, or a number in it below 1."""
    with usage_errors():
        if isinstance(value, list | tuple) and not value:
            raise ValueError(message(f"`{name}` must name at least one", "none", "Leave it out."))
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, int) and not isinstance(part, bool):
                positive_int(name, part)


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(positive_int("threads", threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


_CASE = (
    "grid",
    "size",
    "width",
    "vectors",
    "blocks",
    "dtype",
    "matrix",
    "dims",
    "modes",
    "channels",
    "coils",
    "batch",
    "pass",
)
_EXTRA = ("error", "slices_per_second", "trajectories_per_minute", "samples_per_second")


def table(rows: Sequence[MeasuredRow], *, style: str = "github") -> str:
    """Return rows as text: the case, milliseconds with quartiles, ratio, memory."""
    from tabulate import tabulate

    lines = []
    for row in rows:
        line: dict[str, Any] = {key: row[key] for key in _CASE if key in row}
        line["candidate"] = row["candidate"]
        low, middle, high = (1e3 * row[key] for key in ("seconds_q1", "seconds", "seconds_q3"))
        line["ms (quartiles)"] = f"{_short(middle)} ({_short(low)}–{_short(high)})"
        line["times faster"] = f"{row['ratio']:.2f} ({row['ratio_q1']:.2f}–{row['ratio_q3']:.2f})"
        line["by CPU time"] = f"{row['cpu_ratio']:.2f}"
        if "peak_bytes" in row:
            line["peak MB"] = f"{row['peak_bytes'] / 1e6:.1f} ({row['peak_ratio']:.2f}x)"
        line.update({key: f"{row[key]:.3g}" for key in _EXTRA if key in row})
        lines.append(line)
    return tabulate(lines, headers="keys", tablefmt=style, disable_numparse=True)


def _short(value: float) -> str:
    """Three significant digits without an exponent."""
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{max(digits, 0)}f}"


def _roofs(machine: Machine) -> str:
    copy, cached = machine.copy / 1e9, machine.cached_copy / 1e9
    gemm, fast = machine.gemm / 1e9, machine.gemm_fast / 1e9
    return (
        f"this machine: copy {copy:.1f} GB/s (in cache {cached:.0f}), "
        f"GEMM {gemm:.0f} GFLOP/s (oneDNN {fast:.0f})"
    )
