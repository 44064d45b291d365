"""Grids with both walls among their nodes: which nodes of a finer one are stored."""

from __future__ import annotations

from monarch_sciml._checks import message, positive_int


def stored_nodes(grid: int, resolution: int | None) -> tuple[int, int]:
    """Return how many nodes to store along an axis, and each how many-th of `grid` they are."""
    resolution = grid if resolution is None else positive_int("resolution", resolution, minimum=2)
    if (grid - 1) % (resolution - 1):
        rule = f"`resolution` - 1 must divide `grid` - 1, {grid - 1}"
        raise ValueError(message(rule, resolution - 1, "Choose another `resolution`."))
    return resolution, (grid - 1) // (resolution - 1)
