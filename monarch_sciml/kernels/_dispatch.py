"""When a kernel with its own backward pass must step aside, and in which precision it works."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad


def needs_plain_operations(*tensors: Tensor) -> bool:
    """Whether a transform of torch.func, forward-mode autograd or the compiler is at work."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    if getattr(forward_ad, "_current_level", 0) < 0:  # outside of forward mode: the usual case
        return False
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast; entering one costs more than small products do."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
