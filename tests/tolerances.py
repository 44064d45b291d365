"""The one bound on rounding errors that tests compare with.

A sum of products of n numbers, computed in any order, with any number of threads and any
instructions of the processor, is off by at most

    gamma_n sum_i |a_i| |b_i|,   gamma_n = n eps / (1 - n eps),

with eps the machine epsilon (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed.,
equation 3.5); typically by sqrt(n) eps. So two correct results differ by no more than

    growth * eps * scale,

where `scale` is the largest magnitude among the values compared (an entry that cancels to nearly
zero carries the errors of the large ones that met in it), eps is that of the less precise of the
two, and `growth` the number of roundings on the way: the default of 1024 covers sums of up to a
thousand numbers, chains of a few transforms among them. A test of a longer computation states its
own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

GROWTH = 1024.0


def epsilon(*values: Any) -> float:
    """Return the machine epsilon of the least precise of some arrays; zero for integers."""
    kinds = [torch.as_tensor(value).dtype for value in values]
    floating = [dtype for dtype in kinds if dtype.is_floating_point or dtype.is_complex]
    return max((torch.finfo(dtype).eps for dtype in floating), default=0.0)


def bound(
    actual: Any, expected: Any, *, growth: float = GROWTH, scale: float | None = None
) -> float:
    """Return growth * eps * scale; `scale` is the largest finite magnitude of both by default."""
    if scale is None:
        scale = max(_largest(actual), _largest(expected))
    return growth * epsilon(actual, expected) * scale


def assert_close(
    actual: Any,
    expected: Any,
    *,
    growth: float = GROWTH,
    relative: float | None = None,
    scale: float | None = None,
    msg: str | None = None,
) -> None:
    """Compare numbers, arrays or tensors up to rounding, or up to a share of their largest value.

    Parameters
    ----------
    actual, expected
        Of one shape (a number goes with any), real or complex; both may hold NaN and infinities,
        at the same places.
    growth
        See the head of this file.
    relative
        For comparisons that rounding does not bound (a method's accuracy, a published value, data
        that were stored in less precision): the largest difference allowed, in units of `scale`.
    scale
        Of values that are zero when all is right, the size of what they were computed from.
    msg
        Names the case.
    """
    limit = bound(actual, expected, growth=growth, scale=scale)
    if relative is not None:
        size = max(_largest(actual), _largest(expected)) if scale is None else scale
        limit = max(limit, relative * size)
    a, b = (_array(value) for value in (actual, expected))
    assert a.shape == b.shape or b.ndim == 0, f"shapes {a.shape} and {b.shape} ({msg})"
    np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=msg or "")


def _array(value: Any) -> np.ndarray:
    tensor = torch.as_tensor(value).detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.numpy()


def _largest(value: Any) -> float:
    numbers = np.abs(_array(value))
    finite = numbers[np.isfinite(numbers)]
    return float(finite.max()) if finite.size else 0.0
