"""When a kernel with a backward pass of its own must step aside."""

from __future__ import annotations

import torch
from torch import Tensor


def needs_plain_operations(*tensors: Tensor) -> bool:
    """Whether a transform of torch.func, forward-mode autograd or the compiler is at work."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return any(torch.autograd.forward_ad.unpack_dual(t).tangent is not None for t in tensors)
