"""The check of shapes that every error of fields begins with."""

from __future__ import annotations

from torch import Tensor

from monarch_sciml._checks import message


def check_shapes(prediction: Tensor, target: Tensor, *, minimum: int = 4) -> None:
    """Raise ValueError when two shapes differ, have fewer than `minimum` axes, or are empty."""
    if prediction.shape != target.shape:
        rule = f"`prediction` must have the shape of `target`, {tuple(target.shape)}"
        raise ValueError(message(rule, tuple(prediction.shape), "Compare fields of one grid."))
    if prediction.ndim < minimum:
        wanted = {2: "(samples, ...)", 3: "(samples, times, ...)"}
        rule = f"fields must have shape {wanted.get(minimum, '(samples, times, fields, *grid)')}"
        raise ValueError(message(rule, tuple(prediction.shape), "Add the missing axes."))
    if not prediction.numel():
        raise ValueError(message("fields must not be empty", tuple(prediction.shape), "Add data."))
