"""Viscous Burgers' equation, periodic (FNO paper) and between walls (SPFNO paper).

Shapes: n samples, m modes, T times, N points.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import Advance, Problem, generate, sample_rng
from monarch_sciml.data.generators.options import divisor, frame_times, stored_dtype
from monarch_sciml.solvers.burgers import BurgersNeumann, BurgersPeriodic
from monarch_sciml.solvers.random_series import evaluate_series

SIGMA, TAU = 25.0, 5.0
"""Amplitude and inverse length scale of the initial velocity, N(0, σ² (−Δ + τ² I)^(−2))."""


def generate_burgers_periodic(
    output: Path,
    *,
    viscosity: float = 0.1,
    n_samples: int = 1200,
    grid: int = 1024,
    resolution: int | None = None,
    n_modes: int = 256,
    t_end: float = 1.0,
    n_times: int = 2,
    dt: float = 2e-3,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 50,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate solutions of Burgers' equation on the unit torus, the FNO paper's first problem.

    u_t + (u²/2)_x = ν u_xx, u(0) ~ N(0, 625 (−Δ + 25 I)^(−2)) with zero mean: the sum of
    √2 · 25 / ((2πk)² + 25) (ξ cos 2πkx + η sin 2πkx), ξ and η ~ N(0, 1), over k = 1 to `n_modes`.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`), with the field u.
    viscosity
        ν, dimensionless; 0.1 in the paper (its published files: 1e-3).
    n_samples
        Number of samples.
    grid
        Points to solve on; below ν = 0.01 take 1 / ν or more.
    resolution
        Points to store, a divisor of `grid`; None stores all.
    n_modes
        Waves of the initial velocity, fewer than half of `grid`. It is the same function on every
        grid.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    dt
        Largest time step of the solver.
    seed
        Seed of the set; sample i depends on (seed, i) alone.
    dtype
        "float32" or "float64", to store; solved in float64.
    batch_size
        Samples solved together.
    shard
        Make only this share, "2/4" for the second of four, in a file of its own beside `output`.
        Without it the samples of the shares found there are taken, only the others solved.
    progress
        Show a bar that counts samples.
    exist_ok
        Return at once when the file to make holds just these samples.

    Returns
    -------
    Path
        `output`, or the file of the share.

    Raises
    ------
    FileExistsError, OSError
        As `generate`.
    ValueError
        When an argument is out of range, the grid does not resolve the solution, or as `generate`.

    Notes
    -----
    The mean is zero as in the authors' generator (the measure has a random one, which would move
    the solution along). Solved by `BurgersPeriodic`; for the default values the relative error at
    t = 1 is below 1e-7 (twenty samples against a quarter of the step on twice the points).

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section 5.1 and A.3.1.
    """
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    solver = BurgersPeriodic(grid, viscosity=viscosity)
    resolution, step = divisor(resolution, grid), grid // divisor(resolution, grid)
    n_modes = positive_int("n_modes", n_modes)
    if 2 * n_modes >= grid:
        rule = f"`n_modes` must be below half of `grid`, {grid}"
        raise ValueError(message(rule, n_modes, "Lower `n_modes`."))
    modes = torch.arange(1, n_modes + 1, dtype=torch.float64)
    deviation = math.sqrt(2) * SIGMA / ((2 * math.pi * modes) ** 2 + TAU**2)

    def solve(samples: range, advance: Advance) -> Tensor:
        noise = [
            torch.from_numpy(sample_rng(seed, i).standard_normal((n_modes, 2))) for i in samples
        ]
        # n of (m, 2) -> (2, n, m)
        cosines, sines = deviation * torch.stack(noise).movedim(2, 0)
        points = [2 * solver.points]
        u0 = evaluate_series(cosines, points, kind="cosine") + evaluate_series(sines, points)
        u, _ = solver.solve(u0, dt=dt, record_times=times, progress=advance)
        # (n, T, grid) -> (n, T, 1, resolution)
        return u[:, :, None, ::step]

    parameters: dict[str, Any] = {
        "equation": "u_t + (u²/2)_x = ν u_xx on the unit torus",
        "viscosity": float(viscosity),
        "initial": {"sigma": SIGMA, "tau": TAU, "alpha": 2.0, "mean": 0.0, "n_modes": n_modes},
        "grid": [grid],
        "t_end": float(t_end),
        "dt": float(dt),
        "dtype": dtype,
    }
    layout = FieldLayout(("u",), n_samples, n_times, (resolution,), (1.0,), ("periodic",), times)
    problem = Problem("burgers_periodic", layout, parameters, solve, batch_size, precision)
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)


