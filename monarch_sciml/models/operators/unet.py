"""The U-Net, for fields in one to three dimensions and for images of a magnitude.

Letters: B batch, C channels, n_i grid sizes.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import one_of, positive_int
from monarch_sciml.models.network import Network
from monarch_sciml.models.operators.convolution_blocks import (
    Activation,
    NormLayer,
    PaddingMode,
    activation_layer,
    check_field,
    convolution_block,
    extend,
    layer,
    n_axes,
    norm_layer,
)


class UNet(Network):
    """Halve the grid n_levels times while the channels double, and come back with skip connections.

    Every level holds two 3-point convolutions, each followed by norm, activation and dropout; the
    way down is pooling, the way up a transposed convolution of stride 2, whose result is joined
    with the features of its level on the way down. The defaults are fastMRI's U-Net;
    `norm="batch"`, `padding_mode="circular"` suit periodic fields.

    Parameters
    ----------
    grid_shape
        Grid to train on; only its number of axes (1, 2 or 3) matters.
    in_channels, out_channels
        Channels of input and output.
    hidden_channels
        Channels of the finest level; they double at each further one.
    n_levels
        Number of times the grid is halved.
    norm
        "instance" (without weights), "batch", "group" or "none". Convolutions have a bias only
        with "none".
    activation
        "leaky_relu" (slope 0.2), "relu", "gelu", "silu" or "tanh".
    dropout
        Probability of dropping a whole channel, after each activation.
    padding_mode
        "zeros", or "circular" for periodic fields.
    pooling
        "average", or "max" (Ronneberger's).

    Notes
    -----
    A grid that 2^n_levels does not divide is extended inside, at both ends, by its outermost
    values (periodically for "circular"), and the result cropped. At least two points per axis are
    kept at the coarsest level, which instance and batch norm need.

    References
    ----------
    Ronneberger et al., "U-Net", MICCAI 2015, arXiv 1505.04597; Zbontar et al., "fastMRI", arXiv
    1811.08839, section 6.3.1: 7.76 million parameters with 32 channels and 4 levels.

    Examples
    --------
    >>> import torch
    >>> network = UNet((64, 64), in_channels=10, hidden_channels=8, padding_mode="circular")
    >>> network(torch.randn(2, 10, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    >>> sum(p.numel() for p in UNet((320, 320)).parameters())
    7756097
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        hidden_channels: int = 32,
        n_levels: int = 4,
        norm: NormLayer = "instance",
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        padding_mode: PaddingMode = "zeros",
        pooling: Literal["average", "max"] = "average",
    ) -> None:
        super().__init__()
        dims = n_axes(grid_shape)
        one_of("pooling", pooling, ("average", "max"))
        self.grid_shape = tuple(grid_shape)
        self.in_channels = positive_int("in_channels", in_channels)
        self.n_levels = positive_int("n_levels", n_levels)
        self.padding_mode: PaddingMode = padding_mode
        width = positive_int("hidden_channels", hidden_channels)
        widths = [width * 2**level for level in range(n_levels + 1)]
        bias = norm == "none"
        block = partial(
            convolution_block,
            dims=dims,
            norm=norm,
            activation=activation,
            dropout=dropout,
            padding_mode=padding_mode,
            bias=bias,
        )

        def convolutions(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(block(n_in, n_out), block(n_out, n_out))

        def doubling(n_in: int, n_out: int) -> nn.Sequential:
            transposed = layer("ConvTranspose", dims)(n_in, n_out, 2, stride=2, bias=bias)
            norms = norm_layer(norm, n_out, dims), activation_layer(activation)
            return nn.Sequential(transposed, *norms)

        self.pool = layer("AvgPool" if pooling == "average" else "MaxPool", dims)(2)
        self.down = nn.ModuleList(map(convolutions, [in_channels, *widths[:-2]], widths[:-1]))
        self.bottom = convolutions(widths[-2], widths[-1])
        self.upsample = nn.ModuleList(map(doubling, widths[:0:-1], widths[-2::-1]))
        self.up = nn.ModuleList(map(convolutions, widths[:0:-1], widths[-2::-1]))
        self.project = layer("Conv", dims)(width, positive_int("out_channels", out_channels), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in_channels, n_1, ..., n_d) to (B, out_channels, n_1, ..., n_d).

        Raises
        ------
        ValueError
            When the number of axes or channels is another.
        TypeError
            When x is complex or of another precision than the parameters.
        """
        check_field(x, self, self.in_channels, len(self.grid_shape))
        x, crop = extend(x, 2**self.n_levels, self.padding_mode, minimum=2)
        skips = []
        for convolutions in self.down:
            x = convolutions(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for upsample, convolutions in zip(self.upsample, self.up):
            # (B, 2C, n / 2) -> (B, C, n), joined with (B, C, n)
            x = convolutions(torch.cat([upsample(x), skips.pop()], dim=1))
        return self.project(x)[crop]
