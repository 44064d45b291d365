"""SENSE with its transform as an argument: zero-filled SENSE and mSENSE are one network.

Letters: B batch, C coils, H x W matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of
from monarch_sciml.physics.mri import SenseOperator, combine
from monarch_sciml.transforms import DenseTransform, MonarchTransform, SeparableTransform


class SENSE(nn.Module):
    """Combine the transformed coils, x = sum_c conj(S_c) T(D m y_c): one linear pass, no iteration.

    T is the centred inverse FFT (zero-filled SENSE, the adjoint of the measurement) or a learnable
    separable transform that starts there and is shared by all coils and slices (mSENSE). D is 1,
    or a learned diagonal weighting of k-space, which is what density compensation can do on its
    own.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on; learned transforms are resampled to any other.
    transform
        "fourier", "monarch" (mSENSE) or "dense" (the unstructured ablation).
    init
        "idft", or "random" to see what the initialisation is worth.
    kspace_weighting
        Learn D, one real number per k-space position, starting at 1.
    transform_rank, transform_order
        Of the Monarch transform; see `MonarchTransform`.

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
        transform: Literal["fourier", "monarch", "dense"] = "fourier",
        init: Literal["idft", "random"] = "idft",
        kspace_weighting: bool = False,
        transform_rank: int = 1,
        transform_order: int = 2,
    ) -> None:
        super().__init__()
        one_of("transform", transform, ("fourier", "monarch", "dense"))
        one_of("init", init, ("idft", "random"))
        if len(grid_shape) != 2:
            rule = "`grid_shape` must be the two sizes (H, W) of a slice"
            raise ValueError(message(rule, tuple(grid_shape), "Reconstruct slice by slice."))
        self.grid_shape = tuple(grid_shape)
        self.transform: SeparableTransform | None = None
        start = "irandom" if init == "random" else "idft"
        if transform == "monarch":
            self.transform = SeparableTransform(
                [
                    MonarchTransform(
                        n, init=start, centered=True, rank=transform_rank, order=transform_order
                    )
                    for n in grid_shape
                ]
            )
        elif transform == "dense":
            self.transform = SeparableTransform(
                [DenseTransform(n, init=start, centered=True) for n in grid_shape]
            )
        self._resampled: dict[tuple[int, ...], SeparableTransform] = {}
        # deviation from D = 1, so that weight decay pulls towards no weighting
        self.weighting = nn.Parameter(torch.zeros(self.grid_shape)) if kspace_weighting else None

    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Reconstruct masked_kspace (B, C, H, W) with mask (B, H, W) and coil_maps (B, C, H, W).

        Returns
        -------
        Complex image (B, H, W).

        Raises
        ------
        ValueError
            When mask, maps and k-space differ in size, or a learned weighting meets another matrix
            size.
        """
        grid = tuple(masked_kspace.shape[-2:])
        if mask.shape[-2:] != grid or coil_maps.shape != masked_kspace.shape:
            rule = "`mask` and `coil_maps` must have the size of the k-space"
            got = f"{tuple(mask.shape)}, {tuple(coil_maps.shape)} for {tuple(masked_kspace.shape)}"
            raise ValueError(message(rule, got, "Crop or pad them to the same matrix."))
        weights = mask if self.weighting is None else mask * self._weighting_on(grid)
        if self.transform is None:
            return SenseOperator(weights, coil_maps).adjoint(masked_kspace)
        transform = self._transform_on(grid, self.transform)
        return combine(transform(weights.unsqueeze(-3) * masked_kspace), coil_maps)

    def _weighting_on(self, grid: Sequence[int]) -> Tensor:
        if tuple(grid) != self.grid_shape or self.weighting is None:
            rule = f"a learned k-space weighting needs its training matrix {self.grid_shape}"
            raise ValueError(message(rule, tuple(grid), "Train on that size, or leave it out."))
        return 1 + self.weighting

    def _transform_on(
        self, grid: tuple[int, ...], transform: SeparableTransform
    ) -> SeparableTransform:
        if grid == self.grid_shape:
            return transform
        if grid not in self._resampled:
            self._resampled[grid] = transform.resampled(grid)
        return self._resampled[grid]
