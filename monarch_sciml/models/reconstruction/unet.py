"""The U-Net that removes artefacts from a zero-filled image, with its transform as an argument."""

from __future__ import annotations

from torch import Tensor

from monarch_sciml.models.network import Network
from monarch_sciml.models.reconstruction.image_transform import Resampling
from monarch_sciml.models.reconstruction.image_unet import ImageUNet
from monarch_sciml.models.reconstruction.sense import SENSE
from monarch_sciml.transforms.named import ImageTransformName


class ReconstructionUNet(Network):
    """Correct the zero-filled SENSE image with a U-Net, x = x_0 + U(x_0), x_0 = S^H T M y.

    T is the centred inverse FFT or a learnable transform that starts there, so that x_0 is that of
    zero-filled SENSE or of mSENSE; U is fastMRI's U-Net on real and imaginary part, normalised to
    mean 0 and standard deviation 1 before and rescaled after.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on. The network accepts any other size.
    transform
        "fourier", "monarch" or "dense".
    hidden_channels
        Channels of the finest level.
    n_levels
        Number of times the image is halved.
    dropout
        Probability of dropping a channel.
    residual
        Whether the U-Net learns the correction x - x_0, which starts at zero. Otherwise it learns
        the image, as fastMRI's does.
    transform_rank, transform_order, grid_blocks, mode_blocks, resampling
        Options of the transform, with the meaning they have in `SENSE`.

    Raises
    ------
    ValueError
        When an argument has an unknown value.

    Notes
    -----
    There is no data consistency, so the result can contradict the measured samples. With 32
    channels and 4 levels the network has 7.76 million parameters. A learned T is carried to another
    matrix as in `SENSE`.

    References
    ----------
    Zbontar et al., "fastMRI", arXiv 1811.08839, whose network maps magnitudes and is not residual.
    Dao et al., arXiv 2204.00595, section 5.1 (the baseline of mSENSE).

    Examples
    --------
    >>> import torch
    >>> maps = torch.full((1, 4, 32, 24), 0.5, dtype=torch.complex64)
    >>> kspace, mask = torch.randn(1, 4, 32, 24, dtype=torch.complex64), torch.ones(1, 32, 24)
    >>> network = ReconstructionUNet((32, 24), hidden_channels=4, n_levels=2)
    >>> network(kspace, mask, maps).shape
    torch.Size([1, 32, 24])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        transform: ImageTransformName = "fourier",
        hidden_channels: int = 32,
        n_levels: int = 4,
        dropout: float = 0.0,
        residual: bool = True,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, int] | None = None,
        mode_blocks: int | tuple[int, int] | None = None,
        resampling: Resampling = "relative",
    ) -> None:
        super().__init__()
        self.zero_filled = SENSE(
            grid_shape,
            transform=transform,
            transform_rank=transform_rank,
            transform_order=transform_order,
            grid_blocks=grid_blocks,
            mode_blocks=mode_blocks,
            resampling=resampling,
        )
        self.grid_shape = self.zero_filled.grid_shape
        self.regularizer = ImageUNet(
            grid_shape,
            "image" if residual else "mean",
            hidden_channels=hidden_channels,
            n_levels=n_levels,
            dropout=dropout,
        )

    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Reconstruct masked_kspace (B, C, H, W) with mask (B, H, W) and coil_maps (B, C, H, W).

        Maps (B, M, C, H, W) of several sets give one x_0, as in `SENSE`.

        Returns
        -------
        Complex image (B, H, W).

        Raises
        ------
        ValueError
            When mask, maps and k-space differ in size.
        """
        return self.regularizer(self.zero_filled(masked_kspace, mask, coil_maps))
