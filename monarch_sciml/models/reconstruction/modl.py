"""Model-based deep learning (MoDL) with its transform as an argument.

Letters: B batch, M map sets, C coils, H x W matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from monarch_sciml._checks import positive_int, positive_number
from monarch_sciml.models.network import Network
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.models.reconstruction.image_transform import (
    Adjoint,
    OnGrids,
    Resampling,
    check_no_encoding,
    check_sample,
    is_fourier,
    plane_transform,
)
from monarch_sciml.models.reconstruction.image_unet import ImageUNet
from monarch_sciml.physics.conjugate_gradients import solve_regularized
from monarch_sciml.physics.sense_operator import SenseOperator, combine_map_sets
from monarch_sciml.transforms.named import ImageTransformName, TransformOptions


class MoDL(Encoded, Network):
    r"""Alternate a learned denoiser and an exact data consistency: MoDL, or Monarch-MoDL.

    .. math:: x_{k+1} = (A^H A + \lambda I)^{-1} (A^H y + \lambda D(x_k)), \qquad x_0 = A^H y,
              \qquad A = M T^H S

    T is the centred inverse FFT (MoDL) or a learnable transform that starts there. D is a residual
    U-Net, the same in all iterations, that starts as the identity; lambda is learned and stays
    positive (softplus).

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on, of any size. The network accepts any other size.
    transform
        "fourier", "monarch" or "dense".
    n_iterations
        Number of unrolled iterations.
    hidden_channels, n_levels
        Width and depth of the U-Net.
    regularization
        The weight lambda at the start of training, relative to A^H A, whose norm is 1 for maps of
        unit norm.
    n_cg_iterations
        Largest number of iterations of conjugate gradients in a data consistency.
    tolerance
        Conjugate gradients stop when the residual is below `tolerance` times the right-hand side.
    transform_rank, transform_order, grid_blocks, mode_blocks, resampling
        Options of the transform, with the meaning they have in `SENSE`.

    Raises
    ------
    ValueError
        When an argument has an unknown value, or is not positive.

    Notes
    -----
    The gradient of a data consistency is that of its exact solution: the backward pass solves the
    same equations, so memory does not grow with `n_cg_iterations`. A second derivative is not
    available. With the FFT, A^H A needs no shifts and no FFT along an axis that is fully sampled.
    After `set_encoding` A measures by that encoding instead of T^H.

    References
    ----------
    Aggarwal, Mani, Jacob, "MoDL: Model-Based Deep Learning Architecture for Inverse Problems", IEEE
    TMI 38 (2019), arXiv 1712.02862. Their denoiser is a residual network of five layers with batch
    norm.

    Examples
    --------
    >>> import torch
    >>> maps = torch.full((1, 4, 32, 24), 0.5, dtype=torch.complex64)
    >>> kspace, mask = torch.randn(1, 4, 32, 24, dtype=torch.complex64), torch.ones(1, 32, 24)
    >>> network = MoDL((32, 24), transform="monarch", n_iterations=2, hidden_channels=4, n_levels=2)
    >>> network(kspace, mask, maps).shape
    torch.Size([1, 32, 24])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        transform: ImageTransformName = "fourier",
        n_iterations: int = 10,
        hidden_channels: int = 32,
        n_levels: int = 4,
        regularization: float = 0.05,
        n_cg_iterations: int = 30,
        tolerance: float = 1e-5,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, int] | None = None,
        mode_blocks: int | tuple[int, int] | None = None,
        resampling: Resampling = "relative",
    ) -> None:
        super().__init__()
        start = positive_number("regularization", regularization)
        self.transform = plane_transform(
            grid_shape,
            transform,
            options=TransformOptions(
                rank=transform_rank,
                order=transform_order,
                grid_blocks=grid_blocks,
                mode_blocks=mode_blocks,
            ),
        )
        self.grid_shape = tuple(grid_shape)
        self.n_iterations = positive_int("n_iterations", n_iterations)
        self.n_cg_iterations = positive_int("n_cg_iterations", n_cg_iterations)
        self.tolerance = positive_number("tolerance", tolerance)
        self.regularizer = ImageUNet(
            grid_shape, "image", hidden_channels=hidden_channels, n_levels=n_levels
        )
        # softplus(raw) = regularization, without overflow
        self.raw_regularization = nn.Parameter(torch.tensor(start + math.log(-math.expm1(-start))))
        self._on_grids = OnGrids(resampling)

    @property
    def regularization(self) -> Tensor:
        """The weight lambda, a scalar tensor."""
        return nn.functional.softplus(self.raw_regularization)

    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Reconstruct masked_kspace (B, C, H, W) with mask (B, H, W) and coil_maps (B, C, H, W).

        Maps (B, M, C, H, W) of several sets are solved for together; D sees each image on its own,
        and `combine_map_sets` makes one of the M.

        Returns
        -------
        Complex image (B, H, W).

        Raises
        ------
        ValueError
            When mask, maps and k-space differ in size.
        """
        grid, maps = check_sample(masked_kspace, mask, coil_maps)
        encoding = self.encoding
        if not is_fourier(self.transform):
            check_no_encoding(encoding)
            encoding = Adjoint(self._on_grids(self.transform, grid))
        physics = SenseOperator(mask, maps, encoding, map_sets=True)
        zero_filled, weight = physics.adjoint(masked_kspace), self.regularization
        image = zero_filled  # (B, M, H, W)
        for _ in range(self.n_iterations):
            denoised = self.regularizer(image)
            image = solve_regularized(
                physics.normal,
                zero_filled + weight * denoised,
                weight,
                start=denoised,
                n_iterations=self.n_cg_iterations,
                tolerance=self.tolerance,
                dims=(-3, -2, -1),
            )
        return combine_map_sets(image)
