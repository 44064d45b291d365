"""Generate data sets with the reference solvers, resumable and reproducible sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.data.field_source import FieldLayout
from monarch_sciml.data.field_writer import FieldWriter
from monarch_sciml.data.fields import FieldFile
from monarch_sciml.solvers.navier_stokes import NavierStokes2d
from monarch_sciml.solvers.random_fields import gaussian_random_field

ALPHA, TAU = 2.5, 7.0
"""Smoothness and inverse length scale of the initial vorticity."""

_SMALL = 2**18  # points of a batch that one thread advances as fast as several


def generate_navier_stokes(
    output: Path,
    *,
    viscosity: float = 1e-3,
    n_samples: int = 1200,
    grid: int = 64,
    resolution: int | None = None,
    t_end: float = 20.0,
    n_times: int | None = None,
    dt: float = 1e-2,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 20,
    device: str = "cpu",
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate trajectories of forced two-dimensional turbulence, the FNO paper's problem.

    Each trajectory starts from its own Gaussian random field (α 2.5, τ 7) and is solved by
    `NavierStokes2d` with the FNO paper's forcing. Interrupted, the same call goes on where it
    stopped and makes the same file.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.fields`).
    viscosity
        ν, dimensionless. The paper's sets: 1e-3 with t_end 50, 1e-4 with 30, 1e-5 with 20; for the
        last two solve on a grid of 128 to 256 and store 64.
    n_samples
        Number of trajectories.
    grid, resolution
        Points along each axis to solve on, and to store (a divisor; None stores all).
    t_end, n_times
        Last time, and number of evenly spaced frames up to it (None: one a time unit). The initial
        field is not among them.
    dt
        Largest time step of the solver. 1e-2 is right for ν = 1e-3 on 64 points; for 1e-4 and 1e-5
        take 2.5e-3 on 128 points, 1.25e-3 on 256.
    seed
        Sample i depends on (seed, i) alone: more samples, another batch size or a resumed run leave
        the earlier ones as they are.
    dtype
        "float32" or "float64", to solve in and to store.
    batch_size
        Trajectories solved together.
    device
        Where to solve, "cpu" or "cuda".
    progress
        Show a bar that counts trajectories.
    exist_ok
        Return at once when `output` holds just these samples.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    FileExistsError
        When `output` exists and `exist_ok` is false.
    ValueError
        When an argument is out of range, a solution diverges, or `output` or the unfinished file
        beside it holds something else.
    OSError
        When the disk has no room; nothing written is lost.
    """
    layout, parameters = _plan(viscosity, n_samples, grid, resolution, t_end, n_times, dt, dtype)
    output, precision = Path(output), _precision(dtype)
    batch_size, seed = positive_int("batch_size", batch_size), positive_int("seed", seed, minimum=0)
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        rule = "`device` must be there"
        raise ValueError(message(rule, f"{device!r} and no CUDA device", "Pass cpu."))
    about: dict[str, Any] = {"generator": "navier_stokes", "parameters": parameters, "seed": seed}
    if exist_ok and output.exists():
        _check_same(FieldFile(output), layout, about)
        return output
    solver = NavierStokes2d((grid, grid), viscosity=viscosity, dtype=precision, device=device)
    step = grid // layout.grid_shape[0]
    with FieldWriter(output, layout, dtype=precision, **about) as writer:
        first = writer.n_completed
        with (
            _few_threads(batch_size * grid**2),
            _trajectory_bar(n_samples, first, progress) as advance,
        ):
            for start in range(first, n_samples, batch_size):
                size = min(batch_size, n_samples - start)
                w0 = _initial_fields(seed, range(start, start + size), grid, precision)
                w, _ = solver.solve(
                    w0,
                    dt=dt,
                    record_times=layout.times,
                    progress=lambda done, size=size: advance(size * done),
                )
                # (n, T, grid, grid) -> (n, T, 1, resolution, resolution)
                writer.write(start, w[:, :, None, ::step, ::step])
    return output


