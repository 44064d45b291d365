"""Turn a transform that stands on its own into another of the same function."""

from __future__ import annotations

import copy

import torch

from monarch_sciml.transforms import (
    CosineTransform,
    DenseTransform,
    FixedTransform,
    FourierTransform,
    MonarchTransform,
    SineTransform,
    Transform,
)


def learnable_transform(transform: FixedTransform, *, rank: int, order: int) -> MonarchTransform:
    """Return the Monarch transform that starts as a fixed one, in its dtype and on its device."""
    kind = transform.kind
    new = MonarchTransform(
        kind.n,
        kind.n_modes,
        init=kind.init,  # type: ignore[arg-type]
        real_input=kind.real_input,
        centered=kind.centered,
        norm=kind.norm,  # type: ignore[arg-type]
        rank=rank,
        order=order,
    )
    like = transform.matrix().real
    return new.to(like.device, like.dtype).train(transform.training)


def fixed_or_dense_transform(transform: MonarchTransform) -> Transform:
    """Return the fixed transform that a Monarch one still is, or else a dense one equal to it.

    The product is computed in float64; a frozen transform stays frozen.
    """
    kind = transform.kind
    like = next(transform.parameters())
    new: Transform | None = _fixed(transform) if is_initial(transform) else None
    if new is None:
        start = kind.family if kind.family != "random" else "dft"  # all of it is a deviation
        new = DenseTransform(
            kind.n,
            kind.n_modes,
            init=("i" if kind.synthesis else "") + start,  # type: ignore[arg-type]
            real_input=kind.real_input,
            centered=kind.centered,
            norm=kind.norm,  # type: ignore[arg-type]
            n_copies=transform.n_copies,
        )
        multiply_out(transform, new.to(like.device, like.dtype))
        new.requires_grad_(like.requires_grad)
    return new.to(like.device, like.dtype).train(transform.training)


def _fixed(transform: MonarchTransform) -> FixedTransform | None:
    """Return the fixed transform that a Monarch one starts as; None where there is none."""
    kind = transform.kind
    if kind.family in ("dct", "dst"):
        real = CosineTransform if kind.family == "dct" else SineTransform
        return real(kind.n, kind.n_modes, norm=kind.norm, inverse=kind.synthesis)  # type: ignore[arg-type]
    if kind.family != "dft":
        return None
    return FourierTransform(
        kind.n,
        kind.n_modes,
        real_input=kind.real_input,
        centered=kind.centered,
        norm=kind.norm,  # type: ignore[arg-type]
        inverse=kind.synthesis,
    )


def is_initial(transform: Transform) -> bool:
    """Return whether a transform is the one it is named after: no deviation learned.

    Parameters
    ----------
    transform
        Any transform; a fixed one always is.
    """
    return not any(bool(parameter.any()) for parameter in transform.parameters())


def multiply_out(source: Transform, target: DenseTransform) -> None:
    """Set the deviation of a dense transform so that its matrix is that of the source.

    Parameters
    ----------
    source
        Transform of the same kind and size; its matrix is computed in float64.
    target
        Changed in place.
    """
    exact = copy.deepcopy(source).cpu().double().matrix()
    start = copy.deepcopy(target).cpu().double().matrix()
    deviation = (exact - start).detach()
    rows = deviation.mT if target.kind.synthesis else deviation  # (C?, K, n)
    rows = rows / target.kind.row_scale[:, None]
    with torch.no_grad():
        target.weight.copy_(torch.view_as_real(rows) if rows.is_complex() else rows)
