"""Make the replacements of the layers of a conversion, in either direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.layers import MonarchLinear, StructuredLinear
from monarch_sciml.layers.attention import PROJECTIONS, UnpackedAttention
from monarch_sciml.layers.embedding import MonarchEmbedding
from monarch_sciml.models.conversion.dense_layers import dense_again
from monarch_sciml.models.conversion.plan import (
    LinearConversion,
    PlannedLayer,
    plan_conversion,
)

Pairs = dict[nn.Module, nn.Module]
"""A module of a model and the one that takes its place."""


_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)
"""Where nn.Module keeps the hooks of its calls."""


def structured_pairs(
    model: nn.Module, conversion: LinearConversion, calibration: Iterable[Any] | None = None
) -> tuple[Pairs, list[PlannedLayer]]:
    """Return pairs of a dense layer and its structured replacement, and the whole plan."""
    plan = plan_conversion(model, conversion)
    chosen = [layer for layer in plan if layer.options is not None]
    moments: dict[str, Tensor] = {}
    if calibration is not None:
        moments = second_moments(model, [c for c in chosen if c.attention is None], calibration)
    pairs: Pairs = {}
    by_name = dict(model.named_modules())
    by_weight: dict[int, StructuredLinear] = {}
    for layer in chosen:
        try:
            new = conversion.converted(
                layer.name, layer.module, layer.options or {}, moments.get(layer.name)
            )
        except ValueError as error:
            where = layer.name or type(layer.module).__name__
            raise ValueError(f"{where}: {error}") from error
        if layer.attention is not None:
            setattr(layer.attention, layer.name.rpartition(".")[2], new)
            pairs[by_name[layer.name.rpartition(".")[0]]] = layer.attention
            continue
        if layer.partners:
            _share(new, by_weight.setdefault(id(layer.module.get_parameter("weight")), new))
        pairs[layer.module] = new
        for partner in layer.partners:
            if type(embedding := by_name[partner]) is nn.Embedding:
                pairs[embedding] = _tied_embedding(layer.name, embedding, new)
    return pairs, plan


def dense_pairs(model: nn.Module) -> Pairs:
    """Return pairs of a structured layer and its dense replacement, tying tied weights again."""
    pairs: Pairs = {}
    by_factor: dict[int, nn.Module] = {}
    for module in model.modules():
        if isinstance(module, UnpackedAttention):
            parts = {name: getattr(module, name) for name in PROJECTIONS}
            if any(isinstance(part, StructuredLinear) for part in parts.values()):
                pairs[module] = _packed(module, parts)
        elif isinstance(module, StructuredLinear):
            dense = dense_again(module)
            frozen = not any(p.requires_grad for p in module.factors().values())
            first = by_factor.setdefault(id(next(iter(module.factors().values()))), dense)
            if first is not dense:
                dense.register_parameter("weight", first.get_parameter("weight"))
            dense.get_parameter("weight").requires_grad_(not frozen)
            dense.register_parameter("bias", module.bias)
            pairs[module] = dense
    for module in model.modules():
        if isinstance(module, MonarchEmbedding):
            embedding = module.to_embedding()
            if (first := by_factor.get(id(module.left))) is not None:
                embedding.weight = first.get_parameter("weight")  # pyright: ignore[reportAttributeAccessIssue]
            pairs[module] = embedding
    attentions = [m for m in pairs if isinstance(m, UnpackedAttention)]
    inside = {part for attention in attentions for part in attention.modules()} - {*attentions}
    return {old: new for old, new in pairs.items() if old not in inside}


def second_moments(
    model: nn.Module, layers: Iterable[PlannedLayer], inputs: Iterable[Any]
) -> dict[str, Tensor]:
    """Return E[x xᵀ] of the inputs x of layers while the model runs on some inputs.

    Parameters
    ----------
    model
        Model that is called with each of `inputs`.
    layers
        Layers whose inputs are recorded, by name.
    inputs
        Calibration data: tensors, tuples of arguments or mappings of keywords.

    Returns
    -------
    A symmetric matrix (n_in, n_in) in float64 for every layer that was reached, by its name.

    Raises
    ------
    ValueError
        When there are no inputs.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> Any:
        from monarch_sciml.models.conversion.dense_layers import kind_of

        kind = kind_of(module)
        axis = -1 if kind is None else kind.channel_axis

        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            x = arguments[0].detach().movedim(axis, -1).flatten(0, -2).double()  # (N, n_in)
            sums[name] = sums.get(name, 0) + x.mT @ x
            counts[name] = counts.get(name, 0) + len(x)

        return module.register_forward_pre_hook(hook)

    handles = [watch(layer.name, layer.module) for layer in layers]
    n_batches, was_training = 0, model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in inputs:
                n_batches += 1
                if isinstance(batch, Mapping):
                    model(**batch)
                else:
                    model(*(batch if isinstance(batch, tuple) else (batch,)))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    if not n_batches:
        rule = "`calibration` must hold inputs of the model"
        raise ValueError(message(rule, "none", "Pass some batches, or leave it out."))
    return {name: sums[name] / counts[name] for name in sums}


def hand_on(old: nn.Module, new: nn.Module) -> None:
    """Give a new module the hooks, additional buffers and training mode of the one it replaces."""
    for name in _HOOKS:
        getattr(new, name).update(getattr(old, name))
    if old._is_full_backward_hook is not None:
        new._is_full_backward_hook = old._is_full_backward_hook
    for name, buffer in old._buffers.items():
        if name not in new._buffers and not hasattr(new, name):
            kept = name not in old._non_persistent_buffers_set
            new.register_buffer(name, buffer, persistent=kept)
    new.train(old.training)


def put_pairs(model: nn.Module, pairs: Pairs) -> None:
    """Put every new module in the places of the old one."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in pairs:
                parent._modules[name] = pairs[child]


def _share(layer: StructuredLinear, first: StructuredLinear) -> None:
    """Make a layer use the factors of the layer that it is tied to."""
    if layer is not first:
        for name in layer.factors():
            layer.register_parameter(name, first.factors()[name])


def _tied_embedding(
    name: str, embedding: nn.Embedding, linear: StructuredLinear
) -> MonarchEmbedding:
    if not isinstance(linear, MonarchLinear) or linear.origin != "Linear":
        rule = f"`{name}` is tied to an embedding, which can be Monarch or of low rank"
        remedy = "Use structure='monarch', or exclude both."
        raise ValueError(message(rule, f"a {type(linear).__name__}", remedy))
    return MonarchEmbedding(linear, embedding.padding_idx)


def _packed(module: UnpackedAttention, parts: Mapping[str, nn.Module]) -> nn.MultiheadAttention:
    """Return the nn.MultiheadAttention of the same function."""
    try:
        for name, part in parts.items():
            if isinstance(part, StructuredLinear):
                dense = part.to_linear()
                trains = any(p.requires_grad for p in part.factors().values())
                dense.weight.requires_grad_(trains)
                setattr(module, name, dense)
        return module.packed()
    finally:
        for name, part in parts.items():
            setattr(module, name, part)
