"""The residual network on pixels, a baseline without a transform.

Letters: B batch, n_i grid sizes.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml._signatures import parameters_of
from monarch_sciml.models.network import Network
from monarch_sciml.models.operators.convolution_blocks import (
    Activation,
    NormLayer,
    PaddingMode,
    check_field,
    convolution_block,
    layer,
    n_axes,
)
from monarch_sciml.models.operators.unet import UNet


@parameters_of(UNet)
class ResNet(Network):
    """Convolve on the full grid, block by block, each adding two convolutions to its input.

    x <- x + c_2(c_1(x)), with c_i a 3-point convolution, norm, activation and dropout. The channels
    double from stage to stage, by a block without the residual connection.

    Parameters
    ----------
    hidden_channels
        Channels of the first stage.
    n_blocks
        Number of blocks of two convolutions in each stage. Together with the first and the last
        convolution the network has 2 sum(n_blocks) + 2 layers.
    norm
        "batch", "instance", "group" or "none".
    activation
        "leaky_relu" (slope 0.1), "relu", "gelu", "silu" or "tanh".

    References
    ----------
    He et al., "Deep Residual Learning", CVPR 2016; Li et al., "Fourier Neural Operator", arXiv
    2010.08895, section 5.3: 18 layers, 266,641 parameters, relative L2 .0701 on Navier-Stokes with
    viscosity 1e-3. The defaults are one network of that size; the paper gives no more details.

    Examples
    --------
    >>> import torch
    >>> network = ResNet((64, 64), in_channels=10)
    >>> network(torch.randn(2, 10, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    >>> sum(p.numel() for p in network.parameters())
    266641
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        hidden_channels: int = 16,
        n_blocks: tuple[int, ...] = (2, 3, 3),
        norm: NormLayer = "batch",
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        padding_mode: PaddingMode = "zeros",
    ) -> None:
        super().__init__()
        dims = n_axes(grid_shape)
        self.grid_shape = tuple(grid_shape)
        self.in_channels = positive_int("in_channels", in_channels)
        width = positive_int("hidden_channels", hidden_channels)
        if not n_blocks:
            rule = "`n_blocks` must have one size per stage"
            raise ValueError(message(rule, tuple(n_blocks), "Give at least one stage."))
        block = partial(
            convolution_block,
            dims=dims,
            norm=norm,
            activation=activation,
            slope=0.1,
            dropout=dropout,
            padding_mode=padding_mode,
        )
        self.first = block(in_channels, width)
        blocks = []
        for stage, count in enumerate(n_blocks):
            n_out = hidden_channels * 2**stage
            for _ in range(positive_int("n_blocks", count)):
                blocks.append(nn.Sequential(block(width, n_out), block(n_out, n_out)))
                width = n_out
        self.blocks = nn.ModuleList(blocks)
        self.last = layer("Conv", dims)(
            width, positive_int("out_channels", out_channels), 3, padding=1,
            padding_mode=padding_mode,
        )  # fmt: skip

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
        x = self.first(x)
        for block in self.blocks:
            y = block(x)
            x = x + y if y.shape == x.shape else y
        return self.last(x)
