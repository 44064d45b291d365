"""`monarch-sciml benchmark`: measure speed and memory against the baselines of the same run.

Every function writes a folder: results.csv, environment.json, machine.json and figures. What all of
them share (rounds, threads, device, overwriting) are the options of `run_benchmark`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from monarch_sciml.commands.benchmark import Effort
from monarch_sciml.commands.benchmark.measure import MeasuredRow
from monarch_sciml.commands.benchmark.results import run_benchmark


def benchmark_layer(
    output: Path,
    *,
    dims: int = 2,
    sizes: Sequence[int] = (32, 64, 128, 256),
    modes: Sequence[int] = (12,),
    channels: Sequence[int] = (32,),
    batch: Sequence[int] = (8,),
    candidates: Sequence[str] | None = None,
    **options: Any,
) -> str:
    """Time the spectral layer against neuralop's and six other ways to compute it.

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
    channels
        Channels in and out.
    batch
        Samples.
    candidates
        Some of "textbook rfftn", "pruned FFT", "two-bmm Monarch", "dense matrices", "fixed
        Fourier", "Monarch", "corrected" (the fixed transform plus a correction of rank 2 over the
        whole grid), "Monarch, Triton" (on a GPU); all by default. "neuralop", the baseline, is
        always measured.
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, device, overwrite.

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
    from monarch_sciml.commands.benchmark.layers import LAYERS, benchmark_layer_case, with_triton

    chosen = None if candidates is None else ("neuralop", *candidates)
    base = next((n for n in sizes if n >= 64), max(sizes))
    cases = [("grid", n, modes[0], channels[0], batch[0]) for n in sizes]
    cases += [("modes", base, m, channels[0], batch[0]) for m in modes if len(modes) > 1]
    cases += [("channels", base, modes[0], c, batch[0]) for c in channels if len(channels) > 1]
    cases += [("batch", base, modes[0], channels[0], b) for b in batch if len(batch) > 1]

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        names = with_triton(LAYERS, device) if chosen is None else chosen
        for scan, n, m, width, samples in cases:
            yield from benchmark_layer_case(
                (n,) * dims, (m,) * dims, width, samples,
                effort=effort, names=names, device=device, case={"scan": scan},
            )  # fmt: skip

    scans = dict.fromkeys(case[0] for case in cases)
    return run_benchmark(output, measure, scans=scans, memory=True, **options)


def benchmark_linear(
    output: Path,
    *,
    widths: Sequence[int] = (256, 512, 768, 1024, 2048),
    vectors: Sequence[int] = (64, 512),
    blocks: Sequence[int] = (4,),
    parameters: float = 0.5,
    candidates: Sequence[str] | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    **options: Any,
) -> str:
    """Time square structured layers against nn.Linear, forward and with backward.

    Parameters
    ----------
    output
        Folder to make.
    widths
        Inputs and outputs of a layer.
    vectors
        Vectors that are multiplied at once (samples times tokens).
    blocks
        Blocks of the Monarch layers.
    parameters
        Share of the dense parameters that the structured layers hold at most.
    candidates
        Some of "Monarch", "Monarch, contiguous", "low rank", "block-diagonal", "Kronecker",
        "butterfly" and "torch-structured"; all but the last by default.
    dtype
        float32 or bfloat16.
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, device, overwrite.

    Returns
    -------
    The table.

    Raises
    ------
    ValueError
        When a candidate is unknown or a width too small for it.
    """
    import torch

    from monarch_sciml.commands.benchmark.linear import LINEAR, benchmark_linear_case

    names = LINEAR if candidates is None else candidates
    cases = [(n, b, count) for count in vectors for b in blocks for n in widths]

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        for width, n_blocks, count in cases:
            yield from benchmark_linear_case(
                width, count, n_blocks=n_blocks, parameters=parameters, effort=effort, names=names,
                dtype=getattr(torch, dtype), device=device, case={"scan": "width"},
            )  # fmt: skip

    return run_benchmark(output, measure, scans=[], memory=False, **options)


