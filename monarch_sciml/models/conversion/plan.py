"""Choose the dense layers of a model that are converted, and their structured replacements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import sqrt
from typing import Any, Literal

from torch import Tensor, nn

from monarch_sciml._checks import finite, message, one_of, positive_int, positive_number
from monarch_sciml.layers import STRUCTURES, StructuredLinear
from monarch_sciml.layers.attention import PROJECTIONS, UnpackedAttention
from monarch_sciml.layers.rivals import structured_options
from monarch_sciml.models.conversion.dense_layers import as_linear, kind_of, matrix_of
from monarch_sciml.models.conversion.speed import is_faster
from monarch_sciml.monarch.block_sizes import block_counts

HEADS = frozenset({"lm_head", "head", "heads", "classifier", "score", "qa_outputs"})
"""Parts of a name that mark the last layer of a model: left dense unless it is asked for."""

NOT_ASKED = "not asked for"
"""Why a layer stays dense that `include` and `exclude` leave out."""

TOO_SMALL = "too small for"
"""Why a layer stays dense for which no structured layer has the share asked for, which follows."""

Structure = Literal["monarch", "low_rank", "block_diagonal", "kronecker", "butterfly"]
OPTIONS: dict[Structure, tuple[str, ...]] = {
    "monarch": ("n_blocks", "rank", "order"),
    "low_rank": ("rank",),
    "block_diagonal": ("n_blocks",),
    "kronecker": ("n_blocks", "rank"),
    "butterfly": (),
}
"""Options of the layers of each structure, beside the share of the parameters."""
BlockCounts = int | tuple[int, int]
Choice = str | Sequence[str] | Callable[[str, nn.Module], bool]


@dataclass(frozen=True, kw_only=True)
class LinearConversion:
    """Say which dense layers of a model become structured, and how.

    Attributes
    ----------
    structure
        "monarch", or another structure: "low_rank", "block_diagonal", "kronecker", "butterfly".
    parameters
        Largest number of parameters of a structured matrix divided by that of the dense one. The
        largest layer below it is taken; a layer that is too small for that stays dense.
    n_blocks
        Number of blocks of every layer (Monarch, block-diagonal, Kronecker), or a mapping from name
        patterns to numbers of blocks, of which the first matching pattern decides. None takes the
        default of the structure (4 for Monarch).
    rank
        Rank of the slices (Monarch), rank (low rank) or number of terms (Kronecker), or a mapping
        from name patterns to such numbers. It is lowered for layers that are too small for it. None
        derives it from `parameters`.
    order
        Order of the outputs of Monarch layers, "strided" or "contiguous", as in `MonarchLinear`. An
        option that the layers of a structure do not have is refused.
    include
        The layers to convert: a pattern of names such as "*.mlp.*", several patterns, or a function
        of name and module. None takes all but heads and tied layers, which are converted only on
        request.
    exclude
        The layers to leave dense, in the form of `include`.
    min_features
        Least number of inputs and least number of outputs of a layer that is converted.
    start
        Initial value of the structured matrix. "project" takes the one nearest to the dense matrix.
        "random" draws factors whose product has the variance of the dense matrix, to train from
        scratch.
    faster_at
        Number of vectors (samples times tokens) for which the structured layer must be faster than
        the dense one in a measurement of forward and backward pass; otherwise the layer stays
        dense. None measures nothing.
    """

    structure: Structure = "monarch"
    parameters: float = 0.5
    n_blocks: BlockCounts | Mapping[str, BlockCounts] | None = None
    rank: int | Mapping[str, int] | None = None
    order: Literal["strided", "contiguous"] = "strided"
    include: Choice | None = None
    exclude: Choice = ()
    min_features: int = 1
    start: Literal["project", "random"] = "project"
    faster_at: int | None = None

    def __post_init__(self) -> None:
        one_of("structure", self.structure, STRUCTURES)
        one_of("start", self.start, ("project", "random"))
        one_of("order", self.order, ("strided", "contiguous"))
        positive_number("parameters", self.parameters)
        positive_int("min_features", self.min_features)
        if self.faster_at is not None:
            positive_int("faster_at", self.faster_at)
        for blocks in _values(self.n_blocks):
            if self.structure == "block_diagonal":
                positive_int("n_blocks", blocks)
            block_counts(blocks)
        for rank in _values(self.rank):
            positive_int("rank", rank)
        for option, default in (("n_blocks", None), ("rank", None), ("order", "strided")):
            names = [name for name, options in OPTIONS.items() if option in options]
            if getattr(self, option) != default and self.structure not in names:
                rule = f"`{option}` is an option of structure={' or '.join(map(repr, names))}"
                remedy = f"Leave `{option}` out."
                raise ValueError(message(rule, f"structure={self.structure!r}", remedy))

    def options(self, name: str, n_in: int, n_out: int) -> dict[str, Any] | None:
        """Return the arguments of the structured layer of this name and size; None if it is too
        small.
        """
        given: dict[str, Any] = {}
        if (blocks := _for_layer(self.n_blocks, name)) is not None:
            given["n_blocks"] = blocks
        if (rank := _for_layer(self.rank, name)) is not None:
            given["rank"] = rank
        if self.order != "strided":
            given["order"] = self.order
        return structured_options(self.structure, n_in, n_out, self.parameters, **given)

    def converted(
        self,
        name: str,
        module: nn.Module,
        options: Mapping[str, Any],
        moments: Tensor | None = None,
    ) -> StructuredLinear:
        """Return the structured layer that replaces a dense one, with its bias and frozen
        weights.
        """
        kind = kind_of(module)
        assert kind is not None, "the plan holds dense layers only"
        weight = module.get_parameter("weight")
        if not weight.is_meta:
            finite("weight", weight, remedy="Train it again.")
        cls: Any = STRUCTURES[self.structure]
        linear = as_linear(module)
        if self.start == "project":
            layer = cls.from_linear(linear, **options, second_moments=moments)
        else:
            place: Any = {"device": weight.device, "dtype": weight.dtype}
            has_bias = linear.bias is not None
            layer = cls(linear.in_features, linear.out_features, has_bias, **options, **place)
            known = weight.numel() > 1 and not weight.is_meta
            spread = float(weight.detach().std()) if known else 0.0
            if spread > 0:  # a new layer has the variance of nn.Linear, 1 / (3 n_in)
                layer.scale(spread * sqrt(3 * linear.in_features))
        layer.channel_axis, layer.origin = kind.channel_axis, kind.name
        for factor in layer.factors().values():
            factor.requires_grad_(weight.requires_grad)
        if layer.bias is not None:  # the parameter itself: others may share it
            layer.register_parameter("bias", module.get_parameter("bias"))
        return layer


@dataclass(frozen=True)
class PlannedLayer:
    """Describe one dense layer of a model and the structured layer that is to replace it.

    Attributes
    ----------
    name, module
        The name of the layer and the layer. A projection inside of an nn.MultiheadAttention has the
        name that it gets in the unpacked attention.
    options
        Arguments of the structured layer, or None for a layer that stays dense.
    reason
        Reason why the layer stays dense.
    partners
        Names of the other layers that share its weight.
    attention
        The unpacked attention that the layer is part of, in place of an nn.MultiheadAttention.
    """

    name: str
    module: nn.Module
    options: Mapping[str, Any] | None
    reason: str = ""
    partners: tuple[str, ...] = ()
    attention: UnpackedAttention | None = None


def plan_conversion(model: nn.Module, conversion: LinearConversion) -> list[PlannedLayer]:
    """Return every dense layer of a model with the replacement that `monarchize` would make.

    Raises
    ------
    ValueError
        When a pattern matches nothing, or one side of a tied pair is asked for without the other.
    """
    found = _dense_layers(model)
    layers = {name: module for name, (module, _) in found.items()}
    embeddings = {n: m for n, m in model.named_modules() if type(m) is nn.Embedding}
    partners = _partners(model, {**layers, **embeddings})
    heads = _heads(model)
    known = {**layers, **{n: m for n, m in embeddings.items() if partners.get(n)}}
    done = [n for n, m in model.named_modules() if isinstance(m, StructuredLinear)]
    for option in ("include", "exclude"):
        _check_patterns(option, getattr(conversion, option), known, done)
    for option in ("n_blocks", "rank"):
        value = getattr(conversion, option)
        _check_patterns(option, list(value) if isinstance(value, Mapping) else (), known, done)
    asked = {n for n, m in known.items() if _chosen(conversion.include, n, m)}
    if conversion.include is None:
        asked -= {n for n in known if _is_head(n, known[n], heads) or partners.get(n)}
    asked -= {
        n for n, m in known.items() if conversion.exclude and _chosen(conversion.exclude, n, m)
    }
    for name in sorted(asked):
        alone = [n for n in partners.get(name, ()) if n not in asked]
        if alone:
            rule = f"`{name}` shares its weight with `{alone[0]}`: both must be converted, or none"
            remedy = f"Add '{alone[0]}' to `include`, or leave both out."
            raise ValueError(message(rule, f"'{name}' alone", remedy))
    faster: dict[tuple[Any, ...], bool] = {}
    plan = [
        _planned(name, module, conversion, name in asked, partners.get(name, ()), heads, faster)
        for name, module in layers.items()
    ]
    return [replace(layer, attention=found[layer.name][1]) for layer in plan]


def _planned(
    name: str,
    module: nn.Module,
    conversion: LinearConversion,
    asked: bool,
    partners: tuple[str, ...],
    heads: set[nn.Module],
    faster: dict[tuple[Any, ...], bool],
) -> PlannedLayer:
    n_out, n_in = matrix_of(module).shape
    if not asked:
        reason = NOT_ASKED
        if conversion.include is None and partners:
            reason = f"tied to {partners[0]}"
        elif conversion.include is None and _is_head(name, module, heads):
            reason = "head"
        return PlannedLayer(name, module, None, reason, partners)
    if min(n_in, n_out) < conversion.min_features:
        return PlannedLayer(name, module, None, "below min_features", partners)
    options = conversion.options(name, n_in, n_out)
    if options is None:
        reason = f"{TOO_SMALL} {conversion.parameters:g} of the parameters"
        return PlannedLayer(name, module, None, reason, partners)
    if conversion.faster_at is not None:
        kind = kind_of(module)
        case = (n_in, n_out, tuple(sorted(options.items())), kind and kind.name)
        if case not in faster:
            layer = conversion.converted(name, module, options)
            faster[case] = is_faster(layer, module, conversion.faster_at)
        if not faster[case]:
            reason = f"not faster for {conversion.faster_at} vectors"
            return PlannedLayer(name, module, None, reason, partners)
    return PlannedLayer(name, module, options, "", partners)


def _dense_layers(model: nn.Module) -> dict[str, tuple[nn.Module, UnpackedAttention | None]]:
    """Return every dense layer by name, the projections of each nn.MultiheadAttention among them.

    Each projection comes with the unpacked attention that holds it.
    """
    found: dict[str, tuple[nn.Module, UnpackedAttention | None]] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if type(module) is nn.MultiheadAttention:
            inside.update(module.modules())
            try:
                unpacked = UnpackedAttention(module)
            except ValueError:  # one with an additional key stays as it is
                continue
            prefix = f"{name}." if name else ""
            for projection in PROJECTIONS:
                found[prefix + projection] = unpacked.get_submodule(projection), unpacked
        elif module not in inside and kind_of(module) is not None:
            found[name] = module, None
    return found


def _partners(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Return, for each layer that shares its weight, the names of the other layers that hold it."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.ndim > 1:
                holders.setdefault(id(parameter), []).append(name)
    partners = {}
    for name, module in layers.items():
        names = holders.get(id(module.get_parameter("weight")), [])
        partners[name] = tuple(n for n in dict.fromkeys(names) if n != name)
    return partners


def _heads(model: nn.Module) -> set[nn.Module]:
    """Return the modules that a model of `transformers` names as its output layers."""
    heads = set()
    for module in model.modules():
        output = getattr(module, "get_output_embeddings", None)
        if callable(output):
            try:
                heads.add(output())
            except (AttributeError, NotImplementedError):
                continue
    return {head for head in heads if isinstance(head, nn.Module)}


def _is_head(name: str, module: nn.Module, heads: set[nn.Module]) -> bool:
    return module in heads or not HEADS.isdisjoint(name.split("."))


def _chosen(choice: Choice | None, name: str, module: nn.Module) -> bool:
    if choice is None:
        return True
    if callable(choice):
        return bool(choice(name, module))
    return any(fnmatchcase(name, pattern) for pattern in _patterns(choice))


def _patterns(choice: Choice | None) -> list[str]:
    if choice is None or callable(choice):
        return []
    return [choice] if isinstance(choice, str) else list(choice)


def _check_patterns(
    option: str, choice: Choice | None, layers: Mapping[str, nn.Module], done: Sequence[str]
) -> None:
    """Raise ValueError for a pattern without a dense layer; `done` are converted layers."""
    for pattern in _patterns(choice):
        if any(fnmatchcase(name, pattern) for name in layers):
            continue
        names = ", ".join(list(layers)[:4]) or "none"
        names += ", …" if len(layers) > 4 else ""
        rule, remedy = f"every pattern of `{option}` must match the name of a dense layer", ""
        got = repr(pattern)
        if any(fnmatchcase(name, pattern) for name in done):
            got += ", whose layers are converted already"
            remedy = " Call densify first to convert them otherwise."
        raise ValueError(message(rule, got, f"The dense layers are: {names}.{remedy}"))


def _for_layer(value: Any, name: str) -> Any:
    """Return the value of the first matching pattern, or the single value of all layers."""
    if not isinstance(value, Mapping):
        return value
    return next((v for pattern, v in value.items() if fnmatchcase(name, pattern)), None)


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value.values()) if isinstance(value, Mapping) else [value]
