"""Spectral elements on the unit interval: polynomials of one degree on equal elements.

Letters: E elements of degree p, N nodes (E p when periodic, else E p + 1), L = E (p + 1) nodes of
one element after the other.

References: Canuto et al., Spectral Methods, Springer 2006, section 5.3; Komatitsch and Tromp,
Geophysical Journal International 139 (1999), equations 16 to 26 (waves).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.solvers.legendre import Array, differentiation, gauss_lobatto, interpolation

_INSIDE = 1e-9


class SpectralElements:
    """Hold the nodes, the quadrature and the derivative of equal spectral elements on [0, 1].

    Neighbouring elements share the node between them; a periodic interval shares its ends too. The
    Gauss-Lobatto quadrature makes the mass matrix diagonal.

    Parameters
    ----------
    n_elements
        E, at least 2.
    degree
        p, at least 2.
    periodic
        Whether 1 is the same point as 0.

    Attributes
    ----------
    points
        Nodes (N,), increasing.
    weights
        Quadrature weights (N,) of the nodes, the diagonal of the mass matrix.
    local_points, local_weights
        Nodes (L,) and weights (L,) of one element after the other. The nodes lie inside their
        element by a share of 1e-9, so that a medium may jump where two elements meet.
    sharing
        Sparse matrix (L, N) from values at the nodes to values at the local nodes; its transpose
        adds up the values of the local nodes at each node.
    derivative
        Sparse matrix (L, N) from values at the nodes to the derivative at the local nodes.

    Examples
    --------
    >>> axis = SpectralElements(4, degree=3, periodic=False)
    >>> x = axis.points
    >>> bool(np.allclose(axis.derivative @ x**2, 2 * axis.local_points))
    True
    """

    def __init__(self, n_elements: int, *, degree: int, periodic: bool) -> None:
        from scipy.sparse import block_diag, csr_array

        self.n_elements = positive_int("n_elements", n_elements, minimum=2)
        self.degree = positive_int("degree", degree, minimum=2)
        self.n_points = n_elements * degree + (0 if periodic else 1)
        self._nodes, weights = gauss_lobatto(degree + 1, 0.0, 1.0 / n_elements)
        self._matrix = differentiation(self._nodes)
        starts = np.arange(n_elements)[:, None] / n_elements
        local = starts + self._nodes  # (E, p + 1)
        self.points: Array = np.append(local[:, :-1], [] if periodic else 1.0)
        centres = starts + 0.5 / n_elements
        self.local_points: Array = (local + _INSIDE * (centres - local)).ravel()
        self.local_weights: Array = np.tile(weights, n_elements)
        # (E, 1) + (p + 1,) -> (L,)
        owner = (degree * np.arange(n_elements)[:, None] + np.arange(degree + 1)).ravel()
        n_local = len(owner)
        ones, rows = np.ones(n_local), np.arange(n_local)
        self.sharing: Any = csr_array(
            (ones, (rows, owner % self.n_points)), shape=(n_local, self.n_points)
        )
        self.derivative: Any = block_diag([self._matrix] * n_elements, format="csr") @ self.sharing
        self.weights: Array = self.sharing.T @ self.local_weights

    @property
    def largest_eigenvalue(self) -> float:
        """Return a bound of ∫ u_x² / ∫ u² over the functions of these elements, by their
        quadrature.

        The largest eigenvalue of one element alone bounds that of all elements joined.
        """
        mass = self.local_weights[: self.degree + 1]
        stiffness = self._matrix.T @ (mass[:, None] * self._matrix)
        return float(np.linalg.eigvalsh(stiffness / np.sqrt(np.outer(mass, mass)))[-1])

    def positive(self, name: str, function: Callable[..., Tensor], *, n_dims: int) -> Array:
        """Return a positive function at the local nodes of a box, (L, ..., L).

        Parameters
        ----------
        name
            Name of the function, for messages.
        function
            Function of the coordinates (L,) along each axis, on their tensor grid.
        n_dims
            Number of axes.

        Raises
        ------
        ValueError
            When it returns another shape, or a value is not positive and finite.
        """
        values = function(*[torch.from_numpy(self.local_points)] * n_dims).double().numpy()
        shape = (len(self.local_points),) * n_dims
        if values.shape != shape:
            rule = f"{name} must be given on the tensor grid of its coordinates, {shape}"
            raise ValueError(message(rule, values.shape, "Return (n_1, ..., n_d)."))
        bad = int((~(np.isfinite(values) & (values > 0))).sum())
        if bad:
            rule = f"{name} must be positive and finite everywhere"
            raise ValueError(message(rule, f"{bad} other values", "Correct the medium."))
        return values

    def interpolation(self, points: Array) -> Array:
        """Return the matrix (M, N) from values at the nodes to values at points (M,) of [0, 1]."""
        if points.min() < 0 or points.max() > 1:
            rule = "`points` must lie in [0, 1]"
            got = [float(points.min()), float(points.max())]
            raise ValueError(message(rule, got, "Scale them."))
        element = np.minimum((points * self.n_elements).astype(int), self.n_elements - 1)
        matrix = np.zeros((len(points), self.n_points))
        for row, (point, first) in enumerate(zip(points, element, strict=True)):
            columns = (first * self.degree + np.arange(self.degree + 1)) % self.n_points
            within = np.array([point - first / self.n_elements])
            matrix[row, columns] = interpolation(self._nodes, within)[0]
        return matrix
