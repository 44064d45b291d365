"""`monarch-sciml benchmark`: measure speed and memory against the baselines of the same run.

Every function writes a folder: results.csv, environment.json, machine.json and figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from monarch_sciml._checks import message, positive_int
from monarch_sciml.benchmark import Effort, Machine, environment, measure_machine
from monarch_sciml.benchmark.compare import Row
from monarch_sciml.commands.benchmark_figures import roofline_figure, scaling_figure
from monarch_sciml.commands.runs import write_text
from monarch_sciml.evaluation import save, write_rows

Device = Literal["cpu", "cuda"]


def benchmark_layer(
    output: Path,
    *,
    dims: int = 2,
    sizes: Sequence[int] = (32, 64, 128, 256),
    modes: Sequence[int] = (12,),
    channels: Sequence[int] = (32,),
    batch: Sequence[int] = (8,),
    candidates: Sequence[str] | None = None,
    rounds: int = 15,
    max_seconds: float = 20.0,
    threads: int = 1,
    device: Device = "cpu",
    overwrite: bool = False,
) -> str:
    """Time the spectral layer against neuralop's and five other ways to compute it.

    Every grid size is measured with the first entry of `modes`, `channels` and `batch`; then each
    of these three is varied alone, on the first grid size that is at least 64 (else the largest).

    Parameters
    ----------
    output
        Folder to make.
    dims
        Axes of the grid; every axis has the same size.
    sizes
        Points along each axis, even.
    modes
        Kept modes along each axis, both signs.
    channels, batch
        Channels in and out, and samples.
    candidates
        Some of "textbook rfftn", "pruned FFT", "two-bmm Monarch", "dense matrices", "fixed
        Fourier", "Monarch", "Monarch, Triton" (on a GPU); all by default. "neuralop", the baseline,
        is always measured.
    rounds, max_seconds
        Paired rounds of every comparison, and the time after which no further one begins.
    threads
        Threads of torch.
    device
        "cpu" or "cuda".
    overwrite
        Replace the results of an earlier run in `output`.

    Returns
    -------
    The table.

    Raises
    ------
    FileExistsError
        When `output` holds results and `overwrite` is false.
    ValueError
        When a candidate is unknown or the device is not there.
    """
    from monarch_sciml.benchmark.layers import LAYERS, benchmark_layer_case, with_triton

    names = with_triton(LAYERS, device) if candidates is None else ("neuralop", *candidates)
    effort = Effort(rounds=rounds, max_seconds=max_seconds)
    base = next((n for n in sizes if n >= 64), max(sizes))
    cases = [("grid", n, modes[0], channels[0], batch[0]) for n in sizes]
    cases += [("modes", base, m, channels[0], batch[0]) for m in modes if len(modes) > 1]
    cases += [("channels", base, modes[0], c, batch[0]) for c in channels if len(channels) > 1]
    cases += [("batch", base, modes[0], channels[0], b) for b in batch if len(batch) > 1]

    def measure() -> Iterator[Row]:
        for scan, n, m, width, samples in cases:
            yield from benchmark_layer_case(
                (n,) * dims, (m,) * dims, width, samples,
                effort=effort, names=names, device=device, case={"scan": scan},
            )  # fmt: skip

    scans = dict.fromkeys(case[0] for case in cases)
    return _run(output, measure, threads, device, scans=scans, overwrite=overwrite)


def benchmark_transform(
    output: Path,
    *,
    sizes: Sequence[int] = (128, 256, 320, 512),
    coils: int = 16,
    candidates: Sequence[str] | None = None,
    rounds: int = 15,
    max_seconds: float = 20.0,
    threads: int = 1,
    device: Device = "cpu",
    overwrite: bool = False,
) -> str:
    """Time full two-dimensional transforms of coil images against the shifted FFT.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    coils
        Images transformed at once, complex single precision.
    candidates
        Some of "torch.fft.fft2", "two-bmm Monarch", "dense matrices", "Monarch", "Monarch, Triton"
        (on a GPU); all by default. "shifted fft2c", the baseline, is always measured.
    rounds, max_seconds, threads, device, overwrite
        As for `benchmark layer`.

    Returns
    -------
    The table.
    """
    from monarch_sciml.benchmark.layers import TRANSFORMS, benchmark_transform_case, with_triton

    effort = Effort(rounds=rounds, max_seconds=max_seconds)
    names = with_triton(TRANSFORMS, device) if candidates is None else candidates

    def measure() -> Iterator[Row]:
        for n in sizes:
            rows = benchmark_transform_case(
                (n, n), coils, effort=effort, names=names, device=device
            )
            yield from ({"scan": "size", "size": n, **row} for row in rows)

    return _run(output, measure, threads, device, scans=["size"], overwrite=overwrite)


def benchmark_model(
    output: Path,
    *,
    sizes: Sequence[int] = (64, 128),
    modes: int = 12,
    channels: int = 32,
    batch: Sequence[int] = (8, 16),
    n_layers: int = 4,
    rounds: int = 15,
    max_seconds: float = 20.0,
    threads: int = 1,
    device: Device = "cpu",
    overwrite: bool = False,
) -> str:
    """Time a training step and inference of Monarch-NO against neuralop's FNO, equal weights.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    modes, channels, n_layers
        Of the networks.
    batch
        Samples; all but the first are measured on the first size only.
    rounds, max_seconds, threads, device, overwrite
        As for `benchmark layer`.

    Returns
    -------
    The table.
    """
    from monarch_sciml.benchmark.models import benchmark_model_case

    effort = Effort(rounds=rounds, max_seconds=max_seconds)
    cases = [(n, batch[0]) for n in sizes] + [(sizes[0], b) for b in batch[1:]]

    def measure() -> Iterator[Row]:
        for n, samples in cases:
            yield from benchmark_model_case(
                (n, n), (modes, modes), channels, samples,
                n_layers=n_layers, effort=effort, device=device,
            )  # fmt: skip

    return _run(output, measure, threads, device, overwrite=overwrite)


def benchmark_mri(
    output: Path,
    *,
    matrices: Sequence[tuple[int, int]] = ((512, 160), (320, 320), (256, 256)),
    coils: int = 16,
    rounds: int = 15,
    max_seconds: float = 20.0,
    threads: int = 1,
    device: Device = "cpu",
    overwrite: bool = False,
) -> str:
    """Time reconstruction by SENSE and mSENSE and data consistency, in slices per second.

    Parameters
    ----------
    output
        Folder to make.
    matrices
        Sizes (H, W) of a slice.
    coils
        Receiver coils.
    rounds, max_seconds, threads, device, overwrite
        As for `benchmark layer`.

    Returns
    -------
    The table.
    """
    from monarch_sciml.benchmark.models import benchmark_mri_case

    effort = Effort(rounds=rounds, max_seconds=max_seconds, memory=False)

    def measure() -> Iterator[Row]:
        for matrix in matrices:
            yield from benchmark_mri_case(matrix, coils, effort=effort, device=device)

    return _run(output, measure, threads, device, overwrite=overwrite)


def benchmark_generate(
    output: Path,
    *,
    sizes: Sequence[int] = (64,),
    batch: int = 10,
    viscosity: float = 1e-3,
    t_end: float = 0.2,
    rounds: int = 5,
    max_seconds: float = 30.0,
    threads: int = 1,
    overwrite: bool = False,
) -> str:
    """Time Navier-Stokes trajectories against the original Euler scheme, with the error of both.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    batch
        Trajectories solved together.
    viscosity, t_end
        Of the problem; trajectories a minute are for this length.
    rounds, max_seconds, threads, overwrite
        As for `benchmark layer`.

    Returns
    -------
    The table.
    """
    from monarch_sciml.benchmark.pipelines import benchmark_generate_case

    effort = Effort(rounds=rounds, max_seconds=max_seconds, memory=False)

    def measure() -> Iterator[Row]:
        for n in sizes:
            yield from benchmark_generate_case(
                n, batch, viscosity=viscosity, t_end=t_end, effort=effort
            )

    return _run(output, measure, threads, "cpu", overwrite=overwrite)


def benchmark_load(
    output: Path,
    *,
    sizes: Sequence[int] = (64,),
    modes: int = 12,
    channels: int = 32,
    batch: int = 8,
    rounds: int = 15,
    max_seconds: float = 20.0,
    threads: int = 1,
    overwrite: bool = False,
) -> str:
    """Time fetching a batch against the training step that it feeds.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    modes, channels
        Of the Monarch-NO that is trained.
    batch
        Samples in a batch.
    rounds, max_seconds, threads, overwrite
        As for `benchmark layer`.

    Returns
    -------
    The table.
    """
    from monarch_sciml.benchmark.pipelines import benchmark_load_case

    effort = Effort(rounds=rounds, max_seconds=max_seconds, memory=False)

    def measure() -> Iterator[Row]:
        for n in sizes:
            yield from benchmark_load_case(
                n, batch, n_modes=(modes, modes), channels=channels, effort=effort
            )

    return _run(output, measure, threads, "cpu", overwrite=overwrite)


def _run(
    output: Path,
    measure: Callable[[], Iterator[Row]],
    threads: int,
    device: str,
    *,
    scans: Sequence[str] | dict[str, None] = (),
    overwrite: bool,
) -> str:
    """Measure, write the folder, and return the table."""
    output = Path(output)
    results = output / "results.csv"
    if results.exists() and not overwrite:
        rule = "`output` must not hold results yet"
        raise FileExistsError(message(rule, str(results), "Pass another folder, or --overwrite."))
    if device == "cuda" and not torch.cuda.is_available():
        rule = "`device` must be there"
        raise ValueError(message(rule, "'cuda' and no CUDA device", "Pass cpu."))
    with _threads(threads):
        machine = measure_machine()
        rows = list(measure())
        described = environment()
    write_rows(rows, results, overwrite=True)
    write_text(output / "environment.json", json.dumps(described, indent=2) + "\n")
    write_text(output / "machine.json", json.dumps(machine.as_dict(), indent=2) + "\n")
    for scan in scans:
        chosen = [row for row in rows if row["scan"] == scan]
        figure = scaling_figure(chosen, "size" if scan == "size" else scan)
        save(figure, output / f"scaling-{scan}.png", overwrite=True)
    if any("work_bytes" in row for row in rows):
        save(roofline_figure(rows, machine), output / "roofline.png", overwrite=True)
    return f"{table(rows)}\n\n{_roofs(machine)}\nresults: {results}"


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(positive_int("threads", threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


_CASE = ("grid", "size", "matrix", "dims", "modes", "channels", "coils", "batch", "pass")
_EXTRA = ("error", "slices_per_second", "trajectories_per_minute", "samples_per_second")


def table(rows: Sequence[Row], *, style: str = "github") -> str:
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
