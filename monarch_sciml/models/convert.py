"""Make any model Monarch, and multiply it out again: sparse training in either direction."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence

from torch import nn

from monarch_sciml._checks import finite, message, positive_int
from monarch_sciml.layers import MonarchLinear, MonarchSpectralConv
from monarch_sciml.layers.spectral_conversion import (
    fixed_or_dense,
    has_fixed_basis,
    has_monarch_basis,
    learnable_from_fixed,
    learnable_from_neuralop,
)
from monarch_sciml.monarch.block_sizes import block_counts
from monarch_sciml.transforms import FixedTransform, MonarchTransform
from monarch_sciml.transforms.conversion import fixed_or_dense_transform, learnable_transform


def monarchize(
    model: nn.Module,
    *,
    spectral: bool = True,
    linear: bool = False,
    grid_shape: Sequence[int] | None = None,
    per_channel: bool = False,
    transform_rank: int = 1,
    transform_order: int = 2,
    n_blocks: int | tuple[int, int] = 4,
    rank: int | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Replace spectral convolutions and transforms, on request linear layers, by Monarch ones.

    A spectral convolution becomes a learnable `MonarchSpectralConv`, and a fixed transform (as in
    SENSE, VarNet and MoDL) a learnable `MonarchTransform`, with the same function at that moment;
    an nn.Linear becomes the nearest `MonarchLinear` (dense-to-sparse, Theorem 1).

    Parameters
    ----------
    model
        Any module, also a layer itself. Converted are neuralop's SpectralConv (dense or
        factorised weights, as in FNO, TFNO and UNO), `MonarchSpectralConv` with a fixed basis
        ("fourier", "cosine", "sine"), `FourierTransform`, `CosineTransform` and `SineTransform`
        outside of it, and nn.Linear itself. Left as they are: layers that are learnable Monarch or
        dense transforms already, subclasses of nn.Linear, everything else.
    spectral
        Convert the spectral convolutions and transforms.
    linear
        Convert every nn.Linear.
    grid_shape
        Grid on which the learned transforms live, the one the layers see: after domain padding.
        Give the grid you train on. By default the layer's own, or for a layer of neuralop's the
        smallest power of two with four points per mode.
    per_channel, transform_rank, transform_order
        Of the learned transforms; see `MonarchSpectralConv`. A transform outside of one stays on
        its grid and is one for all channels.
    n_blocks
        Blocks of the factors of every `MonarchLinear`.
    rank
        Rank of their slices, lowered to the size of the slices where a layer is smaller. By
        default the largest that holds at most half of the dense parameters (the paper's 4 blocks),
        or 1 where none does.
    inplace
        Change `model` rather than a copy of it. A model that is a layer itself is never changed.

    Returns
    -------
    The model, or the layer that takes its place. It stays in its dtype, on its device and in its
    training mode; frozen weights stay frozen, the new transforms are trainable.

    Raises
    ------
    TypeError
        When `model` is no nn.Module.
    ValueError
        When nothing in the model is to be converted, or a layer cannot be: neuralop's spherical
        convolution, its half or mixed precision, a subclass with another function, a grid too
        small for the modes, an nn.Linear with NaN. The message names the layer.

    Notes
    -----
    A module that stands in several places is converted once and stays shared; different modules
    that share a parameter come apart. Forward hooks of a replaced layer are lost. Factorised
    weights are multiplied out, and a separable layer gets diagonal mixing matrices, so that both
    have more parameters than before.

    neuralop 2.0.0 places frequencies wrongly on odd grids, on output grids of another size and
    for complex data. The model was trained that way, so the converted layers do the same
    (`layer.placement`). Unlike neuralop's they refuse a grid with fewer points than modes. To
    give the levels of a UNO a grid each, convert its blocks one by one with `inplace=True`.

    A state dict of a converted model is loaded into a model built and converted alike.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, sections 3.3 and 5.

    Examples
    --------
    >>> import torch
    >>> from neuralop.models import FNO
    >>> fno = FNO(n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=4, n_layers=1)
    >>> monarch = monarchize(fno, grid_shape=(16, 16))
    >>> x = torch.randn(2, 1, 16, 16)
    >>> torch.allclose(monarch(x), fno(x), atol=1e-5)
    True
    >>> layer = monarchize(torch.nn.Linear(256, 256), linear=True)
    >>> sum(p.numel() for p in layer.parameters()), 256 * 256 + 256
    (33024, 65792)
    """
    rank = None if rank is None else positive_int("rank", rank)
    block_counts(n_blocks)
    if not (spectral or linear):
        rule = "`spectral` or `linear` must be True"
        raise ValueError(message(rule, "False for both", "Set what to convert."))

    def replacement(module: nn.Module) -> nn.Module | None:
        options = {
            "grid_shape": grid_shape,
            "per_channel": per_channel,
            "transform_rank": transform_rank,
            "transform_order": transform_order,
        }
        if linear and type(module) is nn.Linear:
            return _monarch_linear(module, n_blocks, rank)
        if not spectral:
            return None
        if isinstance(module, MonarchSpectralConv):
            return learnable_from_fixed(module, **options) if has_fixed_basis(module) else None
        if isinstance(module, FixedTransform):
            return learnable_transform(module, rank=transform_rank, order=transform_order)
        if _is_neuralops(module):
            return learnable_from_neuralop(module, **options)
        return None

    wanted = []
    if spectral:
        wanted.append("neuralop's SpectralConv, a FixedTransform")
        wanted.append("a MonarchSpectralConv with a fixed basis")
    if linear:
        wanted.append("nn.Linear")
    remedy = "Set `linear=True` to convert every nn.Linear." if not linear else "Check the model."
    return _replaced(model, replacement, " or ".join(wanted), remedy, inplace)


