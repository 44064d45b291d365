"""One thread for what must come out in the same bits on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread, in torch and in the BLAS of NumPy and SciPy.

    Products and sums that several threads share are added up in another order, so their last bits
    depend on the number of threads. Several processes (`shard`) use several cores instead.
    """
    import scipy.linalg  # noqa: F401 - loads SciPy's own BLAS, which could not be limited later

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
