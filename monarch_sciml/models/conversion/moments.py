r"""Carry the state of an optimiser from dense weights to their factors, and back.

A gradient G of the dense matrix M(θ) and those of its factors are related by the chain rule, so
first moments (momentum) are mapped exactly from dense to structured:

.. math:: g_\theta = \langle G, \partial M / \partial \theta \rangle.

In the other direction, the factors determine only a part of G. For a slice M = L R of a Monarch
matrix that part is its projection on the tangent space,

.. math:: G_T = P_L G + G P_R - P_L G P_R, \quad P_L G = L (L^T L)^+ g_R, \quad
          G P_R = g_L (R R^T)^+ R .

Second moments (Adam's running mean of squares v) are mapped as if the entries were independent:
v_L = v (R²)ᵀ and v_R = (L²)ᵀ v forwards; backwards v is the rank-one matrix with those row and
column means, as in Adafactor.

Letters: k, l blocks; s, p sizes of a slice; t rank.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from monarch_sciml._checks import message
from monarch_sciml.layers import BlockDiagonalLinear, MonarchLinear, StructuredLinear
from monarch_sciml.models.conversion.dense_layers import KINDS, kind_of

FIRST = ("exp_avg", "momentum_buffer")
"""Entries of an optimiser's state that are means of gradients."""
SECOND = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")
"""Entries that are means or sums of squared gradients."""


def live_optimizers(parameters: Iterable[Tensor]) -> list[Optimizer]:
    """Return the optimisers of this process that would update one of these parameters."""
    wanted = {id(p) for p in parameters}
    optimizers = [o for o in gc.get_objects() if issubclass(type(o), Optimizer)]
    return [
        optimizer
        for optimizer in optimizers
        if any(id(p) in wanted for g in getattr(optimizer, "param_groups", ()) for p in g["params"])
    ]


def check_not_live(parameters: Iterable[Tensor], optimizer: Optimizer | None) -> None:
    """Raise ValueError when an optimiser other than `optimizer` updates one of the parameters."""
    others = [o for o in live_optimizers(parameters) if o is not optimizer]
    # a wrapper of the one that is carried over, as accelerate's
    others = [o for o in others if optimizer is None or getattr(o, "optimizer", 0) is not optimizer]
    if others:
        rule = "a model must not be converted in place while an optimiser updates it"
        remedy = "Pass `optimizer=` to carry its state over, or delete it and make it afterwards."
        raise ValueError(message(rule, type(others[0]).__name__, remedy))


def carry_state(
    optimizer: Optimizer, pairs: Mapping[nn.Module, nn.Module], names: Mapping[nn.Module, str]
) -> list[str]:
    """Put the parameters of new layers in the places of the old ones, with their moments.

    Parameters
    ----------
    optimizer
        The optimiser, whose groups and state are changed in place.
    pairs
        Pairs of an old layer and the new one that replaces it.
    names
        Name of every old layer.

    Returns
    -------
    Names of the layers whose state could not be mapped and starts from zero.
    """
    dropped: list[str] = []
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    weights = [p for old in pairs for p in old.parameters() if p.requires_grad]
    if weights and not any(id(p) in updated for p in weights):
        rule = "`optimizer` must update the parameters of the model"
        raise ValueError(
            message(rule, "one of other parameters", "Pass the optimiser of the model.")
        )
    if type(optimizer).__name__ == "Muon" and any(_has_stacked(new) for new in pairs.values()):
        rule = "an optimiser of structured layers must update stacks of matrices"
        got = "Muon, which updates single matrices"
        raise ValueError(message(rule, got, "Convert before the optimiser is made, and use Adam."))
    for old, new in pairs.items():
        before = [p for p in old.parameters() if p.requires_grad]
        after = [p for p in new.parameters() if p.requires_grad]
        kept = {id(p) for p in after}
        gone = [p for p in before if id(p) not in kept]
        state = {id(p): optimizer.state.get(p, {}) for p in gone}
        mapped = mapped_state(old, new, state) if any(state.values()) else {}
        _exchange(optimizer, gone, [p for p in after if all(p is not q for q in before)])
        for p in gone:
            optimizer.state.pop(p, None)
        for p, entries in mapped.items():
            optimizer.state[p] = entries
        if any(state.values()) and not mapped:
            dropped.append(names.get(old, type(old).__name__))
    return dropped


def _has_stacked(layer: nn.Module) -> bool:
    return any(p.ndim > 2 for p in layer.parameters() if p.requires_grad)


def mapped_state(
    old: nn.Module, new: nn.Module, state: Mapping[int, Mapping[str, Any]]
) -> dict[nn.Parameter, dict[str, Any]]:
    """Return the state of every factor, or of the dense weight; empty if no mapping is known."""
    if isinstance(new, StructuredLinear) and (kind := kind_of(old)) is not None:
        entries = state.get(id(old.get_parameter("weight")), {})
        result: dict[nn.Parameter, dict[str, Any]] = {p: {} for p in new.factors().values()}
        for key, value in entries.items():
            if key in FIRST or key in SECOND:
                gradients = factor_moments(new, kind.to_matrix(value), squares=key in SECOND)
            elif not torch.is_tensor(value) or value.ndim == 0:
                gradients = {n: _copied(value) for n in new.factors()}
            else:
                return {}
            for name, p in new.factors().items():
                result[p][key] = gradients[name]
        return result if entries else {}
    if isinstance(old, StructuredLinear) and (kind := KINDS.get(old.origin)) is not None:
        states = {name: state.get(id(p), {}) for name, p in old.factors().items()}
        weight = new.get_parameter("weight")
        dense: dict[str, Any] = {}
        for key, value in next(iter(states.values()), {}).items():
            if key in FIRST or key in SECOND:
                of_factors = {name: entries[key] for name, entries in states.items()}
                moment = dense_moments(old, of_factors, squares=key in SECOND)
                if moment is None:
                    return {}
                dense[key] = kind.from_matrix(moment).to(weight).contiguous()
            elif not torch.is_tensor(value) or value.ndim == 0:
                dense[key] = _copied(value)
            else:
                return {}
        return {weight: dense} if dense else {}
    return {}


