"""Wavenumbers on the product grid of several axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_modes(modes: Sequence[range]) -> Tensor:
    """Return |k|² = k_1² + ... + k_d² for the modes k_i of each axis: (K_1, ..., K_d), float64."""
    squared = torch.zeros([len(ks) for ks in modes], dtype=torch.float64)
    for axis, ks in enumerate(modes):
        k = torch.tensor(ks, dtype=torch.float64)
        # (K,) -> (K, 1, ..., 1), broadcast over the axes before it
        squared += k.square().view(-1, *[1] * (len(modes) - axis - 1))
    return squared
