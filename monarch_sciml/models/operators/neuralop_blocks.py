"""neuralop's layers with what surrounds the spectral convolution in fewer passes over the data.

Letters: B batch, C channels, N points of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neuralop.layers.channel_mlp import ChannelMLP as NeuralopChannelMLP
from neuralop.layers.fno_block import FNOBlocks as NeuralopFNOBlocks
from neuralop.layers.skip_connections import Flattened1dConv, SoftGating
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from monarch_sciml.kernels import pointwise
from monarch_sciml.kernels.dispatch import fits_kernel

Layer = tuple[Tensor, Tensor | None]


class ChannelMLP(NeuralopChannelMLP):
    """Multiply the channels as neuralop's module does, large fields in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, n_1, ..., n_d) to (B, O, n_1, ..., n_d)."""
        layers = _mlp_layers(self)
        if layers is None or x.ndim < 3 or not fits_kernel(x, *layers):
            return super().forward(x)
        if not pointwise.mlp_pays(x, len(layers[0])):
            return super().forward(x)
        return pointwise.channel_mlp(x.flatten(2), *layers).unflatten(2, x.shape[2:])


class FNOBlocks(NeuralopFNOBlocks):
    """Compute the layers of an FNO as neuralop's module does, large fields in fewer passes.

    Modules, parameters and their names are neuralop's. Layers with other options than those of
    neuralop's FNO, with hooks, or with modules that were replaced, are computed module by module.
    """

    def forward(self, x: Tensor, index: int = 0, output_shape: Any = None) -> Tensor:
        """Map x (B, C, n_1, ..., n_d) through layer `index`."""
        matrices = self._matrices(index) if output_shape is None else None
        if matrices is None or not (fits_kernel(x, *matrices) and pointwise.tail_pays(x)):
            return super().forward(x, index, output_shape)
        spectral = self.convs[index](x, output_shape=None)
        if spectral.shape != x.shape or spectral.dtype != x.dtype:
            return super().forward(x, index, output_shape)
        activate = index < self.n_layers - 1
        y = pointwise.block_tail(spectral.flatten(2), x.flatten(2), *matrices, activate=activate)
        return y.view_as(x)

    def _matrices(self, index: int) -> tuple[Any, ...] | None:
        """Return the arguments of `block_tail` after x, or None for a layer of another kind."""
        special = self.preactivation or self.stabilizer or self.norm or self.complex_data
        if special or self.resolution_scaling_factor is not None or not self.use_channel_mlp:
            return None
        if self.non_linearity is not nn.functional.gelu:
            return None
        if self.fno_skips is None or self.channel_mlp_skips is None:
            return None
        lists: Any = (self.fno_skips, self.channel_mlp_skips, self.channel_mlp)
        skip, gate, mlp = (modules[index] for modules in lists)
        if type(skip) is not Flattened1dConv or type(gate) is not SoftGating:
            return None
        if type(mlp) not in (ChannelMLP, NeuralopChannelMLP) or _hooked([skip, gate, mlp]):
            return None
        layers, product = _mlp_layers(mlp), _pointwise(skip.conv)
        if layers is None or product is None or product[1] is not None or gate.bias is not None:
            return None
        return (product[0], *layers, gate.weight.flatten())


def take_fast_paths(network: nn.Module) -> None:
    """Let the modules of a network of neuralop's compute as those of this file, in place.

    Only the class of a module changes, so that parameters, their names and the random numbers that
    they were drawn from stay.
    """
    for module in network.modules():
        if type(module) is NeuralopFNOBlocks:
            module.__class__ = FNOBlocks
        elif type(module) is NeuralopChannelMLP:
            module.__class__ = ChannelMLP


def _mlp_layers(mlp: NeuralopChannelMLP) -> tuple[Any, ...] | None:
    """Return weights and biases of a network of two layers with GELU, otherwise None."""
    if mlp.n_layers != 2 or mlp.dropout is not None:
        return None
    if mlp.non_linearity is not nn.functional.gelu:
        return None
    first, second = (_pointwise(layer) for layer in mlp.fcs)
    return None if first is None or second is None else (*first, *second)


def _pointwise(layer: nn.Module) -> Layer | None:
    """Return matrix and bias of a plain convolution of size 1, otherwise None."""
    if type(layer) is not nn.Conv1d or _hooked([layer]):
        return None
    if layer.kernel_size != (1,) or layer.stride != (1,) or layer.groups != 1:
        return None
    if layer.padding not in ((0,), "valid", "same"):
        return None
    return layer.weight.squeeze(-1), layer.bias


def _hooked(modules: Iterable[nn.Module]) -> bool:
    """Return whether something watches a module, or all of them."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    watched = any(getattr(module, kind) for module in modules for kind in kinds)
    return watched or bool(_has_any_global_hook())
