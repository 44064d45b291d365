"""Checks of the arguments of errors of fields and images."""

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml._checks import finite, message


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


def same_shape(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse images of different shapes."""
    if prediction.shape != target.shape:
        rule = f"`prediction` must have the shape {tuple(target.shape)} of `target`"
        raise ValueError(message(rule, tuple(prediction.shape), "Crop both to one size."))


def checked(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both images in float64, refusing images that cannot be compared."""
    same_shape(prediction, target)
    if target.dim() != 3 or target.is_complex() or prediction.is_complex():
        rule = "images must be real magnitudes of shape (slices, H, W)"
        got = f"{target.dtype} {tuple(target.shape)}"
        raise ValueError(message(rule, got, "Take `.abs()` and add the slice axis."))
    remedy = "Check the reconstruction and the reading of the file."
    finite("prediction", prediction, remedy=remedy)
    finite("target", target, remedy=remedy)
    return prediction.double(), target.double()


def nonzero(target: torch.Tensor) -> torch.Tensor:
    """Return the target, refusing one that is zero everywhere."""
    if not bool((target != 0).any()):
        rule = "`target` must not be zero everywhere"
        raise ValueError(message(rule, "only zeros", "Leave this volume out."))
    return target


def peak_of(target: torch.Tensor, data_range: float | None) -> torch.Tensor:
    """Return the data range as a scalar tensor."""
    if data_range is None:
        return nonzero(target).amax()
    if not data_range > 0:
        rule = "`data_range` must be positive"
        raise ValueError(message(rule, data_range, "Pass the largest value of the volume."))
    return torch.as_tensor(data_range, dtype=target.dtype, device=target.device)
