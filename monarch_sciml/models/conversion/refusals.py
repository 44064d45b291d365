"""One line on why a conversion changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.layers import StructuredLinear
from monarch_sciml.models.conversion.dense_layers import matrix_of
from monarch_sciml.models.conversion.plan import NOT_ASKED, TOO_SMALL, PlannedLayer


def nothing_to_convert(
    model: nn.Module, plan: Sequence[PlannedLayer], *, spectral: bool, linear: bool
) -> str:
    """Return the reason why nothing can be converted."""
    kinds = []
    if spectral:
        kinds.append("a spectral convolution or a fixed transform")
    if linear:
        kinds.append("a dense layer (nn.Linear, Conv1D, a convolution of size 1)")
    rule = f"`model` must hold {' or '.join(kinds)} to convert"
    got = f"{type(model).__name__} without any"
    remedy = "Check the model." if linear else "Set `linear=True` to convert dense layers."
    n_structured = sum(isinstance(m, StructuredLinear) for m in model.modules())
    if linear and n_structured:
        got = f"{type(model).__name__} with {n_structured} structured layers already"
        remedy = "It is converted: call densify first to convert it otherwise."
    elif plan:
        got, remedy = all_dense(plan)
    return message(rule, got, remedy)


def all_dense(plan: Sequence[PlannedLayer]) -> tuple[str, str]:
    """Return what a plan leaves dense, and what can be done about it."""
    layer = next((one for one in plan if one.reason != NOT_ASKED), plan[0])
    shape = " x ".join(map(str, matrix_of(layer.module).shape))
    where = f"`{layer.name}` ({shape})" if layer.name else f"a layer of {shape}"
    got = f"{len(plan)} that stay dense, as {where}: {layer.reason}"
    remedies = {
        NOT_ASKED: "Widen `include`, or narrow `exclude`.",
        TOO_SMALL: "Raise `parameters`.",
    }
    known = (text for reason, text in remedies.items() if layer.reason.startswith(reason))
    return got, next(known, "Name such layers by `include` to convert them all the same.")
