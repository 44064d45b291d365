"""Turn a transform that is not inside of a layer into another that computes the same."""

from __future__ import annotations

import copy

import torch

from monarch_sciml.transforms import (
    DenseTransform,
    FixedTransform,
    LearnableTransform,
    Transform,
)
from monarch_sciml.transforms.named import (
    FIXED_NAMES,
    TRANSFORMS,
    TransformName,
    TransformOptions,
    check_options,
    fixed_transform,
)


def learnable_transform(
    transform: FixedTransform, name: TransformName = "monarch", *, rank: int, order: int
) -> Transform:
    """Return the learnable transform `name` that starts as a given fixed one, in its dtype and on
    its device; ValueError when it does not have an option that is given.
    """
    options = TransformOptions(rank=rank, order=order)
    check_options(name, options)
    new = TRANSFORMS[name].build(transform.spec, options)
    like = transform.matrix().real
    return new.to(like.device, like.dtype).train(transform.training)


def fixed_or_dense_transform(transform: LearnableTransform) -> Transform:
    """Return the fixed transform that a learnable one still equals, or else a dense one equal to
    it.

    The product is computed in float64; a frozen transform stays frozen.
    """
    spec = transform.spec
    like = next(transform.parameters())
    if is_initial(transform) and spec.family in FIXED_NAMES:
        new = fixed_transform(spec)
    else:
        start = spec.family if spec.family != "random" else "dft"  # all of it is a deviation
        new = DenseTransform(
            spec.n,
            spec.n_modes,
            init=("i" if spec.synthesis else "") + start,  # type: ignore[arg-type]
            real_input=spec.real_input,
            centered=spec.centered,
            norm=spec.norm,  # type: ignore[arg-type]
            n_copies=transform.n_copies,
        )
        multiply_out(transform, new.to(like.device, like.dtype))
        new.requires_grad_(like.requires_grad)
    return new.to(like.device, like.dtype).train(transform.training)


def is_initial(transform: Transform) -> bool:
    """Return whether a transform equals the one it is named after, with no deviation learned.

    Parameters
    ----------
    transform
        Any transform. For a fixed one the answer is always true.
    """
    return not any(bool(parameter.any()) for parameter in transform.parameters())


def multiply_out(source: Transform, target: DenseTransform) -> None:
    """Set the deviation of a dense transform so that its matrix is that of the source.

    Parameters
    ----------
    source
        Transform of the same kind and size, whose matrix is computed in float64.
    target
        The dense transform, which is changed in place.
    """
    exact = copy.deepcopy(source).cpu().double().matrix()
    start = copy.deepcopy(target).cpu().double().matrix()
    deviation = (exact - start).detach()
    rows = deviation.mT if target.spec.synthesis else deviation  # (C?, K, n)
    rows = rows / target.spec.row_scale[:, None]
    with torch.no_grad():
        target.weight.copy_(torch.view_as_real(rows) if rows.is_complex() else rows)
