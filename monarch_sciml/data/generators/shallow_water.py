"""Data set of many waves over one fixed sea floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, divisor, frame_times, smoothness
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.media import Medium
from monarch_sciml.solvers.random_series import evaluate_series, random_sine_series
from monarch_sciml.solvers.shallow_water import ShallowWater


@dataclass(frozen=True, kw_only=True)
class ShallowWaterProblem(FieldProblem):
    """Generate long waves over one fixed sea floor between walls, the same for every sample.

    The non-linear shallow-water equations h_t + ∇·(h u) = 0, (h u)_t + ∇·(h u ⊗ u + g h² I / 2) =
    g h ∇H in the unit interval or square, u·n = 0 on the walls, H the depth at rest. The surface
    η = h − H starts at rest as a Gaussian random series of cosines, covariance ∝
    (−Δ + τ² I)^(−α). Fields: `surface` (η), the discharge `discharge_x` and, in the square,
    `discharge_y` (h u), and `depth` (H, the same in every sample and frame).

    Parameters
    ----------
    medium
        The depth H of the basin at rest, in sides of the box. It has a seed of its own. A given
        depth is that at the centres of the stored cells.
    gravity
        Gravity g in sides of the box per unit of time squared.
    amplitude
        Root mean square of the initial surface, as a share of the mean depth. If a trough is deeper
        than the water, the floor is dry there.
    grid
        Cells along each axis to solve on.
    resolution
        Cells along each axis to store, a divisor of `grid`; None stores all. A stored cell holds
        the mean of its finer cells, so that sets of one seed and grid show the same waves.
    n_modes
        Cosines of the initial surface along each axis.
    alpha
        Smoothness of the initial surface, above half the number of axes for a continuous limit.
    tau
        Inverse length scale of the initial surface.

    Notes
    -----
    The solver `ShallowWater` uses finite volumes of order 2 that keep a lake at rest and the depth
    positive; the stored coordinates are the centres of the cells. A sample of the default set takes
    about 5 s. `PairModule` needs the names of the fields: input_fields ["surface"] or ["surface",
    "depth"], target_fields ["surface"], input_frame 0, target_frame -1.
    """

    name: ClassVar[str] = "shallow_water"
    equation: ClassVar[str] = "h_t + ∇·(h u) = 0, (h u)_t + ∇·(h u ⊗ u + g h² I / 2) = g h ∇H"
    usual_batch_size: ClassVar[int] = 10

    medium: Medium = field(default_factory=lambda: Medium(contrast=0.6))
    n_dims: int = 2
    gravity: float = 1.0
    amplitude: float = 0.1
    grid: int = 128
    resolution: int | None = 64
    n_modes: int = 8
    alpha: float = 3.0
    tau: float = 7.0
    t_end: float = 0.5
    n_times: int = 2

    def __post_init__(self) -> None:
        one_of("n_dims", self.n_dims, (1, 2))
        positive_int("grid", self.grid, minimum=4)
        positive_number("gravity", self.gravity)
        positive_number("amplitude", self.amplitude)
        smoothness(self.alpha, self.tau)
        self.layout(1)
        if 2 * positive_int("n_modes", self.n_modes) > self.grid:
            rule = f"`n_modes` must be at most half of `grid`, {self.grid}"
            raise ValueError(message(rule, self.n_modes, "Lower `n_modes`."))
        self._solver  # noqa: B018 - checks the medium

    @property
    def _stored(self) -> int:
        return divisor(self.resolution, self.grid)

    @cached_property
    def _centres(self) -> Tensor:
        return (torch.arange(self.grid, dtype=torch.float64) + 0.5) / self.grid

    @cached_property
    def _depth(self) -> Tensor:
        """The depth H in the cells."""
        shape = (self._stored,) * self.n_dims
        function = self.medium.function(shape, periodic=False, cell_centres=True)
        return function(*[self._centres] * self.n_dims)

    @cached_property
    def _solver(self) -> ShallowWater:
        return ShallowWater(-self._depth, gravity=self.gravity)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of surface, discharge and depth in the stored cells."""
        names = " ".join(["surface", *("discharge_x", "discharge_y")[: self.n_dims], "depth"])
        times, shape = frame_times(self.t_end, self.n_times), (self._stored,) * self.n_dims
        return box_layout(names, n_samples, shape, "wall", times=times, constant=("depth",))

    def coordinates(self) -> list[np.ndarray]:
        """Return the centres of the stored cells."""
        return [(np.arange(self._stored) + 0.5) / self._stored] * self.n_dims

    def parameters(self) -> dict[str, Any]:
        """Return depth, gravity, initial surface and resolution of the solver."""
        modes = {"n_modes": [self.n_modes] * self.n_dims, "amplitude": float(self.amplitude)}
        return {
            "medium": self.medium.parameters((self._stored,) * self.n_dims),
            "gravity": float(self.gravity),
            "initial": {**smoothness(self.alpha, self.tau), **modes},
            "grid": [self.grid] * self.n_dims,
            "points": "cell centres",
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve from rest and take the means over the finer cells of each stored cell."""
        d, depth = self.n_dims, self._depth
        options, modes = smoothness(self.alpha, self.tau), (self.n_modes,) * d
        drawn = [random_sine_series(modes, rng=rng, **options) for rng in batch.rngs()]
        surface = evaluate_series(torch.stack(drawn), [self._centres] * d, kind="cosine")
        water = (depth + self.amplitude * self.medium.mean * surface).clamp_min(0.0)
        times = frame_times(self.t_end, self.n_times)
        fields, _ = self._solver.solve(water, record_times=times, progress=batch.advance)
        fields[:, :, 0] -= depth
        still = depth.expand(*fields.shape[:2], 1, *depth.shape)
        fields = torch.cat([fields, still], dim=2)
        for axis in range(d):
            # means over the finer cells: (..., grid, ...) -> (..., resolution, block, ...)
            fields = fields.unflatten(3 + axis, (self._stored, -1)).mean(dim=4 + axis)
        return fields
