"""A table that shows the structured layers of a model, and a record from which to rebuild them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate
from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.layers import STRUCTURES, MonarchLinear, StructuredLinear
from monarch_sciml.layers.attention import UnpackedAttention
from monarch_sciml.layers.embedding import MonarchEmbedding
from monarch_sciml.models.conversion.dense_layers import kind_of, matrix_of
from monarch_sciml.models.conversion.plan import LinearConversion, plan_conversion

CLASSES: dict[str, type[StructuredLinear]] = {cls.__name__: cls for cls in STRUCTURES.values()}


_ABOUT = ("class", "origin", "shares", "guided")
"""Entries of a layer in a record that are no arguments of its class."""


@dataclass(frozen=True)
class TableRow:
    """Describe one layer of a conversion.

    Attributes
    ----------
    layer, kind
        Name of the layer, and class of the dense layer.
    shape
        Numbers of outputs and inputs, such as "768 x 3072".
    before, after
        Parameters of the matrix, dense and structured; equal for a layer that stays dense.
    error
        Relative error of the projection. None when there was no projection.
    note
        Class of the structured layer, or the reason why the layer stays dense.
    """

    layer: str
    kind: str
    shape: str
    before: int
    after: int
    error: float | None
    note: str


class ConversionTable(list[TableRow]):
    """The rows of a conversion; `print(table)` shows them, with the sum of the parameters."""

    def __str__(self) -> str:
        rows: list[list[Any]] = [
            [r.layer, r.kind, r.shape, f"{r.before:,}", f"{r.after:,}",
             "" if r.error is None else f"{r.error:.3f}", r.note] for r in self
        ]  # fmt: skip
        before, after = sum(r.before for r in self), sum(r.after for r in self)
        share = f"{after / before:.0%} of the dense" if before else ""
        rows.append(["all", "", "", f"{before:,}", f"{after:,}", "", share])
        head = ["layer", "was", "shape", "before", "after", "error", "is"]
        return tabulate(rows, head, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 3)


def conversion_table(
    model: nn.Module, conversion: LinearConversion | None = None
) -> ConversionTable:
    """List the layers of a model that are converted, or that a conversion would change.

    Parameters
    ----------
    model
        Any module, converted or not.
    conversion
        With a conversion, the table lists the layers that `monarchize` would convert and the
        reasons why other dense layers would stay, without changing the model. With None it lists
        the structured layers of the model and the errors of their projections.

    Returns
    -------
    A list of rows that prints as a table.

    Examples
    --------
    >>> from monarch_sciml.models import monarchize
    >>> model = monarchize(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 3)), linear=True)
    >>> [(row.layer, row.before, row.after) for row in conversion_table(model)]
    [('0', 4096, 2048)]
    """
    table = ConversionTable()
    if conversion is None:
        for name, module in model.named_modules():
            if isinstance(module, StructuredLinear):
                table.append(_row(name, module))
        return table
    for layer in plan_conversion(model, conversion):
        n_out, n_in = matrix_of(layer.module).shape
        kind = kind_of(layer.module)
        after, note = n_in * n_out, f"dense: {layer.reason}"
        if layer.options is not None:
            cls: Any = STRUCTURES[conversion.structure]
            structured = cls(n_in, n_out, False, **layer.options, device="meta")
            after, note = structured.n_weights, cls.__name__
        shape = f"{n_out} x {n_in}"
        was = kind.name if kind else ""
        table.append(TableRow(layer.name, was, shape, n_in * n_out, after, None, note))
    return table


def _row(name: str, layer: StructuredLinear) -> TableRow:
    n_in, n_out = layer.in_features, layer.out_features
    options = ", ".join(f"{key}={value}" for key, value in layer.options().items())
    note = f"{type(layer).__name__}({options})"
    error, shape = layer.projection_error, f"{n_out} x {n_in}"
    return TableRow(name, layer.origin, shape, n_in * n_out, layer.n_weights, error, note)


def conversion_record(model: nn.Module) -> dict[str, Any]:
    """Describe the structured layers of a model by plain values, as JSON can hold them.

    Returns
    -------
    Classes, arguments and ties of the structured layers, by name, for `restore_conversion`.
    `layers` is empty when the model has none.
    """
    layers: dict[str, Any] = {}
    first: dict[int, str] = {}
    embeddings: dict[str, str] = {}
    attentions: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, UnpackedAttention):
            attentions.append(name)
        elif isinstance(module, StructuredLinear):
            entry = {"class": type(module).__name__, "origin": module.origin, **module.options()}
            entry |= {} if module.guide is None else {"guided": module.guide_share}
            owner = first.setdefault(id(next(iter(module.factors().values()))), name)
            layers[name] = entry if owner == name else {**entry, "shares": owner}
    for name, module in model.named_modules():
        if isinstance(module, MonarchEmbedding):
            embeddings[name] = first[id(module.left)]
    return {"layers": layers, "attentions": attentions, "embeddings": embeddings}


def restore_conversion(model: nn.Module, record: Mapping[str, Any]) -> nn.Module:
    """Give a dense model the structured layers of a record, in place, for weights to be loaded.

    The factors are random. `model.load_state_dict` with the weights of the converted model, or
    `from_pretrained` of `transformers`, then makes it the same model.

    Parameters
    ----------
    model
        A model built as the converted one was, on any device, including the meta device.
    record
        The record that `conversion_record` returned.

    Returns
    -------
    The model.

    Raises
    ------
    ValueError
        When the model has no dense layer of a name in the record.
    """
    for name in record.get("attentions", ()):
        _put(model, name, UnpackedAttention(_found(model, name)))  # pyright: ignore[reportArgumentType]
    for name, entry in record["layers"].items():
        dense = _found(model, name)
        kind = kind_of(dense)
        if kind is None:
            rule = f"`{name}` must be a dense layer to be converted"
            remedy = "Build the model with the configuration that the weights were trained with."
            raise ValueError(message(rule, type(dense).__name__, remedy))
        options = {k: v for k, v in entry.items() if k not in _ABOUT}
        layer = _restored(dense, CLASSES[entry["class"]], options)
        layer.channel_axis, layer.origin = kind.channel_axis, kind.name
        if "guided" in entry:
            layer.add_guide()
            layer.guide_share = float(entry["guided"])
        if "shares" in entry:
            other = _found(model, entry["shares"])
            for factor in layer.factors():
                layer.register_parameter(factor, other.get_parameter(factor))
        _put(model, name, layer)
    for name, owner in record.get("embeddings", {}).items():
        linear = _found(model, owner)
        assert isinstance(linear, MonarchLinear)
        padding = getattr(_found(model, name), "padding_idx", None)
        _put(model, name, MonarchEmbedding(linear, padding))
    return model


def _restored(dense: nn.Module, cls: Any, options: Mapping[str, Any]) -> StructuredLinear:
    weight = dense.get_parameter("weight")
    n_out, n_in = matrix_of(dense).shape
    bias = getattr(dense, "bias", None)
    place = {"device": weight.device, "dtype": weight.dtype}
    blocks = options.get("n_blocks")  # JSON knows lists only
    options = dict(options) | ({"n_blocks": tuple(blocks)} if isinstance(blocks, list) else {})
    layer = cls(n_in, n_out, bias is not None, **options, **place)
    layer.register_parameter("bias", bias)
    return layer


def _found(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        rule = "the model must have the layers of the record"
        remedy = "Build it with the configuration that the weights were trained with."
        raise ValueError(message(rule, f"none named {name!r}", remedy)) from error


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    old = model.get_submodule(name)
    new_parent = model.get_submodule(parent)
    for parts in [m._modules for m in model.modules()]:
        for key, part in parts.items():
            if part is old:
                parts[key] = module
    new_parent._modules[own] = module
