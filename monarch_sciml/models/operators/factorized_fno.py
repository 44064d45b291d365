"""The factorised Fourier neural operator with its transform as an argument: F-FNO or Monarch-F-NO.

Letters: B batch, C hidden channels, d grid axes, n_i grid sizes, K_i kept modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm as normalised

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.layers import MonarchSpectralConv
from monarch_sciml.models.network import Network
from monarch_sciml.models.operators.convolution_blocks import (
    Activation,
    activation_layer,
    check_field,
    layer,
    n_axes,
)
from monarch_sciml.models.operators.operator_grid import (
    DomainPadding,
    StartName,
    check_modes,
    padded_grid,
    padding_fractions,
    with_coordinates,
)
from monarch_sciml.transforms.named import TRANSFORMS, TransformName, TransformOptions


class FactorizedFNO(Network):
    """Convolve along one axis at a time, sum, and add a two-layer network of that to the field.

    z_{l+1} = z_l + V_l act(U_l h_l + a_l) + b_l,  h_l = sum_i Re(S_i R_i A_i z_l),

    with A_i and S_i the one-dimensional DFT along axis i and its inverse (F-FNO) or learnable
    transforms that start there, and R_i one matrix over the channels for each of the K_i modes. The
    spectral weights therefore grow with the sum of the modes instead of their product. The residual
    connection comes after the nonlinearity, so that deep networks can be trained.

    Parameters
    ----------
    grid_shape
        Grid to train on (1, 2 or 3 axes). The network runs on other grids as well; learned
        transforms are resampled.
    in_channels, out_channels
        Channels of input and output field.
    n_modes
        Modes kept along each axis, both signs, as for `FNO`: n_modes // 2 + 1 matrices of a complex
        basis, which is the authors' `modes`.
    hidden_channels
        Width.
    n_layers
        Layers.
    transform
        "fourier", "monarch", "dense", "corrected", "cosine" or "sine".
    init, per_channel, transform_rank, transform_order, grid_blocks, mode_blocks
        Options of the learnable transforms, with the meaning they have in `MonarchSpectralConv`.
    shared_weights
        Whether all layers share one R_i and one pair of transforms per axis, as in the paper on
        Navier-Stokes.
    spectral_gain
        Standard deviation of the initial R_i in units of Xavier's, sqrt(1 / (2 C K_i)). The authors
        take 0.1 for deep networks with shared weights.
    expansion
        Hidden width of the two-layer networks, in units of `hidden_channels`.
    activation
        Activation of the two-layer networks and of the projection.
    weight_norm
        Whether direction and length of the rows of every pointwise layer are learned separately.
    domain_padding
        Zeros on both sides of each axis, as a fraction of its length (one or one per axis); for
        walls. None for periodic fields.
    positional_embedding
        Whether to append the coordinates to the input channels.
    projection_channel_ratio
        Hidden width of the projection, in units of `hidden_channels`.

    Raises
    ------
    ValueError
        When n_modes and grid_shape differ in length, n_modes exceeds the (padded) grid, or
        `transform` is unknown or does not have an option that is given.

    Notes
    -----
    No activation follows b_l. This follows the authors' code and not eq. 7. Their code projects the
    increment of the last layer by two successive linear maps; here a two-layer network projects
    z_L.

    On Navier-Stokes with viscosity 1e-5 the authors train one step from one frame with width 64,
    n_modes 30, 4 to 24 layers, `weight_norm=True` and `spectral_gain=0.1`.

    References
    ----------
    Tran et al., "Factorized Fourier Neural Operators", ICLR 2023, arXiv 2111.13802, section 3.

    Examples
    --------
    >>> import torch
    >>> network = FactorizedFNO((16, 16), 10, 1, n_modes=(8, 8), hidden_channels=8)
    >>> network(torch.randn(2, 10, 16, 16)).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        n_modes: tuple[int, ...],
        hidden_channels: int = 32,
        n_layers: int = 4,
        transform: TransformName = "fourier",
        init: StartName = "dft",
        per_channel: bool = False,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, ...] | None = None,
        mode_blocks: int | tuple[int, ...] | None = None,
        shared_weights: bool = True,
        spectral_gain: float = 1.0,
        expansion: int = 4,
        activation: Activation = "relu",
        weight_norm: bool = False,
        domain_padding: DomainPadding = None,
        positional_embedding: bool = True,
        projection_channel_ratio: int = 2,
    ) -> None:
        super().__init__()
        dims = n_axes(grid_shape)
        self.grid_shape = tuple(grid_shape)
        self.in_channels = positive_int("in_channels", in_channels)
        self.padding = padding_fractions(domain_padding, dims)
        self.positional_embedding = positional_embedding
        one_of("transform", transform, [name for name in TRANSFORMS if name != "pod"])
        one_of("init", init, [name for name in get_args(StartName) if name != "pod"])
        if not spectral_gain > 0:
            raise ValueError(message("`spectral_gain` must be above 0", spectral_gain, "Raise it."))
        width = positive_int("hidden_channels", hidden_channels)
        n_layers = positive_int("n_layers", n_layers)
        padded = padded_grid(grid_shape, self.padding)
        check_modes(n_modes, padded)
        self.max_n_modes = self._n_modes = tuple(n_modes)

        def pointwise(n_in: int, n_out: int) -> nn.Module:
            linear = layer("Conv", dims)(n_in, n_out, 1)
            return normalised(linear) if weight_norm else linear

        def two_layers(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
            first, last = pointwise(n_in, n_hidden), pointwise(n_hidden, n_out)
            return nn.Sequential(first, activation_layer(activation), last)

        hidden = width * positive_int("expansion", expansion)
        wide = width * positive_int("projection_channel_ratio", projection_channel_ratio)
        out = positive_int("out_channels", out_channels)
        self.lift = pointwise(in_channels + (dims if positional_embedding else 0), width)
        self.spectral = nn.ModuleList(
            AxisConvolutions(
                width,
                n_modes,
                padded,
                spectral_gain,
                transform=transform,
                init=init,
                per_channel=per_channel,
                transform_rank=transform_rank,
                transform_order=transform_order,
                grid_blocks=grid_blocks,
                mode_blocks=mode_blocks,
            )
            for _ in range(1 if shared_weights else n_layers)
        )
        self.feed_forward = nn.ModuleList(two_layers(width, hidden, width) for _ in range(n_layers))
        self.project = two_layers(width, wide, out)

    @property
    def n_modes(self) -> tuple[int, ...]:
        """Modes in use along each axis, both signs; lowered and raised up to `max_n_modes`."""
        return self._n_modes

    @n_modes.setter
    def n_modes(self, n_modes: Sequence[int]) -> None:
        modes = tuple(n_modes)
        check_modes(modes, self.max_n_modes)
        for block in self.spectral:
            for conv, count in zip(block.convs, modes):  # type: ignore[arg-type]
                conv.n_modes = count
        self._n_modes = modes

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in_channels, *grid) to (B, out_channels, *grid).

        Raises
        ------
        ValueError
            When the number of axes or channels is another, or an axis has fewer points than modes.
        TypeError
            When x is complex or of another precision than the parameters.
        """
        check_field(x, self, self.in_channels, len(self.grid_shape))
        z = self.lift(with_coordinates(x) if self.positional_embedding else x)
        margins = [round(f * int(n)) for f, n in zip(self.padding or [], z.shape[2:])]
        # torch.nn.functional.pad counts from the last axis
        z = F.pad(z, [m for margin in reversed(margins) for m in (margin, margin)])
        for index, feed_forward in enumerate(self.feed_forward):
            z = z + feed_forward(self.spectral[index % len(self.spectral)](z))
        crop = (slice(m, n - m) for m, n in zip(margins, z.shape[2:]))
        return self.project(z[(..., *crop)])


class AxisConvolutions(nn.Module):
    """Sum one-dimensional spectral convolutions along every axis, h = sum_i Re(S_i R_i A_i z).

    Parameters
    ----------
    channels
        Channels C, in and out.
    n_modes, grid_shape
        One entry per axis.
    grid_blocks, mode_blocks
        Blocks of a corrected transform, one number for all axes or one per axis.
    gain
        Scale of the initial weights, see `FactorizedFNO`.
    options
        Options of each `MonarchSpectralConv`.
    """

    def __init__(
        self,
        channels: int,
        n_modes: Sequence[int],
        grid_shape: Sequence[int],
        gain: float = 1.0,
        *,
        grid_blocks: int | Sequence[int] | None = None,
        mode_blocks: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        blocks = TransformOptions(grid_blocks=grid_blocks, mode_blocks=mode_blocks)
        convs = [
            MonarchSpectralConv(
                channels,
                channels,
                modes,
                grid_shape=(n,),
                bias=False,
                grid_blocks=of_axis.grid_blocks,
                mode_blocks=of_axis.mode_blocks,
                **options,
            )
            for modes, n, of_axis in zip(n_modes, grid_shape, blocks.of_axes(len(n_modes)))
        ]
        with torch.no_grad():
            for conv in convs:  # their weights (K, C, C, 2) have variance 1 / (2 C)
                conv.weight.mul_(gain / conv.weight.shape[0] ** 0.5)
        self.convs = nn.ModuleList(convs)

    def forward(self, z: Tensor) -> Tensor:
        """Map z (B, C, n_1, ..., n_d) to a field of the same shape."""
        return sum(
            (_along(conv, z, axis) for axis, conv in enumerate(self.convs, start=2)),
            start=z.new_zeros(()),
        )


def _along(convolution: nn.Module, z: Tensor, axis: int) -> Tensor:
    """Apply a convolution of (batch, C, n) along one axis of z (B, C, n_1, ..., n_d)."""
    rows = z.movedim((1, axis), (-2, -1))  # (B, the other axes, C, n)
    h = convolution(rows.flatten(0, -3))
    return h.unflatten(0, rows.shape[:-2]).movedim((-2, -1), (1, axis))
