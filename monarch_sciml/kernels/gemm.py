"""Real matrix products through the fastest library at hand.

Letters: m rows of the left and n rows of the right operand, k the axis they share.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# oneDNN copies a left operand that is a transposed view; below this many results MKL, which does
# not, is faster (measured on a Zen 5 core: 0.14 against 0.19 ms for 2^18, even at 2^20).
_WORTH_A_COPY = 1 << 19


def inner_products(a: Tensor, b: Tensor) -> Tensor:
    """Return a bᵀ (m, n), the inner products of the rows of a (m, k) and b (n, k), without
    gradients.

    Both operands may be transposed views.

    Notes
    -----
    Single precision on a CPU goes through oneDNN where torch has it. MKL, torch's usual choice,
    uses half of the vector width on processors of other makers: products of 14 x 64 with 64 x
    16384 run 1.5 to 2.4 times faster. Everything else is `torch.mm`. Precision follows torch's own
    settings either way.
    """
    if a.dtype == torch.float32 and a.device.type == "cpu" and b.dtype == a.dtype:
        rows_first = a.stride(1) == 1 or a.shape[0] * b.shape[0] > _WORTH_A_COPY
        if rows_first and torch.backends.mkldnn.enabled and _has_onednn():
            return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return torch.mm(a, b.t())


@functools.cache
def _has_onednn() -> bool:
    """Return whether torch's oneDNN product exists and is right: it is not part of torch's public
    API.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    a, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4).t()
    try:
        product = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(product, a @ b.t())
