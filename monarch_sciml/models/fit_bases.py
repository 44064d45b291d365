"""Fit the POD bases of networks with transform="pod" or init="pod" to training data.

Letters: S fields, n_i grid sizes, K modes, n points in all.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.transforms import CorrectedTransform, PODTransform, pod_basis


def needs_bases(model: nn.Module) -> bool:
    """Return whether a network has a POD transform without a basis."""
    return any(not transform.is_fitted for transform in _transforms(model))


def fit_bases(model: nn.Module, fields: Tensor) -> None:
    """Fit every POD transform of a network to training fields.

    Parameters
    ----------
    model
        Any network. One without POD transforms is left as it is.
    fields
        Inputs and targets (S, n_1, ..., n_d) of comparable size. For a layer on a padded grid they
        are padded with equally many zeros on both sides.

    Raises
    ------
    ValueError
        When the grid of a layer is smaller than that of the fields or has other axes, or there are
        fewer independent fields than modes.
    """
    bases: dict[tuple[tuple[int, ...], int], Tensor] = {}
    for transform in _transforms(model):
        key = transform.grid_shape, transform.n_modes
        if key not in bases:
            bases[key] = pod_basis(_padded(fields, transform.grid_shape), transform.n_modes)
        transform.fit(bases[key])
    for module in model.modules():
        if isinstance(module, CorrectedTransform) and isinstance(module.start, PODTransform):
            module.follow_start()


def _transforms(model: nn.Module) -> list[PODTransform]:
    return [module for module in model.modules() if isinstance(module, PODTransform)]


def _padded(fields: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Pad fields to a larger grid with equally many zeros on both sides."""
    sizes = tuple(fields.shape[1:])
    missing = [m - n for n, m in zip(sizes, grid)]
    if len(sizes) != len(grid) or any(gap < 0 or gap % 2 for gap in missing):
        rule = f"the fields must have the grid {grid} of the network's layers, or one that pads to"
        remedy = "Build the network for the grid of the data."
        raise ValueError(message(f"{rule} it", sizes, remedy))
    return F.pad(fields, [gap // 2 for gap in reversed(missing) for _ in range(2)])
