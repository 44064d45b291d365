"""The limits of the machine, with which measured speeds are compared."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from monarch_sciml.kernels.gemm import inner_products


@dataclass(frozen=True)
class Machine:
    """Measured limits of one machine with the threads in use.

    Attributes
    ----------
    copy
        Bytes per second, read plus written, of copying a tensor of 256 MiB.
    cached_copy
        Bytes per second of copying a tensor of 256 KiB, which stays in the cache.
    gemm
        Operations per second (a multiplication and an addition are two) of the product of two 1024
        x 1024 single-precision matrices by torch.mm.
    gemm_fast
        Operations per second of the same product by the fastest library in torch.
    """

    copy: float
    cached_copy: float
    gemm: float
    gemm_fast: float

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        return asdict(self)

    def seconds(self, n_bytes: float, n_operations: float) -> float:
        """Return the least time for this much traffic and arithmetic: the roofline."""
        return max(n_bytes / self.copy, n_operations / max(self.gemm, self.gemm_fast))


def measure_machine(*, repeats: int = 7, size: int = 1 << 26) -> Machine:
    """Measure the limits, each as the best of several repeats (about a second).

    Parameters
    ----------
    repeats
        Number of repeats of each measurement.
    size
        Numbers in the large tensor.
    """
    large, small = torch.ones(size), torch.ones(1 << 16)
    target, small_target = torch.empty_like(large), torch.empty_like(small)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    operations = 2.0 * 1024**3
    return Machine(
        copy=8.0 * large.numel() / _best(lambda: target.copy_(large), repeats),
        cached_copy=8.0 * small.numel() / _best(lambda: small_target.copy_(small), 20 * repeats),
        gemm=operations / _best(lambda: torch.mm(a, b.t()), repeats),
        gemm_fast=operations / _best(lambda: inner_products(a, b), repeats),
    )


def _best(call: Any, repeats: int) -> float:
    call()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best