def generate_burgers_neumann(
    output: Path,
    *,
    viscosity: float = 0.1 / math.pi,
    n_samples: int = 1100,
    grid: int = 256,
    resolution: int = 256,
    n_modes: int = 128,
    whole_waves: bool = False,
    t_end: float = 1.0,
    n_times: int = 2,
    dt: float = 2e-3,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float32",
    batch_size: int = 50,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate solutions of Burgers' equation between insulating walls, the SPFNO paper's problem.

    u_t + (u²/2)_x = ν u_xx on [−1, 1], u_x(±1) = 0, with the initial velocity
    Σ 25 / ((nπ)² + 25) ξ_n cos(nπ(x + 1)/2), ξ_n ~ N(0, 1), n = 1 to `n_modes`.

    Parameters
    ----------
    output
        The file to make (HDF5, see `monarch_sciml.data.FieldFile`), with the field u.
    viscosity
        ν, dimensionless; 0.1/π in the paper.
    n_samples
        Number of samples; 1000 train and 100 test in the paper.
    grid
        Gauss-Lobatto nodes to solve on; 512 for ν = 0.003.
    resolution
        Evenly spaced points to store, both walls included, at least 2 (the paper: 4097 and
        fewer); the polynomial is evaluated there.
    n_modes
        Cosines of the initial velocity, at most half of `grid`.
    whole_waves
        Take cos(nπ(x + 1)) instead, n = 1 to `n_modes` / 2: fields symmetric about x = 0, as the
        formula is printed. The published data were drawn from half waves.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    dt
        Largest time step of the solver.
    seed
        Seed of the set; sample i depends on (seed, i) alone.
    dtype
        "float32" or "float64", to store; solved in float64.
    batch_size
        Samples solved together.
    shard
        Make only this share, "2/4" for the second of four, in a file of its own beside `output`.
        Without it the samples of the shares found there are taken, only the others solved.
    progress
        Show a bar that counts samples.
    exist_ok
        Return at once when the file to make holds just these samples.

    Returns
    -------
    Path
        `output`, or the file of the share.

    Raises
    ------
    FileExistsError, OSError
        As `generate`.
    ValueError
        When an argument is out of range, the grid does not resolve the solution, or as `generate`.

    Notes
    -----
    Solved by `BurgersNeumann`; for the default values the relative error at t = 1 is below 5e-7
    (twenty samples against an eighth of the step on half as many points more). Half waves: the
    authors' generator (data_generation/burgers-neumann of spectral_operator_learning) draws a field
    on [0, 1] whose coordinate is (x + 1)/2.

    References
    ----------
    Liu et al., SPFNO, arXiv 2312.06980; Liu et al., OPNO, arXiv 2206.12698, section 4.1.
    """
    times, precision = frame_times(t_end, n_times), stored_dtype(dtype)
    solver = BurgersNeumann(grid, viscosity=viscosity)
    resolution = positive_int("resolution", resolution, minimum=2)
    n_modes = positive_int("n_modes", n_modes, minimum=2)
    if 2 * n_modes > grid:
        rule = f"`n_modes` must be at most half of `grid`, {grid}"
        raise ValueError(message(rule, n_modes, "Lower `n_modes`."))
    stored = torch.linspace(-1.0, 1.0, resolution, dtype=torch.float64)
    to_stored = solver.interpolation(stored).T.contiguous()
    stride = 2 if whole_waves else 1  # whole waves are every second half wave
    waves = torch.arange(1, n_modes // stride + 1, dtype=torch.float64)
    deviation = SIGMA / ((math.pi * waves) ** 2 + TAU**2)

    def initial(samples: range, points: Tensor) -> Tensor:
        coefficients = torch.zeros(len(samples), n_modes, dtype=torch.float64)
        for row, sample in zip(coefficients, samples, strict=True):
            noise = sample_rng(seed, sample).standard_normal(len(waves))
            row[stride - 1 :: stride][: len(waves)] = deviation * torch.from_numpy(noise)
        return evaluate_series(coefficients, [(points + 1) / 2], kind="cosine")

    def solve(samples: range, advance: Advance) -> Tensor:
        u0 = initial(samples, solver.points)
        u, _ = solver.solve(u0, dt=dt, record_times=times[1:], progress=advance)
        # (n, T − 1, grid) -> (n, T, resolution) -> (n, T, 1, resolution)
        first = initial(samples, stored)[:, None]
        return torch.cat([first, u @ to_stored], dim=1)[:, :, None]

    parameters: dict[str, Any] = {
        "equation": "u_t + (u²/2)_x = ν u_xx on [−1, 1], u_x = 0 at the ends",
        "viscosity": float(viscosity),
        "initial": {"sigma": SIGMA, "tau": TAU, "n_modes": n_modes, "whole_waves": whole_waves},
        "grid": [grid],
        "t_end": float(t_end),
        "dt": float(dt),
        "dtype": dtype,
    }
    layout = FieldLayout(("u",), n_samples, n_times, (resolution,), (2.0,), ("neumann",), times)
    problem = Problem(
        "burgers_neumann", layout, parameters, solve, batch_size, precision, [stored.numpy()]
    )
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)
