"""`monarch-sciml benchmark`: measure speed and memory against the baselines of the same run.

Every function writes a folder: results.csv, environment.json, machine.json and figures. It takes
the options that all of them share (`RunOptions`: output, rounds, threads, device, overwriting)
beside its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from monarch_sciml.commands.benchmark import Effort
from monarch_sciml.commands.benchmark.measure import MeasuredRow
from monarch_sciml.commands.benchmark.results import Benchmark, command


@command()
def benchmark_layer(
    *,
    dims: int = 2,
    sizes: Sequence[int] = (32, 64, 128, 256),
    modes: Sequence[int] = (12,),
    channels: Sequence[int] = (32,),
    batch: Sequence[int] = (8,),
    candidates: Sequence[str] | None = None,
) -> Benchmark:
    """Time the spectral layer against neuralop's and six other ways to compute it.

    Every grid size is measured with the first entry of `modes`, `channels` and `batch`; then each
    of these three is varied alone, on the first grid size that is at least 64 (else the largest).

    Parameters
    ----------
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

    scans = list(dict.fromkeys(case[0] for case in cases))
    return Benchmark(measure, scans, memory=True)


@command()
def benchmark_linear(
    *,
    widths: Sequence[int] = (256, 512, 768, 1024, 2048),
    vectors: Sequence[int] = (64, 512),
    blocks: Sequence[int] = (4,),
    parameters: float = 0.5,
    candidates: Sequence[str] | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Benchmark:
    """Time square structured layers against nn.Linear, forward and with backward.

    Parameters
    ----------
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

    return Benchmark(measure)


@command()
def benchmark_transform(
    *,
    sizes: Sequence[int] = (128, 256, 320, 512),
    coils: int = 16,
    candidates: Sequence[str] | None = None,
) -> Benchmark:
    """Time full two-dimensional transforms of coil images against the shifted FFT.

    Parameters
    ----------
    sizes
        Points along both axes.
    coils
        Images transformed at once, complex single precision.
    candidates
        Some of "torch.fft.fft2", "two-bmm Monarch", "dense matrices", "Monarch", "Monarch, Triton"
        (on a GPU); all by default. "shifted fft2c", the baseline, is always measured.
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

    return Benchmark(measure, ["size"], memory=True)


@command()
def benchmark_model(
    *,
    sizes: Sequence[int] = (64, 128),
    modes: int = 12,
    channels: int = 32,
    batch: Sequence[int] = (8, 16),
    n_layers: int = 4,
) -> Benchmark:
    """Time a training step and inference of Monarch-NO against neuralop's FNO, equal weights.

    Parameters
    ----------
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
    """
    from monarch_sciml.commands.benchmark.models import benchmark_model_case

    cases = [(n, batch[0]) for n in sizes] + [(sizes[0], b) for b in batch[1:]]

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        for n, samples in cases:
            yield from benchmark_model_case(
                (n, n), (modes, modes), channels, samples,
                n_layers=n_layers, effort=effort, device=device,
            )  # fmt: skip

    return Benchmark(measure, memory=True)


@command()
def benchmark_mri(
    *,
    matrices: Sequence[tuple[int, int]] = ((512, 160), (320, 320), (256, 256)),
    coils: int = 16,
) -> Benchmark:
    """Time reconstruction by SENSE and mSENSE and data consistency, in slices per second.

    Parameters
    ----------
    matrices
        Sizes (H, W) of a slice.
    coils
        Receiver coils.
    """
    from monarch_sciml.commands.benchmark.models import benchmark_mri_case

    def measure(effort: Effort, device: str) -> Iterator[MeasuredRow]:
        for matrix in matrices:
            yield from benchmark_mri_case(matrix, coils, effort=effort, device=device)

    return Benchmark(measure)


@command(leave_out=["device"], rounds=5, max_seconds=30.0)
def benchmark_generate(
    *,
    sizes: Sequence[int] = (64,),
    batch: int = 10,
    viscosity: float = 1e-3,
    t_end: float = 0.2,
) -> Benchmark:
    """Time Navier-Stokes trajectories against the original Euler scheme, with the error of both.

    Parameters
    ----------
    sizes
        Points along both axes.
    batch
        Trajectories solved together.
    viscosity
        Viscosity of the fluid.
    t_end
        Length of a trajectory; trajectories a minute are counted for this length.
    """
    from monarch_sciml.commands.benchmark.pipelines import benchmark_generate_case

    def measure(effort: Effort, _: str) -> Iterator[MeasuredRow]:
        for n in sizes:
            yield from benchmark_generate_case(
                n, batch, viscosity=viscosity, t_end=t_end, effort=effort
            )

    return Benchmark(measure)


@command(leave_out=["device"])
def benchmark_load(
    *,
    sizes: Sequence[int] = (64,),
    batch: int = 8,
    modes: int = 12,
    channels: int = 32,
) -> Benchmark:
    """Time fetching a batch against the training step that it feeds.

    Parameters
    ----------
    sizes
        Points along both axes.
    batch
        Samples in a batch.
    modes
        Kept modes of the Monarch-NO that is trained, along each axis.
    channels
        Hidden channels of that network.
    """
    from monarch_sciml.commands.benchmark.pipelines import benchmark_load_case

    def measure(effort: Effort, _: str) -> Iterator[MeasuredRow]:
        for n in sizes:
            yield from benchmark_load_case(
                n, batch, n_modes=(modes, modes), channels=channels, effort=effort
            )

    return Benchmark(measure)
