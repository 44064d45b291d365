"""The U-Net of complex images, the one regulariser of every reconstruction network.

Letters: B batch, H x W image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monarch_sciml.models.unet import UNet


class ImageUNet(nn.Module):
    """Normalise real and imaginary part, apply a U-Net of two channels, undo the normalisation.

    m + s U((x - m) / s), with mean m and standard deviation s of either part of each image; with
    `residual` x + s U((x - m) / s). So the result scales with the image, and an image of zeros
    stays one.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on; any other will do.
    hidden_channels, n_levels, dropout
        Of the `UNet`.
    residual
        Add the image itself.
    """

    def __init__(
        self,
        grid_shape: Sequence[int],
        *,
        hidden_channels: int,
        n_levels: int,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.network = UNet(
            tuple(grid_shape),
            2,
            2,
            hidden_channels=hidden_channels,
            n_levels=n_levels,
            dropout=dropout,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map complex images (B, H, W) to complex images (B, H, W)."""
        parts = torch.view_as_real(image).movedim(-1, 1)  # (B, 2, H, W)
        mean = parts.mean(dim=(-2, -1), keepdim=True)  # (B, 2, 1, 1)
        centered = parts - mean
        variance = centered.square().mean(dim=(-2, -1), keepdim=True)
        scale = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
        result = (parts if self.residual else mean) + scale * self.network(centered / scale)
        return torch.view_as_complex(result.movedim(1, -1).contiguous())