def factor_moments(layer: StructuredLinear, dense: Tensor, *, squares: bool) -> dict[str, Tensor]:
    """Return the moment of each factor that follows from one (n_out, n_in) of the dense matrix.

    The products are linear in every factor, so <dense, M> differentiated by one of them, the others
    squared for second moments, is the mapped moment.
    """
    factors = {name: p.detach() for name, p in layer.factors().items()}
    result = {}
    for name, own in factors.items():
        others = {n: v.square() if squares else v for n, v in factors.items() if n != name}
        leaf = own.clone().requires_grad_()
        with torch.enable_grad():
            call = torch.func.functional_call
            product = call(
                _Dense(layer), {f"layer.{n}": v for n, v in {**others, name: leaf}.items()}
            )
            (gradient,) = torch.autograd.grad((product * dense.to(product)).sum(), leaf)
        result[name] = torch.empty_like(own).copy_(gradient)
    return result


class _Dense(nn.Module):
    """A module that returns the matrix of a layer."""

    def __init__(self, layer: StructuredLinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self) -> Tensor:
        return self.layer.dense_weight()


def dense_moments(
    layer: StructuredLinear, moments: Mapping[str, Tensor], *, squares: bool
) -> Tensor | None:
    """Return the moment (n_out, n_in) of the dense matrix; None if no mapping is known."""
    if isinstance(layer, BlockDiagonalLinear):
        dense = torch.block_diag(*moments["blocks"])
        if squares:  # entries off the blocks have not been seen: the mean keeps their steps small
            seen = torch.block_diag(*torch.ones_like(moments["blocks"]))
            dense = dense + (1 - seen) * moments["blocks"].mean()
        return dense[: layer.out_features, : layer.in_features]
    if not isinstance(layer, MonarchLinear):
        return None
    left, right = _slices(layer, layer.left, layer.right)
    g_left, g_right = _slices(layer, moments["left"], moments["right"])
    slices = (_squares if squares else _tangent)(left, right, g_left, g_right)  # (l, k, s, p)
    axes = (2, 0, 1, 3) if layer.order == "strided" else (0, 2, 1, 3)  # rows (s, l) or (l, s)
    dense = slices.permute(axes).flatten(2).flatten(0, 1)
    return dense[: layer.out_features, : layer.in_features]


def _slices(layer: MonarchLinear, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return L (l, k, s, t) and R (l, k, t, p) of every slice in float64."""
    n_right, rank = layer.right.shape[0], layer.rank
    n_left = layer.left.shape[0]
    left = left.detach().double().unflatten(-1, (n_right, rank)).transpose(1, 2)  # (l, k, s, t)
    right = right.detach().double().unflatten(1, (rank, n_left)).permute(2, 0, 1, 3)  # (l, k, t, p)
    return left, right


def _tangent(left: Tensor, right: Tensor, g_left: Tensor, g_right: Tensor) -> Tensor:
    inverse_left = torch.linalg.pinv(left.mT @ left, hermitian=True)
    inverse_right = torch.linalg.pinv(right @ right.mT, hermitian=True)
    rows = left @ inverse_left @ g_right  # P_L G
    columns = g_left @ inverse_right @ right  # G P_R
    return rows + columns - rows @ right.mT @ inverse_right @ right


def _squares(left: Tensor, right: Tensor, g_left: Tensor, g_right: Tensor) -> Tensor:
    tiny = torch.finfo(left.dtype).tiny
    rows = g_left.sum(-1) / right.square().sum((-2, -1)).clamp_min(tiny)[..., None]  # (l, k, s)
    columns = g_right.sum(-2) / left.square().sum((-2, -1)).clamp_min(tiny)[..., None]  # (l, k, p)
    mean = (rows.mean(-1) * columns.mean(-1)).sqrt().clamp_min(tiny)[..., None, None]
    return rows[..., :, None] * columns[..., None, :] / mean


def _exchange(optimizer: Optimizer, gone: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    """Put `new` where the first of `gone` stood and take the others out."""
    ids = {id(p) for p in gone}
    placed = False
    for group in optimizer.param_groups:
        kept: list[Tensor] = []
        for p in group["params"]:
            if id(p) not in ids:
                kept.append(p)
            elif not placed:
                there = {id(q) for g in optimizer.param_groups for q in g["params"]}
                kept += [q for q in new if id(q) not in there]
                placed = True
        group["params"] = kept


def _copied(value: Any) -> Any:
    return value.clone() if torch.is_tensor(value) else value
