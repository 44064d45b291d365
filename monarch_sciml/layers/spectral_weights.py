"""The weights that mix channels in a spectral convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of


def mixing_weight(
    channels: tuple[int, int],
    n_modes: Sequence[int],
    *,
    real: bool,
    factorization: str | None = None,
    rank: float = 1.0,
    fixed_rank_modes: bool | Sequence[int] = False,
    options: dict[str, Any] | None = None,
) -> nn.Module | nn.Parameter:
    """Draw the weights that mix the channels mode by mode, normal with variance 2 / (I + O).

    Parameters
    ----------
    channels
        Numbers I and O of channels in and out.
    n_modes
        Modes K_1, ..., K_d that are stored.
    real
        Whether the basis, and with it the weights, are real.
    factorization, rank, fixed_rank_modes, options
        None or "dense", "tucker", "cp" or "tt"; rank, axes of full rank and further options as
        neuralop takes them.

    Returns
    -------
    A parameter (K_1, ..., K_d, I, O), complex numbers as pairs on a further axis, or a
    tltorch.FactorizedTensor of shape (I, O, K_1, ..., K_d), as in neuralop.
    """
    std = (2 / sum(channels)) ** 0.5
    dtype = torch.get_default_dtype() if real else torch.get_default_dtype().to_complex()
    kind = one_of(
        "factorization",
        (factorization or "dense").lower().removeprefix("complex"),
        ("dense", "tucker", "cp", "tt"),
    )
    if kind == "dense":
        weight = std * torch.randn(*n_modes, *channels, dtype=dtype)
        return nn.Parameter(weight if real else torch.view_as_real(weight))
    from tltorch.factorized_tensors.core import FactorizedTensor

    if not rank > 0:
        raise ValueError(message("`rank` must be above 0", rank, "Raise `rank`."))
    fixed = [0] if fixed_rank_modes is True else fixed_rank_modes or None
    return FactorizedTensor.new(
        (*channels, *n_modes),
        rank=rank,  # type: ignore[arg-type]
        factorization=kind if real else f"complex{kind}",
        fixed_rank_modes=fixed,
        dtype=dtype,
        **(options or {}),
    ).normal_(0, std)


def multiplied_out(weight: Any, *, real: bool) -> Tensor:
    """Return weights of either form as one tensor (K_1, ..., K_d, I, O), complex unless `real`."""
    if not isinstance(weight, Tensor):
        return weight.to_tensor().movedim((0, 1), (-2, -1))  # (I, O, K..) -> (K.., I, O)
    if real:
        return weight
    half = weight.dtype in (torch.bfloat16, torch.float16)  # no complex number is that short
    return torch.view_as_complex((weight.float() if half else weight).contiguous())