def benchmark_transform(
    output: Path,
    *,
    sizes: Sequence[int] = (128, 256, 320, 512),
    coils: int = 16,
    candidates: Sequence[str] | None = None,
    **options: Any,
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
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, device, overwrite.

    Returns
    -------
    The table.
    """
    from monarch_sciml.commands.benchmark.layers import (
        TRANSFORMS,
        benchmark_transform_case,
        with_triton,
    )

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        names = with_triton(TRANSFORMS, device) if candidates is None else candidates
        for n in sizes:
            rows = benchmark_transform_case(
                (n, n), coils, effort=effort, names=names, device=device
            )
            yield from ({"scan": "size", "size": n, **row} for row in rows)

    return run_benchmark(output, measure, scans=["size"], memory=True, **options)


def benchmark_model(
    output: Path,
    *,
    sizes: Sequence[int] = (64, 128),
    modes: int = 12,
    channels: int = 32,
    batch: Sequence[int] = (8, 16),
    n_layers: int = 4,
    **options: Any,
) -> str:
    """Time a training step and inference of Monarch-NO against neuralop's FNO, equal weights.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    modes
        Kept modes of the networks along each axis, both signs.
    channels
        Hidden channels of the networks.
    n_layers
        Spectral layers of the networks.
    batch
        Samples; all but the first are measured on the first size only.
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, device, overwrite.

    Returns
    -------
    The table.
    """
    from monarch_sciml.commands.benchmark.models import benchmark_model_case

    cases = [(n, batch[0]) for n in sizes] + [(sizes[0], b) for b in batch[1:]]

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        for n, samples in cases:
            yield from benchmark_model_case(
                (n, n), (modes, modes), channels, samples,
                n_layers=n_layers, effort=effort, device=device,
            )  # fmt: skip

    return run_benchmark(output, measure, scans=(), memory=True, **options)


def benchmark_mri(
    output: Path,
    *,
    matrices: Sequence[tuple[int, int]] = ((512, 160), (320, 320), (256, 256)),
    coils: int = 16,
    **options: Any,
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
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, device, overwrite.

    Returns
    -------
    The table.
    """
    from monarch_sciml.commands.benchmark.models import benchmark_mri_case

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        for matrix in matrices:
            yield from benchmark_mri_case(matrix, coils, effort=effort, device=device)

    return run_benchmark(output, measure, scans=(), memory=False, **options)


def benchmark_generate(
    output: Path,
    *,
    sizes: Sequence[int] = (64,),
    batch: int = 10,
    viscosity: float = 1e-3,
    t_end: float = 0.2,
    rounds: int = 5,
    max_seconds: float = 30.0,
    **options: Any,
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
    viscosity
        Viscosity of the fluid.
    t_end
        Length of a trajectory; trajectories a minute are counted for this length.
    rounds
        Paired rounds of every comparison.
    max_seconds
        Seconds after which no further round of a comparison begins.
    **options
        Options of `run_benchmark`: threads, overwrite.

    Returns
    -------
    The table.
    """
    from monarch_sciml.commands.benchmark.pipelines import benchmark_generate_case

    def measure(effort: Effort, _: str) -> Iterator[MeasuredRow]:
        for n in sizes:
            yield from benchmark_generate_case(
                n, batch, viscosity=viscosity, t_end=t_end, effort=effort
            )

    return run_benchmark(
        output, measure, scans=(), memory=False, device="cpu",
        rounds=rounds, max_seconds=max_seconds, **options,
    )  # fmt: skip


def benchmark_load(
    output: Path,
    *,
    sizes: Sequence[int] = (64,),
    modes: int = 12,
    channels: int = 32,
    batch: int = 8,
    **options: Any,
) -> str:
    """Time fetching a batch against the training step that it feeds.

    Parameters
    ----------
    output
        Folder to make.
    sizes
        Points along both axes.
    modes
        Kept modes of the Monarch-NO that is trained, along each axis.
    channels
        Hidden channels of that network.
    batch
        Samples in a batch.
    **options
        Options of `run_benchmark`: rounds, max_seconds, threads, overwrite.

    Returns
    -------
    The table.
    """
    from monarch_sciml.commands.benchmark.pipelines import benchmark_load_case

    def measure(effort: Effort, _: str) -> Iterator[MeasuredRow]:
        for n in sizes:
            yield from benchmark_load_case(
                n, batch, n_modes=(modes, modes), channels=channels, effort=effort
            )

    return run_benchmark(output, measure, scans=(), memory=False, device="cpu", **options)
