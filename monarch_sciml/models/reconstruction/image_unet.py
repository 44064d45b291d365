"""The U-Net of complex images, the regulariser of all reconstruction networks.

Letters: B batch, ... leading axes, H x W image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.models.operators.unet import UNet


class ImageUNet(nn.Module):
    """Apply a U-Net of two channels to the normalised real and imaginary part, and rescale.

    The result is b + s U((x - m) / s), with mean m and standard deviation s of either part of each
    image, and the base b = x, m or 0. It scales with the image, and an image of zeros stays zero.
    With b = x or 0 the last layer of U starts at zero, so that the untrained network is the
    identity or zero and few training images suffice.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on. The network accepts any other size.
    base
        The base b: "image", "mean" (as in fastMRI) or "zero".
    hidden_channels, n_levels, dropout
        Options of the `UNet`.
    """

    def __init__(
        self,
        grid_shape: Sequence[int],
        base: Literal["image", "mean", "zero"],
        *,
        hidden_channels: int,
        n_levels: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base = base
        self.network = UNet(
            tuple(grid_shape),
            2,
            2,
            hidden_channels=hidden_channels,
            n_levels=n_levels,
            dropout=dropout,
        )
        if base != "mean":
            for parameter in self.network.project.parameters():
                nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """Map complex images (..., H, W) to complex images (..., H, W), each on its own."""
        expected = next(self.parameters()).dtype
        half = expected in (torch.bfloat16, torch.float16)
        if not half and image.real.dtype != expected:
            rule = f"the image must be {torch.promote_types(expected, torch.complex64)}, in the "
            rule += "precision of the network"
            remedy = "Convert k-space and maps, or the network, by `.to(dtype)`."
            raise TypeError(message(rule, image.dtype, remedy))
        flat = image.reshape(-1, *image.shape[-2:])  # (..., H, W) -> (B, H, W)
        parts = torch.view_as_real(flat).movedim(-1, 1)  # (B, 2, H, W)
        mean = parts.mean(dim=(-2, -1), keepdim=True)  # (B, 2, 1, 1)
        centered = parts - mean
        variance = centered.square().mean(dim=(-2, -1), keepdim=True)
        scale = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        # a network in half precision sees its normalised input in it, and k-space stays as it is
        normalised = (centered / scale).to(expected) if half else centered / scale
        result = scale * self.network(normalised).to(scale.dtype)
        if self.base != "zero":
            result = result + (parts if self.base == "image" else mean)
        return torch.view_as_complex(result.movedim(1, -1).contiguous()).reshape(image.shape)
