"""Sensitivities of a simulated receive array, by the law of Biot and Savart."""

# Letters: c coils, g segments of a loop, ... any shape of points; last axis 3: x, y, z in mm.

from __future__ import annotations

import math

import numpy as np

SOFTENING = 15.0
"""Distance in mm added in quadrature to that from a wire, so that the field stays finite on it."""


def loop_array(n_coils: int, rng: np.random.Generator) -> np.ndarray:
    """Place overlapping circular loops on an elliptic cylinder around the head.

    Parameters
    ----------
    n_coils
        Number of loops; more than ten are placed in two staggered rows.
    rng
        Source of the size, position and angle of the array.

    Returns
    -------
    numpy.ndarray
        (c, g, 3), vertices of each loop in mm; z is the axis of the cylinder, the origin its
        centre.
    """
    n_rows = 1 if n_coils <= 10 else 2
    radii = np.array([135.0, 150.0]) * rng.uniform(0.93, 1.1, size=2)
    per_row = math.ceil(n_coils / n_rows)
    loop_radius = max(35.0, 0.58 * 2 * np.pi * radii.mean() / per_row)
    turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(-20, 20)
    coil = np.arange(n_coils)
    row = coil % n_rows
    angle = turn + 2 * np.pi * (coil + rng.normal(0, 0.05, n_coils)) / n_coils
    level = height + (row - (n_rows - 1) / 2) * 1.4 * loop_radius
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros(n_coils)], axis=-1)  # (c, 3)
    tangent = np.stack([-np.sin(angle), np.cos(angle), np.zeros(n_coils)], axis=-1)
    center = outward * np.array([*radii, 0.0])
    center[:, 2] = level
    round_loop = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]  # (g, 1)
    up = np.array([0.0, 0.0, 1.0])
    in_plane = np.cos(round_loop) * tangent[:, None] + np.sin(round_loop) * up  # (c, g, 3)
    return center[:, None] + loop_radius * in_plane


def receive_field(loops: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the receive sensitivity B_x - i B_y of each loop, up to a constant factor.

    B(p) = sum_g dl_g x (p - l_g) / |p - l_g|^3, l_g and dl_g midpoint and vector of segment g.

    Parameters
    ----------
    loops
        (c, g, 3), vertices in mm.
    points
        (..., 3), positions in mm.

    Returns
    -------
    numpy.ndarray
        (c, ...), complex128, mm^-1.
    """
    segment = np.roll(loops, -1, axis=1) - loops  # (c, g, 3)
    middle = loops + segment / 2
    flat = points.reshape(-1, 3)  # (..., 3) -> (n, 3)
    field = np.empty((len(loops), len(flat)), dtype=np.complex128)
    for c in range(len(loops)):
        away = flat[:, None] - middle[c]  # (n, g, 3)
        weight = (np.square(away).sum(-1) + SOFTENING**2) ** -1.5  # (n, g)
        dl = segment[c]
        b_x = dl[:, 1] * away[..., 2] - dl[:, 2] * away[..., 1]
        b_y = dl[:, 2] * away[..., 0] - dl[:, 0] * away[..., 2]
        field[c] = ((b_x - 1j * b_y) * weight).sum(-1)
    return field.reshape(len(loops), *points.shape[:-1])  # (c, n) -> (c, ...)
