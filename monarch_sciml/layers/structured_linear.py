"""The base class of all linear layers with a structured weight matrix.

Letters: N vectors, n_in and n_out sizes of input and output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import finite, message, positive_int
from monarch_sciml.layers.computed_weight import ComputedWeight

_LOADED = "_is_hf_initialized"
"""The mark by which transformers tells parameters that are loaded, and not to be drawn again."""


class StructuredLinear(nn.Module, ABC):
    """Apply y = M x + b with a structured matrix M that is multiplied without being formed.

    A subclass defines how M is stored and multiplied (`product`, `dense_weight`), its initial value
    (`reset_factors`) and the approximation of a dense matrix (`fit`).

    Parameters
    ----------
    in_features, out_features
        Sizes of input and output along the channel axis.

    Attributes
    ----------
    channel_axis
        Axis of the input that is multiplied: -1 as in nn.Linear, or -1 - d when the layer replaces
        a convolution of size 1 over d axes.
    origin
        Class name of the dense layer that this one replaced, which `densify` restores.
    projection_error
        Relative error ||W - M|| / ||W|| of the projection that made the layer, in the norm that was
        minimised; None for a layer that was not projected.
    learning_rate_factors
        For the name of each factor the number by which to multiply the learning rate of a dense
        layer. A step of Adam moves every entry by the same amount, so a factor with fan-in f moves
        the output f / n_in times as far as the dense matrix does. The default n_in / f compensates
        for that (Qiu et al., 2024). The training loop applies them on request; `factor_rates` lists
        them.
    guide, guide_share
        A dense matrix W that takes part in the first part of the training (`add_guide`), and its
        share α: the layer computes (1 - α) M x + α W x. None and 0 when there is no guide.
    """

    bias: nn.Parameter | None
    guide: nn.Parameter | None
    learning_rate_factors: dict[str, float]

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.channel_axis = -1
        self.origin = "Linear"
        self.projection_error: float | None = None
        self.guide_share = 0.0
        self.register_parameter("guide", None)

    @classmethod
    @abstractmethod
    def options_for(
        cls, in_features: int, out_features: int, share: float, **given: Any
    ) -> dict[str, Any] | None:
        """Return the arguments whose matrix holds at most `share` of the n_in n_out numbers.

        `given` holds arguments that are chosen already. The result is None when not even the
        smallest matrix fits.
        """

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that build a layer of the same structure."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor:
        """Return M x for x (N, n_in), shape (N, n_out)."""

    @abstractmethod
    def dense_weight(self) -> Tensor:
        """Return M, shape (n_out, n_in), as a differentiable function of the factors."""

    @abstractmethod
    def reset_factors(self) -> None:
        """Draw factors so that each entry of M has the variance of nn.Linear, 1 / (3 n_in)."""

    @abstractmethod
    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Set the factors nearest to `weight` (n_out, n_in), in the norm of E[x xᵀ] if it is
        given.
        """

    def factors(self) -> dict[str, nn.Parameter]:
        """Return the parameters that make M, by name."""
        return {k: p for k, p in self.named_parameters(recurse=False) if k not in ("bias", "guide")}

    def matrix(self) -> Tensor:
        """Return the matrix of the whole layer, which is M or its mixture with the guide."""
        if self.guide is None:
            return self.dense_weight()
        return torch.lerp(self.dense_weight(), self.guide, self.guide_share)

    def add_guide(self) -> None:
        """Add a dense matrix that starts as M and with a share of 1 in the output.

        This is self-guided training: the dense matrix learns quickly at first, and the factors take
        over as the training loop lowers `guide_share` to 0. Call `remove_guide` then.

        References
        ----------
        Wei et al., "Building on efficient foundations: effective training of LLMs with structured
        feedforward layers", NeurIPS 2024, arXiv 2406.16450, section 3.3.
        """
        self.guide = nn.Parameter(self.dense_weight().detach().clone())
        self.guide_share = 1.0

    def remove_guide(self) -> None:
        """Remove the dense matrix, so that the layer is M again."""
        self.guide, self.guide_share = None, 0.0

    @property
    def n_weights(self) -> int:
        """Count the parameters of M, without the bias."""
        return sum(factor.numel() for factor in self.factors().values())

    def scale(self, ratio: float) -> None:
        """Multiply M by a positive number, in place, every factor by the same."""
        factors = self.factors().values()
        with torch.no_grad():
            for factor in factors:
                factor.mul_(ratio ** (1 / len(factors)))

    @property
    def in_channels(self) -> int:
        """Return n_in under the name that it has in convolutions."""
        return self.in_features

    @property
    def out_channels(self) -> int:
        """Return n_out under the name that it has in convolutions."""
        return self.out_features

    def reset_parameters(self) -> None:
        """Draw new factors, and a bias as nn.Linear does."""
        self.reset_factors()
        if self.bias is not None:
            bound = 1 / sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return M x + b along the channel axis.

        Parameters
        ----------
        x
            Input, shape (..., n_in), or with n_in entries along `channel_axis`.

        Returns
        -------
        The output, with the shape of x but n_out entries along that axis.

        Raises
        ------
        ValueError
            When x does not have n_in entries along that axis.
        """
        axis = self.channel_axis
        if x.ndim < -axis or x.shape[axis] != self.in_features:
            where = "last axis" if axis == -1 else f"axis {axis}"
            rule = f"`x` must have {self.in_features} entries along its {where}"
            raise ValueError(message(rule, f"shape {tuple(x.shape)}", "Check `in_features`."))
        x = x if axis == -1 else x.movedim(axis, -1)
        flat = x.reshape(-1, self.in_features)  # (..., n_in) -> (N, n_in)
        y = self.product(flat)  # (N, n_out)
        if self.guide is not None:
            y = torch.lerp(y, nn.functional.linear(flat, self.guide), self.guide_share)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)  # under autocast the product is in half precision
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if axis == -1 else y.movedim(-1, axis)

    @property
    def weight(self) -> Tensor:
        """Compute M, shape (n_out, n_in): differentiable, and it cannot be written in place."""
        matrix = self.matrix().as_subclass(ComputedWeight)
        if all(getattr(p, _LOADED, False) for p in self.factors().values()):
            setattr(matrix, _LOADED, True)
        return matrix

    @weight.setter
    def weight(self, matrix: Tensor) -> None:
        """Set M to the structured matrix nearest to this one."""
        self._project(matrix, None)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            if isinstance(value, nn.Parameter):
                rule = f"the `weight` of {type(self).__name__} cannot be a parameter or be tied"
                remedy = "Assign its values, layer.weight = parameter.detach(), or leave it dense."
                raise TypeError(message(rule, "nn.Parameter", remedy))
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, *args: Any, second_moments: Tensor | None = None, **options: Any
    ) -> Any:
        """Return the layer whose matrix is nearest to the weight of a dense one.

        Parameters
        ----------
        linear
            The dense layer, which is not changed. Bias, dtype and device are taken from it.
        *args, **options
            Arguments of the constructor that follow `bias`.
        second_moments
            Mean of x xᵀ over inputs x of the layer, shape (n_in, n_in), or of x² (n_in,). With them
            the mean squared error of the output is minimised instead of that of the matrix.

        Returns
        -------
        A new layer; `projection_error` says how far it is from the dense one.

        Raises
        ------
        ValueError
            When the options do not fit the sizes, or weight or second moments are not finite.

        Notes
        -----
        The projection is computed in at least float32.

        References
        ----------
        Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, Theorem 1 (dense-to-sparse).
        """
        weight, bias = linear.weight.detach(), linear.bias
        place = {"device": weight.device, "dtype": weight.dtype}
        sizes = (linear.in_features, linear.out_features, bias is not None)
        layer: Any = cls(*sizes, *args, **options, **place)  # pyright: ignore[reportCallIssue]
        layer._project(weight, second_moments)
        if bias is not None:
            with torch.no_grad():
                layer.bias.copy_(bias)
        return layer

    def to_linear(self) -> nn.Linear:
        """Return the nn.Linear of the same function, with parameters of its own."""
        factor = next(iter(self.factors().values()))
        has_bias = self.bias is not None
        linear = nn.Linear(self.in_features, self.out_features, has_bias, "meta", factor.dtype)
        linear = linear.to_empty(device=factor.device)
        with torch.no_grad():
            linear.weight.copy_(self.matrix())
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load the factors; name a dense weight, or factors of another structure, in one line."""
        own = {prefix + name: tuple(p.shape) for name, p in self.factors().items()}
        stored = {k: tuple(state_dict[k].shape) for k in own if k in state_dict}
        if strict and f"{prefix}weight" in state_dict and not stored:
            got = f"a dense weight for the {type(self).__name__} `{prefix[:-1]}`"
            remedy = "Load it into the dense model, then monarchize; or densify this one first."
        elif strict and not stored and (others := self._other_factors(state_dict, prefix)):
            got = f"{', '.join(others)} for the {type(self).__name__} `{prefix[:-1]}`"
            remedy = "Convert the model as the saved one was."
        elif any(shape != own[name] for name, shape in stored.items()):
            wanted = {name: own[name] for name in stored}
            got = f"`{prefix[:-1]}` with {stored} for {wanted}"
            remedy = "Convert the model as the saved one was."
        else:
            super()._load_from_state_dict(
                state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                error_msgs,
            )  # fmt: skip
            return
        error_msgs.append(message("the state must be of the same structure", got, remedy))

    def _other_factors(self, state_dict: Mapping[str, Any], prefix: str) -> list[str]:
        """Return the names of factors in a state that a layer of this structure does not have."""
        names = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
        return [name for name in names if "." not in name and name not in ("bias", "guide")]

    def _project(self, weight: Tensor, second_moments: Tensor | None) -> None:
        shape = (self.out_features, self.in_features)
        if tuple(weight.shape) != shape:
            rule = f"`weight` must be a matrix of shape {shape}"
            raise ValueError(message(rule, tuple(weight.shape), "Check the sizes of the layer."))
        finite("weight", weight, remedy="Train the dense layer again.")
        dtype = torch.promote_types(weight.dtype, torch.float32)
        weight = weight.detach().to(dtype)
        if second_moments is not None:
            second_moments = _checked_moments(second_moments, self.in_features).to(weight)
        with torch.no_grad():
            self.fit(weight, second_moments)
            gap = weight - self.dense_weight().to(dtype)
            size = _norm(weight, second_moments)
            self.projection_error = float(_norm(gap, second_moments) / size) if size > 0 else 0.0

    def _add_bias(self, bias: bool, place: Mapping[str, Any]) -> None:
        empty = torch.empty(self.out_features, **place) if bias else None
        self.register_parameter("bias", None if empty is None else nn.Parameter(empty))

    def _sizes_text(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        axis = "" if self.channel_axis == -1 else f", channel_axis={self.channel_axis}"
        return f"{sizes}, bias={self.bias is not None}{axis}"


def factor_rates(model: nn.Module) -> list[tuple[nn.Parameter, float]]:
    """Return every factor of a model's structured layers and its learning-rate factor.

    Parameters
    ----------
    model
        Any module.

    Returns
    -------
    Pairs of a parameter and the number by which to multiply the learning rate of a dense layer.

    Examples
    --------
    >>> from monarch_sciml.layers import MonarchLinear
    >>> model = MonarchLinear(64, 64)
    >>> rate = 1e-3
    >>> groups = [{"params": [p], "lr": rate * factor} for p, factor in factor_rates(model)]
    >>> groups.append({"params": [model.bias], "lr": rate})
    >>> [group["lr"] for group in torch.optim.Adam(groups).param_groups]
    [0.004, 0.004, 0.001]
    """
    layers = [m for m in model.modules() if isinstance(m, StructuredLinear)]
    return [
        (factor, layer.learning_rate_factors.get(name, 1.0))
        for layer in layers
        for name, factor in layer.factors().items()
    ]


def column_scale(second_moments: Tensor | None, weight: Tensor) -> Tensor:
    """Return the root mean square of every input (n_in,), never zero; ones without moments."""
    if second_moments is None:
        return weight.new_ones(weight.shape[1])
    squares = second_moments if second_moments.ndim == 1 else second_moments.diagonal()
    scale = squares.clamp_min(0).sqrt()
    floor = torch.finfo(scale.dtype).eps * scale.max()
    return scale.clamp_min(floor if floor > 0 else 1.0)


def _checked_moments(moments: Tensor, n_in: int) -> Tensor:
    if tuple(moments.shape) not in ((n_in,), (n_in, n_in)):
        rule = f"`second_moments` must have shape ({n_in},) or ({n_in}, {n_in})"
        raise ValueError(message(rule, tuple(moments.shape), "Average x² or x xᵀ over inputs."))
    return finite("second_moments", moments.detach(), remedy="Check the calibration inputs.")


def _norm(matrix: Tensor, moments: Tensor | None) -> Tensor:
    """Return the Frobenius norm, or the root mean square output for inputs of these moments."""
    if moments is None:
        return torch.linalg.norm(matrix)
    weighted = matrix * moments if moments.ndim == 1 else matrix @ moments
    return (weighted * matrix).sum().clamp_min(0).sqrt()
