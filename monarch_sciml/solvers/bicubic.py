"""Bicubic C¹ elements for the stream function: their weak forms and their refinement.

Letters: n x n nodes with 4 values each: ψ, ψ_x, ψ_y, ψ_xy.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def laplacian(field: Any) -> Any:
    """Return the Laplacian of a scikit-fem field at the quadrature points."""
    return field.hess[0][0] + field.hess[1][1]


def stream_function_forms() -> dict[str, Any]:
    """Return the weak forms of ∫ Δψ Δq / Re + ∫ Δψ (ψ_y q_x − ψ_x q_y) = ∫ f q for all q."""
    import skfem

    def turn(flow: Any, q: Any) -> Any:
        return flow.grad[1] * q.grad[0] - flow.grad[0] * q.grad[1]

    @skfem.BilinearForm
    def viscous(p: Any, q: Any, _: Any) -> Any:
        return laplacian(p) * laplacian(q)

    @skfem.BilinearForm
    def jacobian(p: Any, q: Any, w: Any) -> Any:
        return laplacian(p) * turn(w["flow"], q) - w["vorticity"] * turn(p, q)

    @skfem.LinearForm
    def advection(q: Any, w: Any) -> Any:
        return -w["vorticity"] * turn(w["flow"], q)

    @skfem.LinearForm
    def load(q: Any, w: Any) -> Any:
        return w["force"] * q

    return {"viscous": viscous, "jacobian": jacobian, "advection": advection, "load": load}


def refined(values: np.ndarray, width: float) -> np.ndarray:
    """Evaluate bicubic elements (4, n, n) of a given width on a grid (4, 2n−1, 2n−1) of half the
    width.
    """
    value, x, y, xy = values
    value, x = _halved(value, x, width)
    y, xy = _halved(y, xy, width)
    value, y = (field.T for field in _halved(value.T, y.T, width))
    x, xy = (field.T for field in _halved(x.T, xy.T, width))
    return np.stack([value, x, y, xy])


def _halved(value: np.ndarray, slope: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Add the midpoints of cubics given by values and slopes (n, ...) along the first axis."""
    size = (2 * len(value) - 1, *value.shape[1:])
    values, slopes = np.empty(size), np.empty(size)
    values[::2], slopes[::2] = value, slope
    values[1::2] = (value[:-1] + value[1:]) / 2 + width * (slope[:-1] - slope[1:]) / 8
    slopes[1::2] = 1.5 * (value[1:] - value[:-1]) / width - (slope[:-1] + slope[1:]) / 4
    return values, slopes
