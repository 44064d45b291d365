"""Make PyTorch compute the same bits every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic_algorithms(*, on: bool = True) -> Iterator[None]:
    """Use deterministic algorithms only, and put the settings back at the end.

    An operation that has none raises RuntimeError, which names it. On a CPU the kernels of this
    package and PyTorch are deterministic for a given number of threads; on a GPU some scatter and
    interpolation gradients are not without this.

    Parameters
    ----------
    on
        False changes nothing.

    Notes
    -----
    cuBLAS reads CUBLAS_WORKSPACE_CONFIG when a process first uses the GPU; it is set here if it is
    not set. TF32 is left as it is: it is less exact, but deterministic.
    """
    if not on:
        yield
        return
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )
    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[2:]
