"""Data set of flow to wells in one fixed rock: the same place, many pumping plans."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, check_medium, check_nodes
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.darcy_sources import DEGREE, DarcySources
from monarch_sciml.solvers.media import Medium

N_WAVES = 3
"""Cosines of the pressure along a side."""


@dataclass(frozen=True, kw_only=True)
class DarcySourcesProblem(FieldProblem):
    """Generate flow to wells in one fixed rock, the same for every sample.

    −∇·(k (1 + β u²) ∇u) = f in the unit square; u = g0(y) at x = 0 and g1(y) at x = 1, nothing
    flows through the other sides. f is a sum of Gaussian wells at random places that pump in or
    out; g0 and g1 are random series of cosines. Fields, one frame: `source` (f), `side_pressure`
    ((1 − x) g0 + x g1), `permeability` (k, the same in every sample) and `pressure` (u).

    Parameters
    ----------
    medium
        The permeability k of the rock, dimensionless. It has a seed of its own.
    nonlinearity
        β, growth of the permeability with the pressure; 0 makes the map linear.
    n_wells
        Number of wells.
    well_radius
        Standard deviation of the Gaussian of a well, a share of the side.
    well_rate
        Standard deviation of the volume that a well pumps in a unit of time.
    grid
        Nodes along each axis to solve on: one more than a multiple of 4, or of 4
        `medium.n_layers` for a layered medium; more than `resolution`, at least one within
        `well_radius`, and 2.5 within the correlation length of a smooth medium.
    resolution
        Evenly spaced points to store along each axis, sides included. Sets of one seed show the
        same flows at every resolution.

    Notes
    -----
    Solved by spectral elements of degree 4 and evaluated at the stored points. The relative error
    is 6e-6 for the default values and 1e-3 for wells of one node (against 257 nodes). Name the
    fields to PairModule: input_fields ["source", "side_pressure"], with "permeability" or without
    it, target_fields ["pressure"].
    """

    name: ClassVar[str] = "darcy_sources"
    equation: ClassVar[str] = (
        "−∇·(k (1 + β u²) ∇u) = f, u = g at x = 0 and 1, closed at y = 0 and 1"
    )

    medium: Medium = field(default_factory=lambda: Medium(contrast=1.0))
    nonlinearity: float = 3.0
    n_wells: int = 6
    well_radius: float = 0.05
    well_rate: float = 2.0
    grid: int = 97
    resolution: int = 65

    def __post_init__(self) -> None:
        positive_int("grid", self.grid, minimum=2 * DEGREE + 1)
        if self.grid % DEGREE != 1:
            rule = f"`grid` must be one more than a multiple of {DEGREE}"
            better = -(-(self.grid - 1) // DEGREE) * DEGREE + 1
            raise ValueError(message(rule, self.grid, f"Take {better}."))
        positive_int("resolution", self.resolution, minimum=3)
        positive_int("n_wells", self.n_wells)
        for name in ("well_radius", "well_rate"):
            positive_number(name, getattr(self, name))
        if self.grid <= self.resolution:
            rule = f"`grid` must exceed `resolution`, {self.resolution}"
            raise ValueError(message(rule, self.grid, "Raise `grid`."))
        check_nodes("well_radius", self.well_radius, self.grid, 1.0)
        check_medium(self.grid, self.grid // DEGREE, DEGREE, self.medium)
        self._solver  # noqa: B018 - checks the medium and the grid

    @cached_property
    def _permeability(self) -> Any:
        return self.medium.function((self.resolution,) * 2, periodic=False)

    @cached_property
    def _solver(self) -> DarcySources:
        return DarcySources(self.grid, self._permeability, nonlinearity=self.nonlinearity)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return wells, sides, rock and pressure on the stored grid."""
        names = "source side_pressure permeability pressure"
        layout = box_layout(names, n_samples, (self.resolution,) * 2, "dirichlet")
        return replace(layout, boundary=("dirichlet", "neumann"))

    def parameters(self) -> dict[str, Any]:
        """Return rock, wells, sides and resolution of the solver."""
        wells = {"n": self.n_wells, "radius": self.well_radius, "rate": self.well_rate}
        return {
            "medium": self.medium.parameters((self.resolution,) * 2),
            "nonlinearity": float(self.nonlinearity),
            "wells": wells,
            "sides": {"n_waves": N_WAVES},
            "grid": [self.grid, self.grid],
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve at the nodes of the elements and evaluate at the stored points."""
        solver = self._solver
        stored = torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)
        to_stored = solver.interpolation(stored)
        draws = [_draw(rng, self.n_wells) for rng in batch.rngs()]
        source, sides = self._inputs(draws, solver.points)
        pressure = to_stored @ solver.solve(source, sides) @ to_stored.T
        source, sides = self._inputs(draws, stored)
        between = (1 - stored)[:, None] * sides[:, :1] + stored[:, None] * sides[:, 1:]
        rock = self._permeability(stored, stored).expand_as(pressure)
        # F of (n, resolution, resolution) -> (n, 1, F, resolution, resolution)
        return torch.stack([source, between, rock, pressure], dim=1)[:, None]

    def _inputs(self, draws: list[dict[str, np.ndarray]], x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate wells (n, N, N) and pressure at the sides (n, 2, N) at points of each axis."""
        points = x.numpy()
        sources, sides = [], []
        waves = np.cos(np.pi * np.arange(N_WAVES + 1)[:, None] * points)
        for draw in draws:
            # (w, N) for each axis
            bells = np.exp(-(((points - draw["places"][..., None]) / self.well_radius) ** 2) / 2)
            rates = self.well_rate * draw["rates"] / (2 * np.pi * self.well_radius**2)
            sources.append(np.einsum("w,wx,wy->xy", rates, bells[:, 0], bells[:, 1]))
            sides.append(draw["sides"] @ waves)
        return torch.from_numpy(np.stack(sources)), torch.from_numpy(np.stack(sides))


def _draw(rng: np.random.Generator, n_wells: int) -> dict[str, np.ndarray]:
    """Draw places (w, 2) and rates (w,) of the wells, and the cosines (2, m) of both sides."""
    return {
        "places": rng.uniform(0.1, 0.9, (n_wells, 2)),
        "rates": rng.standard_normal(n_wells),
        "sides": rng.standard_normal((2, N_WAVES + 1)) / (1 + np.arange(N_WAVES + 1)),
    }
