"""Polynomials on an interval, given by their values at Gauss-Lobatto-Legendre nodes.

Letters: N nodes, M points elsewhere.

References: Canuto et al., Spectral Methods, Springer 2006, section 2.3; Berrut and Trefethen,
Barycentric Lagrange Interpolation, SIAM Review 46 (2004), equations 4.2 and 9.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def gauss_lobatto(n_points: int, start: float, stop: float) -> tuple[Array, Array]:
    """Return the nodes (N,), increasing, and quadrature weights (N,), exact to degree 2N − 3."""
    from scipy.special import eval_legendre, roots_jacobi

    inner = roots_jacobi(n_points - 2, 1, 1)[0]
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    weights = 2 / (n_points * (n_points - 1) * eval_legendre(n_points - 1, nodes) ** 2)
    half = (stop - start) / 2
    return start + half * (nodes + 1), half * weights


def differentiation(nodes: Array) -> Array:
    """Return the matrix (N, N) from values at the nodes to values of the derivative there."""
    differences = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(differences, 1.0)
    scale = _barycentric(nodes)
    matrix = scale[None, :] / scale[:, None] / differences
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))  # the derivative of a constant is exactly zero
    return matrix


def interpolation(nodes: Array, points: Array) -> Array:
    """Return the matrix (M, N) from values at the nodes to values at `points` of the interval."""
    differences = points[:, None] - nodes[None, :]
    exact = differences == 0
    terms = _barycentric(nodes)[None, :] / np.where(exact, 1.0, differences)
    matrix = terms / terms.sum(axis=1, keepdims=True)
    hit = exact.any(axis=1)
    matrix[hit] = exact[hit]
    return matrix


def _barycentric(nodes: Array) -> Array:
    """Return the barycentric weights of Gauss-Lobatto nodes up to a factor, (−1)^j √(quadrature
    weight).
    """
    from scipy.special import eval_legendre

    centred = 2 * (nodes - nodes[0]) / (nodes[-1] - nodes[0]) - 1
    signs = np.where(np.arange(len(nodes)) % 2, -1.0, 1.0)
    return signs / np.abs(eval_legendre(len(nodes) - 1, centred))
