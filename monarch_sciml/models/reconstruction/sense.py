"""SENSE with its transform as an argument: zero-filled SENSE and mSENSE in one network.

Letters: B batch, C coils, H x W matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of
from monarch_sciml.models.network import Network
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.models.reconstruction.image_transform import (
    OnGrids,
    Resampling,
    check_no_encoding,
    check_sample,
    interpolation,
    is_fourier,
    plane_transform,
)
from monarch_sciml.physics.sense_operator import SenseOperator, combine, combine_map_sets
from monarch_sciml.transforms.named import ImageTransformName, TransformOptions


class SENSE(Encoded, Network):
    """Combine the transformed coils in one linear pass, x = sum_c conj(S_c) T(D m y_c).

    T is the centred inverse FFT (zero-filled SENSE, the adjoint of the measurement) or a learnable
    transform that starts there, separable and shared by all coils and slices unless told otherwise
    (mSENSE). D is 1, or a learned diagonal weighting of k-space, which shows how much density
    compensation achieves on its own.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on, of any size. The learned transform is resampled to other sizes.
    transform
        "fourier", "monarch" (mSENSE), "dense" (the unstructured ablation) or "corrected" (the FFT
        plus a learned correction).
    init
        "idft", or "random" to measure the benefit of the initialisation.
    kspace_weighting
        Whether to learn D, one real number per k-space position that starts at 1.
    transform_rank, transform_order
        Rank and order of the Monarch transform, as in `MonarchTransform`. The rank is also that of
        a corrected transform.
    grid_blocks, mode_blocks
        Blocks of a corrected transform along each axis, as in `CorrectedTransform`.
    separable
        Whether one transform serves all rows and one all columns. Otherwise every row and every
        column has its own, and the network works only on the matrix it was trained on. With "dense"
        this is a two-factor Monarch matrix of the flattened plane of H W points with H W (H + W)
        complex parameters, with "monarch" one of order 4 with about 2 H W (sqrt(H) + sqrt(W)). With
        "corrected" the whole plane is corrected jointly.
    n_coils
        Number of coils that have a transform of their own. The number and the order of the coils
        are then fixed. None shares one transform.
    resampling
        How a learned transform or weighting is carried to another matrix. With "relative" a
        frequency keeps its ratio to the largest one, so that a learned compensation of the sampling
        density stays valid. With "frequency" it keeps its number of periods over the field of view
        (`ResampledTransform`); a learned weighting is then refused.

    Raises
    ------
    ValueError
        When an argument has an unknown value, or `n_coils` is given with `separable=False`.

    Notes
    -----
    The convention is fastMRI's: centred and orthonormal on the last two axes. 512 x 160 has 57,472
    parameters with transform="monarch", as published.

    References
    ----------
    Dao et al., arXiv 2204.00595, section 5.1 and appendix; Pruessmann et al., MRM 42, 952 (1999).

    Examples
    --------
    >>> import torch
    >>> maps = torch.full((1, 4, 16, 12), 0.5, dtype=torch.complex64)
    >>> kspace, mask = torch.randn(1, 4, 16, 12, dtype=torch.complex64), torch.ones(1, 16, 12)
    >>> zero_filled = SENSE((16, 12))(kspace, mask, maps)
    >>> msense = SENSE((16, 12), transform="monarch")(kspace, mask, maps)
    >>> torch.allclose(msense, zero_filled, atol=1e-5)
    True
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        transform: ImageTransformName = "fourier",
        init: Literal["idft", "random"] = "idft",
        kspace_weighting: bool = False,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, int] | None = None,
        mode_blocks: int | tuple[int, int] | None = None,
        separable: bool = True,
        n_coils: int | None = None,
        resampling: Resampling = "relative",
    ) -> None:
        super().__init__()
        one_of("init", init, ("idft", "random"))
        self.transform = plane_transform(
            grid_shape,
            transform,
            init="random" if init == "random" else "fourier",
            options=TransformOptions(
                rank=transform_rank,
                order=transform_order,
                grid_blocks=grid_blocks,
                mode_blocks=mode_blocks,
            ),
            separable=separable,
            n_coils=n_coils,
        )
        self.grid_shape = tuple(grid_shape)
        self._on_grids = OnGrids(resampling)
        # deviation from D = 1, so that weight decay pulls towards no weighting
        self.weighting = nn.Parameter(torch.zeros(self.grid_shape)) if kspace_weighting else None

    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Reconstruct masked_kspace (B, C, H, W) with mask (B, H, W) and coil_maps (B, C, H, W).

        Maps (B, M, C, H, W) of several sets give M images, which `combine_map_sets` combines to
        one.

        Returns
        -------
        Complex image (B, H, W).

        Raises
        ------
        ValueError
            When mask, maps and k-space differ in size, or a learned transform or weighting cannot
            be carried to the matrix of the data.
        """
        grid, maps = check_sample(masked_kspace, mask, coil_maps)
        weights = mask if self.weighting is None else mask * self._density(grid, self.weighting)
        if is_fourier(self.transform):
            physics = SenseOperator(weights, maps, self.encoding, map_sets=True)
            return combine_map_sets(physics.adjoint(masked_kspace))
        check_no_encoding(self.encoding)
        transform = self._on_grids(self.transform, grid)
        coil_images = transform(weights.unsqueeze(-3) * masked_kspace)  # (B, C, H, W)
        return combine_map_sets(combine(coil_images.unsqueeze(-4), maps))

    def _density(self, grid: Sequence[int], weighting: Tensor) -> Tensor:
        if tuple(grid) == self.grid_shape:
            return 1 + weighting
        if self._on_grids.resampling == "frequency":
            rule = f"a learned k-space weighting needs its training matrix {self.grid_shape}"
            raise ValueError(message(rule, tuple(grid), "Set `resampling` to 'relative'."))
        rows, columns = (
            interpolation(old, new).to(weighting) for old, new in zip(self.grid_shape, grid)
        )
        return 1 + rows @ weighting @ columns.mT  # (H', W')
