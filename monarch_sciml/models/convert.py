"""Convert a model to Monarch matrices and back, for sparse training in either direction."""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from monarch_sciml._checks import message
from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.layers.spectral_conversion import (
    fixed_or_dense,
    has_fixed_basis,
    has_monarch_basis,
    learnable_from_fixed,
    learnable_from_neuralop,
)
from monarch_sciml.models.conversion.moments import carry_state, check_not_live
from monarch_sciml.models.conversion.plan import (
    BlockCounts,
    Choice,
    LinearConversion,
    PlannedLayer,
    Structure,
)
from monarch_sciml.models.conversion.refusals import all_dense, nothing_to_convert
from monarch_sciml.models.conversion.replacements import (
    Pairs,
    dense_pairs,
    hand_on,
    put_pairs,
    structured_pairs,
)
from monarch_sciml.models.conversion.transformers_plugin import note_conversion
from monarch_sciml.transforms import CorrectedTransform, FixedTransform, MonarchTransform
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
    transform: Literal["monarch", "dense", "corrected"] = "monarch",
    structure: Structure = "monarch",
    parameters: float = 0.5,
    n_blocks: BlockCounts | Mapping[str, BlockCounts] | None = None,
    rank: int | Mapping[str, int] | None = None,
    order: Literal["strided", "contiguous"] = "strided",
    include: Choice | None = None,
    exclude: Choice = (),
    min_features: int = 1,
    start: Literal["project", "random"] = "project",
    faster_at: int | None = None,
    calibration: Iterable[Any] | None = None,
    inplace: bool = False,
    optimizer: Optimizer | None = None,
) -> nn.Module:
    """Replace spectral convolutions, transforms and, on request, linear layers by Monarch ones.

    A spectral convolution becomes a learnable `MonarchSpectralConv`, and a fixed transform (as in
    SENSE, VarNet and MoDL) a learnable transform, with the same function at that moment;
    an nn.Linear becomes the nearest `MonarchLinear` (dense-to-sparse, Theorem 1).

    Parameters
    ----------
    model
        Any module, which can be a single layer. These are converted: neuralop's SpectralConv (dense
        or factorised weights, as in FNO, TFNO and UNO), `MonarchSpectralConv` with a fixed basis
        ("fourier", "cosine", "sine"), `FourierTransform`, `CosineTransform` and `SineTransform`
        outside of a spectral convolution, and nn.Linear itself. All other modules are left as they
        are, among them learnable Monarch or dense transforms and subclasses of nn.Linear.
    spectral
        Whether to convert the spectral convolutions and transforms.
    linear
        Whether to convert dense layers as well: nn.Linear, the Conv1D of `transformers`,
        convolutions of size 1 (the channel MLPs of an FNO), and the projections of
        nn.MultiheadAttention.
    grid_shape
        Grid of the learned transforms: the training grid as the layers see it, after domain
        padding. By default it is the grid of the layer, or for a layer of neuralop the smallest
        power of two with four points per mode.
    per_channel, transform_rank, transform_order
        Options of the learned transforms, as in `MonarchSpectralConv`. A transform outside of a
        spectral convolution stays on its grid and serves all channels.
    transform
        Kind of the new transforms: "monarch", "dense", or "corrected". The last keeps the fixed
        transforms and adds a learned correction, which in a spectral convolution covers the whole
        grid.
    structure, parameters, n_blocks, rank, order, include, exclude, min_features, start, faster_at
        The attributes of `LinearConversion`, which say which dense layers are converted and to
        what. By default all but heads and tied layers become Monarch matrices of 4 blocks with half
        of the parameters.
    calibration
        Batches of inputs of the model (each a tensor, a tuple of arguments or a mapping). With them
        the projection minimises the error of the output of every layer instead of the error of its
        matrix.
    inplace
        Change `model` rather than a copy of it. A model that is a layer itself is never changed.
    optimizer
        The optimiser of `model`, to be given with inplace=True. Its groups get the new parameters
        and its moments are projected; a warning names the layers whose state starts from zero.

    Returns
    -------
    The model, or the layer that takes its place. It stays in its dtype, on its device and in its
    training mode; frozen weights stay frozen, the new transforms are trainable.

    Raises
    ------
    TypeError
        When `model` is no nn.Module.
    ValueError
        When nothing in the model is to be converted, a pattern matches nothing, one side of a tied
        pair is asked for, or another optimiser updates a model that is converted in place. When a
        layer cannot be converted: neuralop's spherical convolution, its half or mixed precision, a
        subclass with another function, a grid too small for the modes, a dense layer with NaN. The
        message names the layer.

    Notes
    -----
    A module that stands in several places is converted once and stays shared. Layers that share
    their weight, as an embedding and the head of a language model, stay dense, or are converted
    together when `include` names both; they then share their factors, and `densify` ties them
    again. Hooks and buffers stay. `conversion_table` lists what was done. Factorised spectral
    weights are multiplied out, and a separable layer gets diagonal mixing matrices, so that both
    have more parameters than before.

    neuralop 2.0.0 places frequencies wrongly on odd grids, on output grids of another size and
    for complex data. The model was trained that way, so the converted layers do the same
    (`layer.placement`). Unlike neuralop's they refuse a grid with fewer points than modes. To
    give the levels of a UNO a grid each, convert its blocks one by one with `inplace=True`.

    A state dict of a converted model is loaded into a model built and converted alike, or prepared
    by `restore_conversion`. For a model of `transformers` the conversion is written into its
    configuration, so that `save_pretrained` and `from_pretrained` work.

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
    if not (spectral or linear):
        rule = "`spectral` or `linear` must be True"
        raise ValueError(message(rule, "False for both", "Set what to convert."))
    conversion = LinearConversion(
        structure=structure, parameters=parameters, n_blocks=n_blocks, rank=rank, order=order,
        include=include, exclude=exclude, min_features=min_features, start=start,
        faster_at=faster_at,
    )  # fmt: skip
    options: dict[str, Any] = {
        "grid_shape": grid_shape,
        "per_channel": per_channel,
        "transform_rank": transform_rank,
        "transform_order": transform_order,
        "transform": transform,
    }
    if not linear:
        _refuse_given({**vars(conversion), "calibration": calibration}, "linear layers", "linear")
    if not spectral:
        _refuse_given(options, "spectral convolutions and transforms", "spectral")
    given, model = model, _own(model, inplace, optimizer)

    def replacement(module: nn.Module) -> nn.Module | None:
        if isinstance(module, MonarchSpectralConv):
            return learnable_from_fixed(module, **options) if has_fixed_basis(module) else None
        if isinstance(module, FixedTransform):
            return learnable_transform(
                module, transform, rank=transform_rank, order=transform_order
            )
        if _is_neuralops(module):
            return learnable_from_neuralop(module, **options)
        return None

    pairs = _spectral_pairs(model, replacement) if spectral else {}
    plan: list[PlannedLayer] = []
    if linear:
        linear_pairs, plan = structured_pairs(model, conversion, calibration)
        if pairs and plan and not linear_pairs:
            got, remedy = all_dense(plan)
            rule = "linear=True should find dense layers to convert"
            warnings.warn(message(rule, got, remedy), UserWarning, stacklevel=2)
        pairs |= linear_pairs
    if not pairs:
        raise ValueError(nothing_to_convert(model, plan, spectral=spectral, linear=linear))
    return _put(given, model, pairs, optimizer, inplace=inplace)


def densify(
    model: nn.Module, inplace: bool = False, optimizer: Optimizer | None = None
) -> nn.Module:
    """Replace every Monarch layer of a model by a dense or fixed layer of the same function.

    This is the switch in the paper's sparse-to-dense schedule, which trains Monarch matrices first
    and continues with the dense matrices they multiply out to.

    Parameters
    ----------
    model
        Any module, which can be a single layer. A structured linear layer becomes a dense layer of
        the class that it replaced, or nn.Linear if it replaced none; weights that were tied are
        tied again. A `MonarchSpectralConv` with Monarch transforms becomes one with
        transform="dense", or, while no transform has moved, with the fixed "fourier", "cosine" or
        "sine" basis; a `MonarchTransform` outside of one becomes a `DenseTransform` or a fixed one
        likewise. Layers with dense or fixed transforms are left as they are.
    inplace
        Change `model` rather than a copy of it. A model that is a layer itself is never changed.
    optimizer
        The optimiser of `model`, to be given with inplace=True. Its state is carried over to the
        dense weights.

    Returns
    -------
    The model, or the layer that replaces it, with the same function on every grid.

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
    >>> from monarch_sciml.layers import MonarchLinear
    >>> model = torch.nn.Sequential(MonarchLinear(8, 6, n_blocks=2), torch.nn.ReLU())
    >>> dense = densify(model)
    >>> dense[0]
    Linear(in_features=8, out_features=6, bias=True)
    >>> x = torch.randn(3, 8)
    >>> torch.allclose(dense(x), model(x), atol=1e-6)
    True
    """
    given, model = model, _own(model, inplace, optimizer)

    def replacement(module: nn.Module) -> nn.Module | None:
        if isinstance(module, MonarchSpectralConv) and has_monarch_basis(module):
            return fixed_or_dense(module)
        if isinstance(module, MonarchTransform | CorrectedTransform):
            return fixed_or_dense_transform(module)
        return None

    pairs = _spectral_pairs(model, replacement) | dense_pairs(model)
    if not pairs:
        rule = "`model` must hold structured layers or Monarch transforms to be multiplied out"
        got = f"{type(model).__name__} without any"
        raise ValueError(message(rule, got, "It is dense already, or call monarchize first."))
    return _put(given, model, pairs, optimizer, inplace=inplace)


def _refuse_given(values: Mapping[str, Any], kind: str, flag: str) -> None:
    """Raise ValueError when an option is given of layers that are not converted."""
    parameters = inspect.signature(monarchize).parameters
    for name, value in values.items():
        default = parameters[name].default
        if value is not None if default is None else value not in (default, []):
            rule = f"`{name}` is an option of {kind} and needs {flag}=True"
            raise ValueError(message(rule, f"{flag}=False", f"Set `{flag}=True`, or leave it out."))


def _own(model: nn.Module, inplace: bool, optimizer: Optimizer | None) -> nn.Module:
    """Return the model to change: a copy, or the model itself."""
    if not isinstance(model, nn.Module):
        got = type(model).__name__
        raise TypeError(message("`model` must be an nn.Module", got, "Pass the network."))
    if optimizer is not None and not inplace:
        rule = "an optimiser can be carried over to the model it updates only"
        raise ValueError(message(rule, "inplace=False", "Pass inplace=True."))
    if inplace:
        return model
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:  # weights that are computed, as by pruning
        rule = "the model must allow copy.deepcopy"
        got = f"a {type(model).__name__} that does not"
        raise ValueError(message(rule, got, "Pass inplace=True.")) from error


def _spectral_pairs(
    model: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]
) -> Pairs:
    """Return pairs of a spectral module and its replacement, for all modules that have one."""
    pairs: Pairs = {}
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
            pairs[module] = found
    return pairs


def _put(
    given: nn.Module,
    model: nn.Module,
    pairs: Pairs,
    optimizer: Optimizer | None,
    *,
    inplace: bool,
) -> nn.Module:
    """Put every new module in the places of the old one; return the model."""
    names = {module: name for name, module in model.named_modules()}
    if inplace and model not in pairs:
        kept = {id(p) for new in pairs.values() for p in new.parameters()}
        gone = [p for old in pairs for p in old.parameters() if id(p) not in kept]
        check_not_live(gone, optimizer)
    for old, new in pairs.items():
        hand_on(old, new)
    if model in pairs:
        if optimizer is not None:
            rule = "an optimiser can be carried over only for layers inside of a model"
            remedy = "Put the layer into an nn.Sequential, or make the optimiser afterwards."
            raise ValueError(message(rule, f"the layer {type(model).__name__}", remedy))
        if model is given:  # it keeps its bias for itself
            return copy.deepcopy(pairs[model])
        return pairs[model]
    if optimizer is not None:
        dropped = carry_state(optimizer, pairs, names)
        if dropped:
            rule = "the optimiser's state of some layers cannot be carried over and starts afresh"
            remedy = "Their step sizes settle within some steps."
            warnings.warn(message(rule, ", ".join(dropped[:3]), remedy), UserWarning, stacklevel=3)
    put_pairs(model, pairs)
    note_conversion(model)
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
