"""The slow reference of the full two-factor Monarch transform. Letters as in `blocks`."""

from __future__ import annotations

import torch
from torch import Tensor


def reference_monarch_blocks(x: Tensor, first: Tensor, second: Tensor, synthesis: bool) -> Tensor:
    """Compute `monarch_blocks` along axis -2 of x (S, n, J) by einsum: the slow reference."""
    if synthesis:
        n_1, n_2 = first.shape[:2]
        x = x.unflatten(1, (n_2, n_1))  # (S, k_2, k_1, J)
        y = torch.einsum("kxl,slkj->skxj", first, x)  # l = k_2: (S, k_1, x_2, J)
        return torch.einsum("xyk,skxj->syxj", second, y).flatten(1, 2)  # y = x_1
    n_2, n_1 = first.shape[:2]
    x = x.unflatten(1, (n_1, n_2))  # (S, x_1, x_2, J)
    y = torch.einsum("xky,syxj->skxj", first, x)  # y = x_1: (S, k_1, x_2, J)
    return torch.einsum("klx,skxj->slkj", second, y).flatten(1, 2)  # l = k_2