def _plan(
    viscosity: float,
    n_samples: int,
    grid: int,
    resolution: int | None,
    t_end: float,
    n_times: int | None,
    dt: float,
    dtype: str,
) -> tuple[FieldLayout, dict[str, Any]]:
    """Check the arguments; return what the file will hold and the parameters it states."""
    grid = positive_int("grid", grid, minimum=4)
    resolution = grid if resolution is None else positive_int("resolution", resolution)
    if grid % resolution:
        rule = f"`resolution` must divide `grid`, {grid}"
        raise ValueError(message(rule, resolution, "Choose a divisor."))
    if not (t_end > 0 and math.isfinite(t_end)):
        raise ValueError(message("`t_end` must be positive", t_end, "Raise `t_end`."))
    if not dt > 0:
        raise ValueError(message("`dt` must be positive", dt, "Pass 1e-2, say."))
    n_times = max(1, int(t_end)) if n_times is None else positive_int("n_times", n_times)
    layout = FieldLayout(
        fields=("vorticity",),
        n_samples=positive_int("n_samples", n_samples),
        n_times=n_times,
        grid_shape=(resolution, resolution),
        domain_extent=(1.0, 1.0),
        boundary=("periodic", "periodic"),
        times=tuple(t_end * (i + 1) / n_times for i in range(n_times)),
    )
    parameters = {
        "equation": "w_t + u·∇w = ν Δw + f on the unit torus",
        "viscosity": float(viscosity),
        "forcing": "0.1 (sin 2π(x + y) + cos 2π(x + y))",
        "initial": {"alpha": ALPHA, "tau": TAU, "sigma": TAU ** (ALPHA - 1)},
        "grid": [grid, grid],
        "t_end": float(t_end),
        "dt": float(dt),
        "dtype": one_of("dtype", dtype, ("float32", "float64")),
    }
    return layout, parameters


def _precision(dtype: str) -> torch.dtype:
    return torch.float64 if dtype == "float64" else torch.float32


def _initial_fields(seed: int, samples: range, grid: int, dtype: torch.dtype) -> Tensor:
    """Draw the initial vorticity of these samples (n, grid, grid), each from its own generator."""
    fields = []
    for sample in samples:
        entropy = np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(entropy >> np.uint64(1)))
        field = gaussian_random_field(
            1, (grid, grid), alpha=ALPHA, tau=TAU, generator=generator, dtype=torch.float64
        )
        fields.append(field.to(dtype))
    return torch.cat(fields)


def _check_same(found: FieldFile, layout: FieldLayout, about: dict[str, Any]) -> None:
    """Raise ValueError when an existing file does not hold what would be generated."""
    odd = [key for key, value in about.items() if found.about[key] != value]
    odd += [
        key
        for key in ("fields", "n_samples", "n_times", "grid_shape")
        if getattr(found.layout, key) != getattr(layout, key)
    ]
    if odd:
        rule = f"{found.path} must hold the samples asked for"
        raise ValueError(message(rule, f"another `{odd[0]}`", "Remove it, or pass another name."))


@contextmanager
def _few_threads(n_points: int) -> Iterator[None]:
    """Use one CPU thread for small batches.

    A step is a dozen operations of some 50 µs; threads that wait for one another at each cost more
    than they give, 30 times more on a busy machine.
    """
    before = torch.get_num_threads()
    if n_points <= _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _trajectory_bar(total: int, first: int, shown: bool) -> Iterator[Callable[[float], object]]:
    """Yield the function that advances the bar by a number of trajectories, fractions allowed."""
    from tqdm import tqdm

    counter = "{l_bar}{bar}| {n:.0f}/{total_fmt} trajectories [{elapsed}<{remaining}]"
    with tqdm(
        total=total, initial=first, bar_format=counter, disable=not shown, desc="Generating"
    ) as bar:
        yield lambda share: bar.update(min(share, total - bar.n))  # never above, by rounding
