"""Darcy flow through a medium of two permeabilities, the FNO paper's steady problem."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, stored_nodes
from monarch_sciml.data.generators.problem import Batch, FieldProblem
from monarch_sciml.solvers.darcy import Darcy2d
from monarch_sciml.solvers.random_fields import cosine_random_field

ALPHA, TAU, N_MODES = 2.0, 3.0, 128
"""Smoothness, inverse length scale and modes along each axis of the random field."""


@dataclass(frozen=True, kw_only=True)
class DarcyProblem(FieldProblem):
    """Generate pairs of a coefficient and the pressure of its Darcy flow, u = 0 on the walls.

    −∇·(a ∇u) = 1 in the unit square; a = `high` where ψ ≥ 0, else `low`, with
    ψ ~ N(0, (−Δ + 9 I)^(−2)), zero normal derivative at the walls. Fields: `coefficient` (the
    input) and `pressure`, one frame, at the nodes with the walls among them.

    Parameters
    ----------
    grid
        Nodes along each axis to solve on. The paper takes 421.
    resolution
        Number of nodes along each axis to store, where resolution − 1 divides grid − 1. None stores
        all. The paper stores 421, 211, 141, 106, 85.
    high
        Value of a where ψ ≥ 0.
    low
        Value of a where ψ < 0.

    Notes
    -----
    The solver takes a at the centres of the cells, the file holds it at the nodes: both are samples
    of one function, which 128² cosines describe. The paper's text says 12 and 3, its script (and
    its files) 12 and 4. A sample takes 0.03 s on 129 nodes, 0.25 s on 421.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section A.3.2.
    """

    name: ClassVar[str] = "darcy"
    equation: ClassVar[str] = "−∇·(a ∇u) = 1, u = 0 on the walls"

    grid: int = 129
    resolution: int | None = 65
    high: float = 12.0
    low: float = 4.0

    def __post_init__(self) -> None:
        positive_int("grid", self.grid, minimum=3)
        stored_nodes(self.grid, self.resolution)
        for name in ("low", "high"):
            positive_number(name, getattr(self, name))

    @cached_property
    def _solver(self) -> Darcy2d:
        return Darcy2d(self.grid)

    def layout(self, n_samples: int) -> FieldLayout:
        """Return coefficient and pressure at the nodes."""
        shape = (stored_nodes(self.grid, self.resolution)[0],) * 2
        return box_layout("coefficient pressure", n_samples, shape, "dirichlet")

    def parameters(self) -> dict[str, Any]:
        """Return both values of the coefficient, its random field and the grid."""
        return {
            "coefficient": {"high": float(self.high), "low": float(self.low)},
            "field": {"alpha": ALPHA, "tau": TAU, "n_modes": N_MODES},
            "grid": [self.grid, self.grid],
        }

    def solve(self, batch: Batch) -> Tensor:
        """Solve the samples one after the other."""
        step, fields = stored_nodes(self.grid, self.resolution)[1], []
        for generator in batch.generators():
            nodes, cells = self._coefficient(generator)
            pressure = self._solver.solve(cells[None])
            # (2, grid, grid) -> (1, 2, resolution, resolution)
            fields.append(torch.stack([nodes, pressure[0]])[None, :, ::step, ::step])
            batch.advance(1 / len(batch.samples))
        return torch.stack(fields)

    def _coefficient(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the coefficient at the nodes (n, n) and at the centres (n − 1, n − 1)."""
        n_fine = 2 * self.grid - 1  # nodes and midpoints
        psi = cosine_random_field(
            1, (n_fine, n_fine), alpha=ALPHA, tau=TAU, n_modes=N_MODES, generator=generator
        )[0]
        a = torch.where(psi >= 0, float(self.high), float(self.low)).double()
        return a[::2, ::2], a[1::2, 1::2]
