"""Transforms by name."""

from __future__ import annotations

from typing import Any

from monarch_sciml.transforms import (
    CosineTransform,
    DenseTransform,
    FourierTransform,
    MonarchTransform,
    SineTransform,
    Transform,
)


def axis_transform(
    transform: str,
    init: Any,
    n: int,
    n_modes: int,
    *,
    real_input: bool,
    n_copies: int,
    rank: int,
    order: int,
) -> Transform:
    """Build one axis' transform with neuralop's normalisation."""
    inverse = init.startswith("i")
    if transform == "fourier":
        return FourierTransform(n, n_modes, real_input=real_input, norm="forward", inverse=inverse)
    if transform in ("cosine", "sine"):
        fixed = CosineTransform if transform == "cosine" else SineTransform
        return fixed(n, n_modes, norm="forward", inverse=inverse)
    if transform == "dense":
        return DenseTransform(n, n_modes, init, real_input, norm="forward", n_copies=n_copies)
    return MonarchTransform(
        n, n_modes, init, real_input, norm="forward", rank=rank, n_copies=n_copies, order=order
    )