def densify(model: nn.Module, inplace: bool = False) -> nn.Module:
    """Multiply every Monarch layer of a model out: the same function without Monarch matrices.

    The end of the paper's sparse-to-dense schedule: train Monarch, multiply out, go on dense.

    Parameters
    ----------
    model
        Any module, also a layer itself. A `MonarchLinear` becomes an nn.Linear. A
        `MonarchSpectralConv` with Monarch transforms becomes one with transform="dense", or,
        while no transform has moved, with the fixed "fourier", "cosine" or "sine" basis; a
        `MonarchTransform` outside of one becomes a `DenseTransform` or a fixed one likewise. Layers
        with dense or fixed transforms are left as they are.
    inplace
        Change `model` rather than a copy of it. A model that is a layer itself is never changed.

    Returns
    -------
    The model, or the layer that takes its place, with the same function on every grid.

    Raises
    ------
    TypeError
        When `model` is no nn.Module.
    ValueError
        When it holds no Monarch layer.

    Notes
    -----
    The products are computed in float64 for the transforms and in the layer's dtype for linear
    layers. A spectral convolution keeps its parameters `weight` and `bias` themselves.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, section 5.2 (reverse sparsification).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(MonarchLinear(8, 6, n_blocks=2), torch.nn.ReLU())
    >>> dense = densify(model)
    >>> dense[0]
    Linear(in_features=8, out_features=6, bias=True)
    >>> x = torch.randn(3, 8)
    >>> torch.allclose(dense(x), model(x), atol=1e-6)
    True
    """

    def replacement(module: nn.Module) -> nn.Module | None:
        if isinstance(module, MonarchLinear):
            return _as_before(module.to_linear(), module)
        if isinstance(module, MonarchSpectralConv) and has_monarch_basis(module):
            return fixed_or_dense(module)
        if isinstance(module, MonarchTransform):
            return fixed_or_dense_transform(module)
        return None

    wanted = "a MonarchLinear, a MonarchTransform or a MonarchSpectralConv that holds some"
    return _replaced(model, replacement, wanted, "Call monarchize first.", inplace)


def _replaced(
    model: nn.Module,
    replacement: Callable[[nn.Module], nn.Module | None],
    wanted: str,
    remedy: str,
    inplace: bool,
) -> nn.Module:
    """Replace every module for which `replacement` returns one; shared modules stay shared."""
    if not isinstance(model, nn.Module):
        got = type(model).__name__
        raise TypeError(message("`model` must be an nn.Module", got, "Pass the network."))
    model = model if inplace else copy.deepcopy(model)
    new: dict[nn.Module, nn.Module] = {}
    layers = (module for module in model.modules() if isinstance(module, MonarchSpectralConv))
    inside = {part for layer in layers for part in layer.modules() if part is not layer}
    for name, module in model.named_modules():
        if module in inside:  # converted with their layer, or not at all
            continue
        try:
            found = replacement(module)
        except ValueError as error:
            raise ValueError(f"{name or type(module).__name__}: {error}") from error
        if found is not None:
            new[module] = found
    if not new:
        rule = f"`model` must hold {wanted}"
        raise ValueError(message(rule, f"{type(model).__name__} without any", remedy))
    if model in new:
        return new[model]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in new:
                parent._modules[name] = new[child]
    return model


def _is_neuralops(module: nn.Module) -> bool:
    """Return whether a module is a spectral convolution of neuralop's, as far as it is loaded."""
    base = sys.modules.get("neuralop.layers.base_spectral_conv")
    if base is None or not isinstance(module, base.BaseSpectralConv):
        return False
    from neuralop.layers.spectral_convolution import SpectralConv

    if not isinstance(module, SpectralConv):
        rule = "a spectral convolution must be neuralop's SpectralConv to be converted"
        remedy = "Convert the other parts of the model with inplace=True."
        raise ValueError(message(rule, type(module).__name__, remedy))
    return True


def _monarch_linear(
    linear: nn.Linear, n_blocks: int | tuple[int, int], rank: int | None
) -> nn.Module:
    """Project a linear layer; half of its parameters by default."""
    finite("weight", linear.weight, remedy="Train it again.")
    n_right, n_left = block_counts(n_blocks)
    n_p, n_s = -(-linear.in_features // n_right), -(-linear.out_features // n_left)
    if rank is None:
        # a rank holds l n_in + k n_out = k l (p + s) numbers
        rank = linear.weight.numel() // (2 * n_right * n_left * (n_p + n_s))
    layer = MonarchLinear.from_linear(linear, n_blocks, max(1, min(rank, n_p, n_s)))
    return _as_before(layer, linear)


def _as_before(new: nn.Module, old: nn.Linear | MonarchLinear) -> nn.Module:
    """Hand on what is frozen and the training mode."""
    frozen = not any(p.requires_grad for name, p in old.named_parameters() if name != "bias")
    for name, parameter in new.named_parameters():
        if name == "bias" and old.bias is not None:
            parameter.requires_grad_(old.bias.requires_grad)
        else:
            parameter.requires_grad_(not frozen)
    return new.train(old.training)
