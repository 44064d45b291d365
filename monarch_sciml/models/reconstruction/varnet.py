"""The end-to-end variational network with its transforms as an argument.

Letters: B batch, M map sets, C coils, H x W matrix, T cascades.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import one_of, positive_int
from monarch_sciml.models.network import Network
from monarch_sciml.models.reconstruction.image_transform import (
    OnGrids,
    Plane,
    Resampling,
    check_sample,
    is_fourier,
    plane_transform,
)
from monarch_sciml.models.reconstruction.image_unet import ImageUNet
from monarch_sciml.physics.sense_operator import SenseOperator, combine, combine_map_sets
from monarch_sciml.transforms.named import ImageTransformName, TransformOptions

EncodingName = Literal["learned", "adjoint", "fourier"]


class VarNet(Network):
    r"""Unroll T cascades of data consistency and a U-Net: E2E-VarNet, or Monarch-VarNet.

    .. math:: x_t = \sum_c S_c^* D k_{t,c}, \qquad
              k_{t+1} = k_t - \eta_t M (k_t - k_0) - E S \, U_t(x_t), \qquad k_0 = M y

    and the result is x_T. D and E are the centred inverse FFT and FFT (E2E-VarNet) or learnable
    transforms that start there; eta_t are learned and start at 1.

    Parameters
    ----------
    grid_shape
        Matrix (H, W) to train on, of any size. The network accepts any other size.
    transform
        "fourier", "monarch" or "dense".
    encoding
        The transform E when D is learnable: "learned" has parameters of its own, "adjoint" is D^H,
        and "fourier" is the FFT, the model of the scanner.
    per_cascade
        Whether every cascade has a D and an E of its own. Otherwise all cascades share them.
    n_cascades
        T.
    hidden_channels, n_levels
        Width and depth of the U-Net of each cascade.
    transform_rank, transform_order, grid_blocks, mode_blocks, resampling
        Options of the transforms, with the meaning they have in `SENSE`.

    Raises
    ------
    ValueError
        When an argument has an unknown value.

    Notes
    -----
    The coil maps come with the sample, so there is no network to estimate them (0.48 of fastMRI's
    29.94 million parameters; the other 29.45 are here), and the result is the complex combination
    x_T rather than the root of the sum of squares over coils. Masks are 0 or 1. The U-Nets have
    fastMRI's normalisation, but do not add the mean of their input to their result, and their last
    layers start at zero: untrained, the network is zero-filled SENSE, and learns from few scans.

    With the FFT the same numbers are computed without k-space: with c_j = U_j(x_j) and N the normal
    operator of the measurement,

        x_t = x_0 - S^H S s_t - N (p_t - s_t),  s_{t+1} = s_t + c_t,
        p_{t+1} = (1 - eta_t) p_t + c_t,

    which needs no shifts and no FFT along an axis that is fully sampled.

    References
    ----------
    Sriram et al., "End-to-End Variational Networks for Accelerated MRI Reconstruction", MICCAI
    2020, arXiv 2004.06688.

    Examples
    --------
    >>> import torch
    >>> maps = torch.full((1, 4, 32, 24), 0.5, dtype=torch.complex64)
    >>> kspace, mask = torch.randn(1, 4, 32, 24, dtype=torch.complex64), torch.ones(1, 32, 24)
    >>> network = VarNet((32, 24), transform="monarch", n_cascades=2, hidden_channels=4, n_levels=2)
    >>> network(kspace, mask, maps).shape
    torch.Size([1, 32, 24])
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        transform: ImageTransformName = "fourier",
        encoding: EncodingName = "learned",
        per_cascade: bool = False,
        n_cascades: int = 12,
        hidden_channels: int = 18,
        n_levels: int = 4,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | tuple[int, int] | None = None,
        mode_blocks: int | tuple[int, int] | None = None,
        resampling: Resampling = "relative",
    ) -> None:
        super().__init__()
        one_of("encoding", encoding, ("learned", "adjoint", "fourier"))
        n_cascades = positive_int("n_cascades", n_cascades)
        options = TransformOptions(
            rank=transform_rank,
            order=transform_order,
            grid_blocks=grid_blocks,
            mode_blocks=mode_blocks,
        )

        def transforms(name: ImageTransformName, count: int, *, inverse: bool) -> nn.ModuleList:
            return nn.ModuleList(
                plane_transform(grid_shape, name, inverse=inverse, options=options)
                for _ in range(count if per_cascade else 1)
            )

        self.grid_shape = tuple(grid_shape)
        self.decoders = transforms(transform, n_cascades + 1, inverse=True)
        self.encoders: nn.ModuleList | None = None
        if encoding != "adjoint":
            name: ImageTransformName = transform if encoding == "learned" else "fourier"
            self.encoders = transforms(name, n_cascades, inverse=False)
        self.regularizers = nn.ModuleList(
            ImageUNet(grid_shape, "zero", hidden_channels=hidden_channels, n_levels=n_levels)
            for _ in range(n_cascades)
        )
        self.step_sizes = nn.Parameter(torch.ones(n_cascades))
        self._on_grids = OnGrids(resampling)

    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Reconstruct masked_kspace (B, C, H, W) with mask (B, H, W) and coil_maps (B, C, H, W).

        Maps (B, M, C, H, W) of several sets give M images, each of which the U-Nets see on its own;
        `combine_map_sets` makes one of them.

        Returns
        -------
        Complex image (B, H, W).

        Raises
        ------
        ValueError
            When mask, maps and k-space differ in size.
        """
        grid, maps = check_sample(masked_kspace, mask, coil_maps)
        if all(is_fourier(t) for t in (*self.decoders, *(self.encoders or ()))):
            physics = SenseOperator(mask, maps, map_sets=True)
            return combine_map_sets(self._of_images(masked_kspace, physics))
        start = mask.unsqueeze(-3) * masked_kspace
        return combine_map_sets(self._of_kspace(start, mask, maps, grid))

    def _of_images(self, masked_kspace: Tensor, physics: SenseOperator) -> Tensor:
        """Run the cascades with the FFT on images (B, M, H, W) alone, by the equations in the
        notes.
        """
        start = physics.adjoint(masked_kspace)
        maps = physics.coil_maps
        # S^H S of every pixel: sum over c of conj(S_mc) S_nc
        energy = torch.einsum("...mchw,...nchw->...mnhw", maps.conj(), maps)
        total = measured = torch.zeros_like(start)  # s_t, p_t
        image = start
        for t, (regularizer, step) in enumerate(zip(self.regularizers, self.step_sizes)):
            correction = regularizer(image)
            total, measured = total + correction, (1 - step) * measured + correction
            image = start - (energy * total.unsqueeze(-4)).sum(dim=-3)  # over n
            if t:  # until then p_t = s_t
                image = image - physics.normal(measured - total)
        return image

    def _of_kspace(
        self, start: Tensor, mask: Tensor, maps: Tensor, grid: tuple[int, ...]
    ) -> Tensor:
        """Run the cascades with any transforms on k-space (B, C, H, W)."""
        kspace, mask = start, mask.unsqueeze(-3)
        for t, (regularizer, step) in enumerate(zip(self.regularizers, self.step_sizes)):
            decoder = self._transform(self.decoders, t, grid)
            correction = regularizer(combine(decoder(kspace).unsqueeze(-4), maps))  # (B, M, H, W)
            coil_images = (maps * correction.unsqueeze(-3)).sum(dim=-4)  # (B, C, H, W)
            if self.encoders is None:
                encoded = decoder.adjoint(coil_images)
            else:
                encoded = self._transform(self.encoders, t, grid)(coil_images)
            kspace = kspace - step * mask * (kspace - start) - encoded
        decoder = self._transform(self.decoders, len(self.regularizers), grid)
        return combine(decoder(kspace).unsqueeze(-4), maps)

    def _transform(self, transforms: nn.ModuleList, t: int, grid: tuple[int, ...]) -> Plane:
        """Return the transform of cascade t on a matrix."""
        transform: Plane = transforms[min(t, len(transforms) - 1)]  # type: ignore[assignment]
        return self._on_grids(transform, grid)
