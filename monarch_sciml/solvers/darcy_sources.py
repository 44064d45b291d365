"""Flow to wells in one fixed rock whose permeability grows with the pressure.

Letters: B samples, N nodes and L local nodes along each of both axes, K = N².
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.solvers.legendre import Array
from monarch_sciml.solvers.spectral_elements import SpectralElements

DEGREE = 4
"""Degree of the elements; the number of nodes along an axis is a multiple of it, plus one."""


class DarcySources:
    """Solve −∇·(k (1 + β u²) ∇u) = f in the unit square between two sides of given pressure.

    u = g0(y) at x = 0 and g1(y) at x = 1; nothing flows through the sides y = 0 and y = 1. With
    v = u + β u³ / 3 the problem is −∇·(k ∇v) = f, which spectral elements of degree 4 and one
    factorisation of the rock solve for every sample.

    Parameters
    ----------
    n_points
        Nodes along each axis: one more than a multiple of 4, at least 9.
    permeability
        Function of the coordinates (n_1,) and (n_2,) that returns k > 0 on their tensor grid.
    nonlinearity
        β ≥ 0.

    Raises
    ------
    ValueError
        When an argument is out of range, or the permeability is not positive and finite on its
        tensor grid.

    Notes
    -----
    A smooth solution converges with order 4 and better. Whatever the wells, there is one solution:
    v grows with u without bound. Cost of a sample: two triangular solves.

    References
    ----------
    Canuto et al., Spectral Methods, Springer 2006, section 5.3; Kirchhoff, Vorlesungen über die
    Theorie der Wärme, 1894 (the substitution v).

    Examples
    --------
    >>> solver = DarcySources(17, lambda x, y: torch.ones(len(x), len(y)), nonlinearity=1.0)
    >>> sides = torch.tensor([1.0, 0.0])[:, None].expand(1, 2, 17)
    >>> solver.solve(torch.zeros(1, 17, 17), sides).shape
    torch.Size([1, 17, 17])
    """

    def __init__(
        self, n_points: int, permeability: Callable[..., Tensor], *, nonlinearity: float
    ) -> None:
        from scipy.sparse import csc_array, diags_array, kron
        from scipy.sparse.linalg import splu

        n_points = positive_int("n_points", n_points, minimum=2 * DEGREE + 1)
        self.nonlinearity = positive_number("nonlinearity", nonlinearity, or_zero=True)
        if n_points % DEGREE != 1:
            rule = f"`n_points` must be one more than a multiple of {DEGREE}"
            remedy = f"Take {-(-(n_points - 1) // DEGREE) * DEGREE + 1}."
            raise ValueError(message(rule, n_points, remedy))
        axis = SpectralElements(n_points // DEGREE, degree=DEGREE, periodic=False)
        self._axis, self.points = axis, torch.from_numpy(axis.points)
        local = axis.positive("the permeability", permeability, n_dims=2)
        weights = np.multiply.outer(axis.local_weights, axis.local_weights)
        weighted = diags_array((local * weights).ravel())
        gradients = (kron(axis.derivative, axis.sharing), kron(axis.sharing, axis.derivative))
        stiffness = csc_array(sum(g.T @ weighted @ g for g in gradients))
        self._mass = np.multiply.outer(axis.weights, axis.weights)
        # the first and the last block of N nodes lie on the sides of given pressure
        inner, n = np.s_[n_points:-n_points], n_points
        self._coupling = [stiffness[inner, :n], stiffness[inner, -n:]]
        self._factors = splu(csc_array(stiffness[inner, inner]))

    def interpolation(self, points: Tensor) -> Tensor:
        """Return the matrix (M, N) from values at the nodes to values at points (M,) of [0, 1]."""
        return torch.from_numpy(self._axis.interpolation(points.double().numpy()))

    def solve(self, source: Tensor, sides: Tensor) -> Tensor:
        """Return the pressure at the nodes.

        Parameters
        ----------
        source
            f (B, N, N) at the nodes; negative where water is pumped out.
        sides
            Pressure g0 and g1 (B, 2, N) at the nodes of the sides x = 0 and x = 1.

        Returns
        -------
        Pressure u (B, N, N), float64; axis 1 is x, axis 2 is y.

        Raises
        ------
        ValueError
            When a shape does not fit, or a value is not finite.
        """
        n, n_samples = len(self.points), len(source)
        for name, field, shape in (("source", source, (n, n)), ("sides", sides, (2, n))):
            if tuple(field.shape) != (n_samples, *shape):
                rule = f"`{name}` must have shape (n_samples, {shape[0]}, {shape[1]})"
                raise ValueError(message(rule, tuple(field.shape), "Evaluate it at the nodes."))
            finite(name, field, remedy="Check its source.")
        given = self._substitute(sides.double().numpy())
        load = (source.double().numpy() * self._mass)[:, 1:-1].reshape(n_samples, -1)
        pressure = np.empty((n_samples, n, n))
        for sample in range(n_samples):  # one by one: bits do not depend on the batch
            right = load[sample] - sum(
                coupling @ given[sample, side] for side, coupling in enumerate(self._coupling)
            )
            pressure[sample, 1:-1] = self._factors.solve(right).reshape(n - 2, n)
        pressure[:, 0], pressure[:, -1] = given[:, 0], given[:, 1]
        return torch.from_numpy(self._pressure(pressure))

    def _substitute(self, pressure: Array) -> Array:
        """Return v = u + β u³ / 3."""
        return pressure + self.nonlinearity * pressure**3 / 3

    def _pressure(self, substituted: Array) -> Array:
        """Return u of v: u = (2 / √β) sinh(arsinh(3 √β v / 2) / 3)."""
        if self.nonlinearity == 0:
            return substituted
        root = math.sqrt(self.nonlinearity)
        return 2 / root * np.sinh(np.arcsinh(1.5 * root * substituted) / 3)
