"""The kinds of dense layers that multiply one axis by one matrix, and functions to build them.

Letters: n_in and n_out channels, d axes of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml.layers import StructuredLinear


@dataclass(frozen=True)
class DenseKind:
    """Describe one class of dense layers.

    Attributes
    ----------
    name
        Name of the class.
    matches
        Function that returns whether a module is of this kind. Subclasses that compute something
        else are not.
    to_matrix, from_matrix
        Functions that turn the layer's `weight` (or a tensor of its shape) into the matrix (n_out,
        n_in) and back.
    build
        Function that makes an empty layer from n_in, n_out and bias, with device and dtype by name.
    channel_axis
        Axis of the input that the matrix multiplies.
    """

    name: str
    matches: Callable[[nn.Module], bool]
    to_matrix: Callable[[Tensor], Tensor]
    from_matrix: Callable[[Tensor], Tensor]
    build: Callable[..., nn.Module]
    channel_axis: int = -1


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.mT


def _is_transformers_conv1d(module: nn.Module) -> bool:
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def _transformers_conv1d(n_in: int, n_out: int, bias: bool, **place: Any) -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(n_out, n_in).to(**place)


def _pointwise(cls: type[Any], dims: int) -> DenseKind:
    def matches(module: nn.Module) -> bool:
        if type(module) is not cls:
            return False
        layer: Any = module
        ones = (1,) * dims
        plain = layer.kernel_size == layer.stride == ones and layer.groups == 1
        return plain and layer.padding in ((0,) * dims, "valid", "same")

    def from_matrix(matrix: Tensor) -> Tensor:
        return matrix.reshape(*matrix.shape, *(1,) * dims)

    def build(n_in: int, n_out: int, bias: bool, **place: Any) -> nn.Module:
        return cls(n_in, n_out, 1, bias=bias, **place)

    def to_matrix(weight: Tensor) -> Tensor:
        return weight.flatten(1)  # (n_out, n_in, 1, ...) -> (n_out, n_in)

    return DenseKind(cls.__name__, matches, to_matrix, from_matrix, build, -1 - dims)


KINDS: dict[str, DenseKind] = {
    kind.name: kind
    for kind in (
        DenseKind("Linear", lambda m: type(m) is nn.Linear, _same, _same, nn.Linear),
        DenseKind(
            "Conv1D", _is_transformers_conv1d, _transposed, _transposed, _transformers_conv1d
        ),
        _pointwise(nn.Conv1d, 1),
        _pointwise(nn.Conv2d, 2),
        _pointwise(nn.Conv3d, 3),
    )
}
"""Every kind of dense layer that can be converted, by the name of its class."""


def kind_of(module: nn.Module) -> DenseKind | None:
    """Return the kind of a dense layer; None for any other module.

    A layer whose weight is computed (weight norm, pruning) is none, nor is one without sizes.
    """
    if not isinstance(module._parameters.get("weight"), nn.Parameter):
        return None
    return next((kind for kind in KINDS.values() if kind.matches(module)), None)


def matrix_of(module: nn.Module) -> Tensor:
    """Return the matrix (n_out, n_in) of a dense layer, detached from the graph."""
    kind = kind_of(module)
    assert kind is not None, "the caller has asked for its kind"
    return kind.to_matrix(module.get_parameter("weight").detach())


def as_linear(module: nn.Module) -> nn.Linear:
    """Return an nn.Linear with the matrix and the bias of a dense layer of any kind."""
    matrix = matrix_of(module)
    bias: Any = getattr(module, "bias", None)
    n_out, n_in = matrix.shape
    linear = nn.Linear(n_in, n_out, bias is not None, device="meta", dtype=matrix.dtype)
    linear.weight = nn.Parameter(matrix, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return linear


def dense_again(layer: StructuredLinear) -> nn.Module:
    """Return a dense layer of the same function and of the kind that a structured layer
    replaced.
    """
    kind = KINDS.get(layer.origin, KINDS["Linear"])
    factor = next(iter(layer.factors().values()))
    place = {"device": factor.device, "dtype": factor.dtype}
    dense = kind.build(layer.in_features, layer.out_features, layer.bias is not None, **place)
    with torch.no_grad():
        dense.get_parameter("weight").copy_(kind.from_matrix(layer.matrix()))
        if layer.bias is not None:
            dense.get_parameter("bias").copy_(layer.bias)
    return dense
