"""The pieces of a spectral convolution: arguments as neuralop passes them, transforms, weights.

Letters: I and O channels in and out, d axes, n grid size, K_i kept modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
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
        I and O.
    n_modes
        Modes K_1, ..., K_d that are stored.
    real
        The basis is real, and so are the weights.
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
        "factorization", (factorization or "dense").lower(), ("dense", "tucker", "cp", "tt")
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


def home_grid(n_modes: Sequence[int], grid_shape: Sequence[int] | None) -> tuple[int, ...]:
    """Return the grid that transforms live on: by default powers of two with four points per mode.

    Raises
    ------
    ValueError
        When the grid has another number of axes, or fewer points than modes.
    """
    if grid_shape is None:
        return tuple(1 << (4 * modes - 1).bit_length() for modes in n_modes)
    grid = tuple(grid_shape)
    if len(grid) != len(n_modes):
        rule = f"`grid_shape` must have {len(n_modes)} sizes, one per entry of `n_modes`"
        raise ValueError(message(rule, grid, "Give one size per axis."))
    check_modes(n_modes, grid)
    return grid


def sizes(name: str, value: int | Sequence[int]) -> list[int]:
    """Return one size or several as a list of positive ints."""
    values = [value] if hasattr(value, "__index__") else list(value)  # type: ignore[arg-type]
    return [positive_int(name, size) for size in values]


def scaling_factors(value: float | Sequence[Any] | None, order: int) -> list[float] | None:
    """Accept one number, one per axis, or neuralop's nested list for one layer."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return [float(value)] * order
    flat = list(value)
    if len(flat) == 1 and isinstance(flat[0], (list, tuple)):
        flat = list(flat[0])
    return [float(factor) for factor in (flat * order if len(flat) == 1 else flat)]


def refuse(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError when an argument of neuralop's has a value that this layer does not know."""
    if value not in allowed:
        rule = f"`{name}` must be {allowed[0]!r} for MonarchSpectralConv"
        raise ValueError(message(rule, repr(value), "Use neuralop's SpectralConv for that."))


def check_modes(n_modes: Sequence[int], grid: Sequence[int]) -> None:
    """Raise ValueError when an axis has fewer points than modes."""
    for axis, (modes, n) in enumerate(zip(n_modes, grid)):
        if modes > n:
            where = axis - len(grid)
            rule = f"`n_modes` must be at most {n} along axis {where} for a grid of {n} points"
            raise ValueError(message(rule, modes, "Lower `n_modes` or refine the grid."))
