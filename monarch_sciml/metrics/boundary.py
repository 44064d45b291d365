"""Errors of fields at the boundary of the grid, and against the distance from it.

Letters: B samples, T time steps, F fields, then the grid: (B, T, F, *grid); D distances.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.metrics.checks import check_shapes


def boundary_rmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the RMSE over the outermost grid points, averaged over times and fields.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit, at least 2 points along each grid axis.

    Returns
    -------
    Errors (B,), in the unit of the fields.

    Raises
    ------
    ValueError
        When the shapes differ or there is no grid axis.

    Notes
    -----
    Every face counts all its points, so that a corner of a square counts twice.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendix B (bRMSE).
    """
    check_shapes(prediction, target)
    squared = (prediction - target).abs().square()
    total = torch.zeros_like(squared.flatten(3)[..., 0])
    n_points = 0
    for axis in range(3, squared.ndim):
        for end in (0, -1):
            face = squared.select(axis, end).reshape(*total.shape, -1)  # (B, T, F, face points)
            total = total + face.sum(dim=-1)
            n_points += face.shape[-1]
    return (total / n_points).sqrt().mean(dim=(1, 2))


def boundary_profile(
    prediction: Tensor, target: Tensor, *, axes: Sequence[int] | None = None
) -> Tensor:
    """Compute the RMSE over the points at each distance from the boundary.

    The distance of a point is d = min over axes of min(i, n - 1 - i), in grid points, i its index
    along an axis of n points: 0 on the boundary, 1 on the points next to it.

    Parameters
    ----------
    prediction, target
        Fields (B, T, F, *grid), same unit.
    axes
        Grid axes that end in a boundary, 0 the first; leave out the periodic ones. All by default.

    Returns
    -------
    Errors (B, D), averaged over times and fields, in the unit of the fields; D is half the number
    of points (rounded up) of the shortest of the axes.

    Raises
    ------
    ValueError
        When the shapes differ, there is no grid axis, or `axes` is empty or names another.

    Examples
    --------
    >>> error = torch.zeros(1, 1, 1, 5)
    >>> error[..., 0] = 1.0
    >>> boundary_profile(error, torch.zeros_like(error)).round(decimals=3)
    tensor([[0.7070, 0.0000, 0.0000]])
    """
    check_shapes(prediction, target)
    grid = prediction.shape[3:]
    chosen = range(len(grid)) if axes is None else axes
    if not len(chosen) or not all(0 <= axis < len(grid) for axis in chosen):
        rule = f"`axes` must name grid axes, 0 to {len(grid) - 1}, at least one"
        raise ValueError(message(rule, tuple(chosen), "Pass the axes that are not periodic."))
    distance = torch.full(grid, max(grid), device=prediction.device)
    for axis in chosen:
        index = torch.arange(grid[axis], device=prediction.device)
        shape = [-1 if other == axis else 1 for other in range(len(grid))]
        nearest = torch.minimum(index, index.flip(0)).reshape(shape)  # (n,) -> (1, ..., n, ..., 1)
        distance = torch.minimum(distance, nearest)
    shells = distance.flatten()
    squared = (prediction - target).abs().square().flatten(3)  # (B, T, F, points)
    sums = squared.new_zeros((*squared.shape[:-1], int(shells.max()) + 1))
    counts = torch.bincount(shells).to(squared.dtype)
    means = sums.index_add_(-1, shells, squared) / counts  # (B, T, F, D)
    return means.sqrt().mean(dim=(1, 2))
