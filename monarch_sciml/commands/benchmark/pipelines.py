"""Benchmarks of generating trajectories and of loading them during training.

Letters: B trajectories, H x W grid, T frames.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from monarch_sciml.commands.benchmark.measure import Effort, MeasuredRow, compare_calls
from monarch_sciml.commands.benchmark.models import training_step
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.trajectories import TrajectoryModule
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.models import FNO
from monarch_sciml.solvers.navier_stokes import (
    fno_forcing,
    gaussian_random_field,
    solve_navier_stokes,
)


def original_navier_stokes(w0: Tensor, *, viscosity: float, t_end: float, dt: float) -> Tensor:
    """Integrate as the FNO authors' generator does: Euler, full complex FFTs, 2/3 rule.

    Parameters
    ----------
    w0
        Vorticity (B, N, N) on the unit torus.
    viscosity, t_end, dt
        ν, last time, time step (1e-4 there).

    Returns
    -------
    Vorticity (B, N, N) at t_end.

    Notes
    -----
    The semi-implicit scheme of `navier_stokes_2d` in fourier_neural_operator/data_generation:
    Crank-Nicolson for the viscosity, explicit Euler for the advection, in five transforms a step.
    """
    n = w0.shape[-1]
    frequency = 2 * math.pi * torch.fft.fftfreq(n, 1 / n, dtype=w0.dtype)
    k_x, k_y = torch.meshgrid(frequency, frequency, indexing="ij")
    laplacian = k_x**2 + k_y**2
    inverse = 1 / torch.where(laplacian == 0, torch.ones_like(laplacian), laplacian)
    largest = 2 * math.pi * n / 3  # two thirds of the largest wavenumber of the grid
    kept = ((k_x.abs() <= largest) & (k_y.abs() <= largest)).to(w0.dtype)
    t = torch.arange(n, dtype=w0.dtype) / n
    forcing = torch.fft.fft2(fno_forcing(t[:, None], t[None, :]))
    spectrum = torch.fft.fft2(w0)
    half = 0.5 * dt * viscosity * laplacian
    for _ in range(round(t_end / dt)):
        stream = spectrum * inverse
        u = torch.fft.ifft2(1j * k_y * stream).real
        v = torch.fft.ifft2(-1j * k_x * stream).real
        w_x = torch.fft.ifft2(1j * k_x * spectrum).real
        w_y = torch.fft.ifft2(1j * k_y * spectrum).real
        advection = torch.fft.fft2(u * w_x + v * w_y) * kept
        spectrum = (spectrum * (1 - half) + dt * (forcing - advection)) / (1 + half)
    return torch.fft.ifft2(spectrum).real


def benchmark_generate_case(
    grid: int,
    batch: int,
    *,
    viscosity: float = 1e-3,
    t_end: float = 0.2,
    dt: float = 1e-2,
    original_dt: float = 1e-4,
    effort: Effort,
) -> list[MeasuredRow]:
    """Time Navier-Stokes trajectories with either scheme, and tell its error in time.

    The error is that of the time step, relative in L2, in double precision: the difference to half
    the step, extrapolated by the order of the scheme (one for Euler, two for Heun).
    `trajectories_per_minute` is for trajectories of length t_end.
    """
    generator = torch.Generator().manual_seed(0)
    w0 = gaussian_random_field(batch, (grid, grid), generator=generator)
    options: dict[str, Any] = {"viscosity": viscosity, "t_end": t_end}

    def euler(w: Tensor, dt: float) -> Tensor:
        return original_navier_stokes(w, dt=dt, **options)

    def heun(w: Tensor, dt: float) -> Tensor:
        return solve_navier_stokes(w, dt=dt, **options)[0][:, -1]

    schemes = {
        f"Euler, dt {original_dt:g}": (euler, original_dt, 1),
        f"NavierStokes2d, dt {dt:g}": (heun, dt, 2),
    }
    calls = {name: partial(scheme, w0, step) for name, (scheme, step, _) in schemes.items()}
    case = {"grid": grid, "batch": batch, "viscosity": viscosity, "t_end": t_end, "pass": "solve"}
    rows = compare_calls(calls, baseline=next(iter(calls)), case=case, effort=effort)
    for row in rows:
        scheme, step, order = schemes[row["candidate"]]
        one = w0[:1].double()
        coarse, fine = scheme(one, step), scheme(one, step / 2)
        row["error"] = float((coarse - fine).norm() / fine.norm()) / (1 - 0.5**order)
        row["trajectories_per_minute"] = 60 * batch / row["seconds"]
    return rows


def benchmark_load_case(
    grid: int,
    batch: int,
    *,
    n_modes: Sequence[int],
    channels: int,
    n_samples: int = 64,
    effort: Effort,
) -> list[MeasuredRow]:
    """Time fetching one batch of trajectories against the training step that it feeds.

    The file is a temporary one of random fields, ten frames in and ten out; it is read once and
    kept in memory, or read for every sample.
    """
    shape = (grid, grid)
    layout = FieldLayout(("w",), n_samples, 20, shape, (1.0, 1.0), ("periodic", "periodic"))
    step_input = torch.randn(batch, 10, *shape)
    torch.manual_seed(0)
    network = FNO(
        shape, 10, 1, n_modes=tuple(n_modes), hidden_channels=channels, transform="monarch"
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fields.h5"
        about: dict[str, Any] = {"generator": "benchmark", "parameters": {}, "seed": 0}
        with FieldWriter(path, layout, **about) as writer:
            writer.write(0, torch.randn(n_samples, 20, 1, *shape))
        calls = {"training step": training_step(network, step_input, step_input[:, :1])}
        for name, in_memory in (("loader, in memory", True), ("loader, from file", False)):
            module = TrajectoryModule(path, n_train=n_samples - 1, n_test=1, in_memory=in_memory)
            calls[name] = _endless(DataLoader(module.train, batch_size=batch, shuffle=True))
        case = {"grid": grid, "batch": batch, "channels": channels, "pass": "one batch"}
        rows = compare_calls(calls, baseline="training step", case=case, effort=effort)
    for row in rows:
        row["samples_per_second"] = batch / row["seconds"]
    return rows


def _endless(loader: DataLoader[Any]) -> Callable[[], object]:
    """Return a call that fetches the next batch, starting again at the end."""
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    return lambda: next(batches)
