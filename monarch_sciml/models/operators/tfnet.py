"""TF-Net: a U-shaped network on a field that learned filters split into three scales.

Letters: B batch, T frames in, C fields, w frames of the temporal filter, n_i grid sizes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml._signatures import parameters_of
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
)
from monarch_sciml.models.operators.unet import UNet


@parameters_of(UNet)
class TFNet(Network):
    """Split the field by learned filters, encode every part by itself, decode the sum.

    With G the spatial and H the temporal filter, as in hybrid RANS-LES turbulence models,

        u = v + (G u - v) + (u - G u),  v = H G u:

    mean flow, resolved and unresolved fluctuations. Three encoders of strided convolutions take one
    part each; at every scale the sum of their features joins the one decoder of transposed
    convolutions. The last convolution sees the decoded field and the frames themselves.

    Parameters
    ----------
    in_channels
        Channels of the input, T C, steps-major.
    out_channels
        Fields C of the one step that is returned, the same as in the input.
    time_window
        Number w of frames that the temporal filter averages: each frame with the w - 1 before it. T
        - w + 1 frames are therefore encoded.
    hidden_channels
        Channels of the finest encoder level; they double at each further one.
    norm
        "batch", "instance", "group" or "none", in the encoders.
    activation
        "leaky_relu" (slope 0.1), "relu", "gelu", "silu" or "tanh".
    dropout
        Probability of dropping a whole channel, in the encoders.

    Attributes
    ----------
    spatial_filter
        Filter (3, ..., 3) of all frames and fields. It starts as the mean of the neighbourhood.
    temporal_filter
        Filter (w,), oldest frame first. It starts as the mean.

    Raises
    ------
    ValueError
        When the number of input channels is not a multiple of the fields, or there are fewer frames
        than `time_window`.

    Notes
    -----
    A grid that 2^n_levels does not divide is extended inside and cropped, as in `UNet`.

    References
    ----------
    Wang et al., "Towards Physics-informed Deep Learning for Turbulent Flow Prediction", KDD 2020,
    arXiv 1911.08655, section 4. Li et al., arXiv 2010.08895, section 5.3: 7,451,724 parameters,
    relative L2 .0225 on Navier-Stokes with viscosity 1e-3. The defaults have one parameter more.

    Examples
    --------
    >>> import torch
    >>> network = TFNet((64, 64), in_channels=10)
    >>> network(torch.randn(2, 10, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    >>> sum(p.numel() for p in network.parameters())
    7451725
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        in_channels: int = 4,
        out_channels: int = 1,
        *,
        time_window: int = 4,
        hidden_channels: int = 64,
        n_levels: int = 4,
        norm: NormLayer = "batch",
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        padding_mode: PaddingMode = "zeros",
    ) -> None:
        super().__init__()
        dims = n_axes(grid_shape)
        self.grid_shape = tuple(grid_shape)
        self.in_channels = positive_int("in_channels", in_channels)
        self.n_fields = positive_int("out_channels", out_channels)
        self.n_levels = positive_int("n_levels", n_levels)
        self.padding_mode: PaddingMode = padding_mode
        window = positive_int("time_window", time_window)
        width = positive_int("hidden_channels", hidden_channels)
        n_frames, rest = divmod(in_channels, out_channels)
        if rest or n_frames < window:
            rule = f"`in_channels` must be at least {window} frames of {out_channels} fields"
            remedy = "Give more input steps, or lower `time_window`."
            raise ValueError(message(rule, in_channels, remedy))
        seen = out_channels * (n_frames - window + 1)
        block = partial(
            convolution_block,
            dims=dims,
            norm=norm,
            activation=activation,
            slope=0.1,
            dropout=dropout,
            padding_mode=padding_mode,
            stride=2,
        )
        widths = [width * 2**level for level in range(n_levels)]

        def upward(n_in: int, n_out: int) -> nn.Sequential:
            transposed = layer("ConvTranspose", dims)(n_in, n_out, 4, stride=2, padding=1)
            return nn.Sequential(transposed, activation_layer(activation, 0.1))

        self.spatial_filter = nn.Parameter(torch.full((3,) * dims, 3.0**-dims))
        self.temporal_filter = nn.Parameter(torch.full((window,), 1 / window))
        self.encoders = nn.ModuleList(
            nn.ModuleList(map(block, [seen, *widths[:-1]], widths)) for _ in range(3)
        )
        narrow = max(1, width // 2)
        self.decoder = nn.ModuleList(map(upward, widths[::-1], [*widths[-2::-1], narrow]))
        self.project = layer("Conv", dims)(
            narrow + seen, out_channels, 3, padding=1, padding_mode=padding_mode
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T C, n_1, ..., n_d) to the next step (B, C, n_1, ..., n_d).

        Raises
        ------
        ValueError
            When the number of axes or channels is another.
        TypeError
            When x is complex or of another precision than the parameters.
        """
        check_field(x, self, self.in_channels, len(self.grid_shape))
        x, crop = extend(x, 2**self.n_levels, self.padding_mode, minimum=2)
        parts = self.split(x)
        features: list[Tensor] = []  # sums over the encoders, finest level first
        for encoder, part in zip(self.encoders, parts):
            for level, block in enumerate(encoder):  # type: ignore[arg-type]
                part = block(part)
                if level == len(features):
                    features.append(part)
                else:
                    features[level] = features[level] + part
        y = self._upward(self.decoder[0], features.pop())
        for block in self.decoder[1:]:
            y = self._upward(block, y + features.pop())
        frames = sum(parts[1:], start=parts[0])  # the last T - w + 1 of x
        return self.project(torch.cat([frames, y], dim=1))[crop]

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, resolved and unresolved part of the last T - w + 1 frames of x.

        Each is (B, (T - w + 1) C, n_1, ..., n_d); their sum is x there.
        """
        smooth = self._smoothed(x)
        frames = smooth.unflatten(1, (-1, self.n_fields))  # (B, T, C, n_1, ..., n_d)
        windows = frames.unfold(1, len(self.temporal_filter), 1)  # (B, T - w + 1, C, ..., w)
        mean = (windows @ self.temporal_filter).flatten(1, 2)
        seen = mean.shape[1]
        return mean, smooth[:, -seen:] - mean, (x - smooth)[:, -seen:]

    def _smoothed(self, x: Tensor) -> Tensor:
        """Apply the one spatial filter to every channel."""
        dims = len(self.grid_shape)
        mode = "circular" if self.padding_mode == "circular" else "constant"
        padded = nn.functional.pad(x, (1, 1) * dims, mode=mode)
        weight = self.spatial_filter.expand(x.shape[1], 1, *self.spatial_filter.shape)
        convolve = getattr(nn.functional, f"conv{dims}d")
        return convolve(padded, weight, groups=x.shape[1])

    def _upward(self, block: nn.Module, y: Tensor) -> Tensor:
        """Double the grid; a periodic field is continued by one point on either side."""
        if self.padding_mode != "circular":
            return block(y)
        dims = len(self.grid_shape)
        wide = block(nn.functional.pad(y, (1, 1) * dims, mode="circular"))
        return wide[(..., *[slice(2, -2)] * dims)]
