"""Steady flow in the lid-driven cavity, computed from its stream function.

Letters: B samples, n x n nodes with the walls among them (axis -2 is x, axis -1 is y, the lid is
y = 1); 4 values at a node: ψ, ψ_x, ψ_y, ψ_xy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.sparse.linalg import splu
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.solvers.bicubic import laplacian, refined, stream_function_forms

_STEP = 1e-8  # largest last correction relative to the solution
_MAX_STEPS = 40
_REUSE = 0.05  # keep a factorisation that makes the residual this much smaller
_COARSEST = 17  # nodes of the grid that starts from the Stokes flow
_HALVINGS = 4  # how often the Reynolds number is halved to find a start


class LidDrivenCavity:
    """Solve u·∇u + ∇p = Δu / Re, ∇·u = 0 in the unit square whose lid y = 1 slides along x.

    With u = ψ_y, v = −ψ_x and the vorticity −Δψ the equation is Δ²ψ / Re = u·∇Δψ + f, where f is
    the curl of a body force. Bogner-Fox-Schmit elements (bicubic, C¹), assembled by scikit-fem: the
    velocity has no divergence at any point. Newton's method with a line search, started from the
    flow on a grid of half as many cells, the coarsest from the Stokes flow. The errors of ψ and, at
    the nodes, of u and v are O(h⁴) for a lid that comes to rest smoothly at its ends.

    Parameters
    ----------
    n_points
        Number n of nodes along each axis, at least 5. With n = 2^m + 1 there are the most coarser
        grids to start from.

    Raises
    ------
    ValueError
        When `n_points` is too small.

    Notes
    -----
    Velocity and vorticity of a lid of constant speed jump at its ends: then the error at a distance
    from the corners is still small (Re = 100, 65 nodes: 2e-6 in the velocity at the centre). For
    smooth lids of speed 1 and Re 100 / 300 / 500 the relative error against 129 nodes is 8e-5 /
    4e-4 / 2e-3 with 33 nodes, 5e-6 / 3e-5 / 1e-4 with 65. The factorisations, O(n³), take most of
    the time. No fluid crosses the walls, where ψ = 0. The pressure is not computed.

    References
    ----------
    Ghia, Ghia and Shin, J. Comput. Phys. 48 (1982) 387, tables I and II (the test); Bogner, Fox and
    Schmit, Proc. Conf. Matrix Methods in Struct. Mech. 1966 (the element).

    Examples
    --------
    >>> lid = 16 * (x := torch.linspace(0, 1, 17)) ** 2 * (1 - x) ** 2
    >>> stream, velocity = LidDrivenCavity(17).solve(lid[None], reynolds=100.0)
    >>> stream.shape, velocity.shape
    (torch.Size([1, 17, 17]), torch.Size([1, 2, 17, 17]))
    """

    def __init__(self, n_points: int) -> None:
        import skfem

        self.n_points = positive_int("n_points", n_points, minimum=5)
        n_cells = self.n_points - 1
        self._coarse = None
        if n_cells % 2 == 0 and n_cells // 2 + 1 >= _COARSEST:
            self._coarse = LidDrivenCavity(n_cells // 2 + 1)
        self.nodes = np.linspace(0.0, 1.0, self.n_points)
        mesh: Any = skfem.MeshQuad.init_tensor(self.nodes, self.nodes)
        self._basis: Any = skfem.Basis(mesh, skfem.ElementQuadBFS(), intorder=9)
        # (4, n, n): number of the unknown that holds each of the values at node [i, j]
        order = np.lexsort((mesh.p[1], mesh.p[0]))
        self._unknown = self._basis.nodal_dofs[:, order].reshape(4, self.n_points, self.n_points)
        self._inner = self._unknown[:, 1:-1, 1:-1].ravel()
        self._on_wall = np.pad(
            np.zeros((n_cells - 1, n_cells - 1), dtype=bool), 1, constant_values=True
        )
        self._forms = stream_function_forms()
        self._viscous: Any = self._forms["viscous"].assemble(self._basis)
        self._stokes: Any = None if self._coarse else self._factors(self._viscous)

    def solve(
        self, lid: Tensor, *, reynolds: float | Tensor, forcing: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the stream function and the velocity at the nodes.

        Parameters
        ----------
        lid
            Speed (B, n) of the lid at its nodes. The corners belong to the side walls, which are at
            rest.
        reynolds
            Reynolds number Re > 0 for unit speed and length, one number or (B,).
        forcing
            Curl f of a body force at the nodes, (n, n) or (B, n, n). None is no force.

        Returns
        -------
        stream_function
            ψ (B, n, n), float64, on the CPU, zero on the walls.
        velocity
            u and v (B, 2, n, n), which at the lid and the walls are exactly the given ones.

        Raises
        ------
        ValueError
            When a shape does not fit, a value is not finite, or no steady flow is found: Re times
            the speed of the lid is then too high for a steady flow or for the grid.
        """
        lids = self._checked(lid)
        numbers = torch.as_tensor(reynolds, dtype=torch.float64)
        if tuple(numbers.shape) not in ((), (len(lids),)):
            rule = f"`reynolds` must be one number or have shape ({len(lids)},)"
            raise ValueError(message(rule, tuple(numbers.shape), "Pass one for each lid."))
        nodes = (len(lids), self.n_points, self.n_points)
        forces = [None] * len(lids)
        if forcing is not None:
            if tuple(forcing.shape) not in (nodes, nodes[1:]):
                rule = f"`forcing` must have shape {nodes[1:]} or {nodes}"
                raise ValueError(message(rule, tuple(forcing.shape), "Evaluate it at the nodes."))
            forcing = finite("forcing", forcing.double().cpu(), remedy="Check its source.")
            forces = list(forcing.expand(nodes).numpy())
        flows = []
        each = numbers.expand(len(lids)).tolist()
        for one, number, force in zip(lids, each, forces, strict=True):
            walls = self._walls(one)
            flow = self._flow(walls, positive_number("reynolds", number), force)
            if flow is None:
                rule = "a steady flow must be found"
                got = f"none for Re = {number:.4g} and a lid of speed {np.abs(one).max():.3g}"
                raise ValueError(message(rule, got, "Lower `reynolds`, or refine the grid."))
            flows.append(flow)
        values = torch.from_numpy(np.stack(flows))  # (B, 4, n, n)
        return values[:, 0], torch.stack([values[:, 2], -values[:, 1]], dim=1)

    def _checked(self, lid: Tensor) -> np.ndarray:
        if lid.ndim != 2 or lid.shape[1] != self.n_points:
            rule = f"`lid` must have shape (n_samples, {self.n_points})"
            raise ValueError(message(rule, tuple(lid.shape), "Evaluate it at the nodes."))
        return finite("lid", lid.detach().cpu().double(), remedy="Check its source.").numpy()

    def _walls(self, lid: np.ndarray) -> np.ndarray:
        """Return values (4, n, n) that are zero except for ψ_y and ψ_xy on the lid."""
        walls = np.zeros((4, self.n_points, self.n_points))
        walls[2, 1:-1, -1] = lid[1:-1]
        walls[3, 1:-1, -1] = CubicSpline(self.nodes, lid)(self.nodes[1:-1], 1)
        return walls

    def _flow(
        self, walls: np.ndarray, reynolds: float, force: np.ndarray | None, halvings: int = 0
    ) -> np.ndarray | None:
        """Return the values (4, n, n) of the steady flow, None when Newton's method fails."""
        start = self._start(walls, reynolds, force)
        flow = None if start is None else self._newton(start, 1 / reynolds, self._load(force))
        if flow is None and halvings < _HALVINGS:
            slower = self._flow(walls, reynolds / 2, force, halvings + 1)
            if slower is not None:
                flow = self._newton(slower, 1 / reynolds, self._load(force))
        return flow

    def _start(
        self, walls: np.ndarray, reynolds: float, force: np.ndarray | None
    ) -> np.ndarray | None:
        """Return the flow on the coarser grid, refined, or the Stokes flow, with these walls."""
        if self._coarse is not None:
            thin = None if force is None else force[::2, ::2]
            flow = self._coarse._flow(walls[:, ::2, ::2], reynolds, thin, _HALVINGS - 2)
            if flow is None:
                return None
            start = refined(flow, 1 / (self._coarse.n_points - 1))
            return np.where(self._on_wall, walls, start)
        vector = self._vector(walls)
        force_term = reynolds * self._load(force)
        residual = (self._viscous @ vector - force_term)[self._inner]
        vector[self._inner] -= self._stokes.solve(residual)
        return vector[self._unknown]

    def _newton(self, start: np.ndarray, viscosity: float, load: Any) -> np.ndarray | None:
        """Improve the flow until a correction is below _STEP; None when that does not happen."""
        vector, factors, before = self._vector(start), None, np.inf
        residual, state = self._residual(vector, viscosity, load)
        for _ in range(_MAX_STEPS):
            size = np.linalg.norm(residual)
            if factors is None or size > _REUSE * before:
                matrix = self._forms["jacobian"].assemble(self._basis, **state)
                factors = self._factors(viscosity * self._viscous + matrix)
            correction, share = factors.solve(residual), 1.0
            step = np.linalg.norm(correction) / max(float(np.linalg.norm(vector)), 1e-300)
            while True:
                trial = vector.copy()
                trial[self._inner] -= share * correction
                residual, state = self._residual(trial, viscosity, load)
                if np.linalg.norm(residual) < size or step < 1e3 * _STEP:
                    break
                share /= 2
                if share < 1 / 64:
                    return None
            vector, before = trial, size
            if step < _STEP:
                return vector[self._unknown]
        return None

    def _residual(self, vector: np.ndarray, viscosity: float, load: Any) -> tuple[np.ndarray, Any]:
        flow = self._basis.interpolate(vector)
        state = {"flow": flow, "vorticity": -laplacian(flow)}
        advection = self._forms["advection"].assemble(self._basis, **state)
        return (viscosity * (self._viscous @ vector) + advection - load)[self._inner], state

    def _load(self, force: np.ndarray | None) -> Any:
        """Return the work of the force on the basis functions, with cubic splines between the
        nodes.
        """
        if force is None:
            return np.zeros(self._basis.N)
        spline = RectBivariateSpline(self.nodes, self.nodes, force)
        points = np.asarray(self._basis.global_coordinates())
        values = spline(points[0], points[1], grid=False)
        return self._forms["load"].assemble(self._basis, force=values)

    def _vector(self, values: np.ndarray) -> np.ndarray:
        vector = np.zeros(self._basis.N)
        vector[self._unknown] = values
        return vector

    def _factors(self, matrix: Any) -> Any:
        """Factorise the rows and columns of the inner nodes; pivots on the diagonal suffice."""
        inner = matrix[self._inner][:, self._inner].tocsc()
        return splu(inner, permc_spec="COLAMD", diag_pivot_thresh=0.0)
