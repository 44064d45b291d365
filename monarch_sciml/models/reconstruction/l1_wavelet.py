"""Reconstruction with a sparse wavelet transform."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from monarch_sciml._checks import message, one_of, positive_int, positive_number
from monarch_sciml.models.reconstruction.cg_sense import IMAGE_AXES, as_sense_operator, image_grid
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.physics.sense_operator import SenseOperator, combine_map_sets


class L1Wavelet(Encoded, nn.Module):
    r"""Reconstruct with a penalty on wavelet coefficients (compressed sensing).

    .. math:: \min_x \tfrac{1}{2} \|A x - y\|^2 + \lambda s \|W x\|_1

    with W a wavelet transform and s = max|A^H y| of the sample, so that lambda does not depend on
    the scaling of the data. The problem is solved by accelerated proximal gradients (FISTA).

    Parameters
    ----------
    grid_shape
        Image size (H, W) in pixels, an argument that all reconstruction methods have. The solver
        accepts k-space of any size.
    regularization
        The weight lambda relative to the brightest pixel of the zero-filled image, at least 0.
    n_iterations
        Number of iterations.
    wavelet
        Name of an orthogonal wavelet known to PyWavelets; zero-padded, over as many levels as fit.
    cycle_spinning
        Whether to shift the image by a random number of pixels before each wavelet transform, as
        BART does. This removes the blocky artefacts of a decimated transform. The shifts are the
        same at every call; the fixed point is that of the averaged penalty.

    Raises
    ------
    ModuleNotFoundError
        When PyWavelets is not installed.
    ValueError
        When the wavelet is unknown or not orthogonal, or a number is out of range.

    Notes
    -----
    The wavelets are computed on the CPU in the precision of the data; there are no gradients. The
    step length is 1 / max sum_c |S_c|^2, which bounds A^H A for the FFT and a mask of 0 and 1.
    After `set_encoding` the largest eigenvalue of A^H A comes from a power iteration. With several
    map sets the penalty is the sum over their images, as in `bart pics -R W:3:0:LAMBDA`.

    References
    ----------
    Lustig, Donoho, Pauly, "Sparse MRI: the application of compressed sensing for rapid MR
    imaging", MRM 58 (2007), without its total variation; Beck, Teboulle, "A fast iterative
    shrinkage-thresholding algorithm for linear inverse problems", SIIMS 2 (2009).
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        regularization: float = 0.003,
        n_iterations: int = 50,
        wavelet: str = "db2",
        cycle_spinning: bool = True,
    ) -> None:
        super().__init__()
        self.grid_shape = image_grid(grid_shape)
        self.regularization = positive_number("regularization", regularization, or_zero=True)
        self.n_iterations = positive_int("n_iterations", n_iterations)
        self.wavelet = one_of("wavelet", wavelet, _pywt().wavelist(kind="discrete"))
        if not _pywt().Wavelet(wavelet).orthogonal:
            rule = "`wavelet` must be orthogonal, or shrinking its coefficients is no proximal step"
            raise ValueError(message(rule, repr(wavelet), "Use a 'db', 'sym', 'coif' or 'haar'."))
        self.cycle_spinning = cycle_spinning

    @torch.no_grad()
    def forward(
        self, masked_kspace: torch.Tensor, mask: torch.Tensor, coil_maps: torch.Tensor
    ) -> torch.Tensor:
        """Return the image of every sample; arguments, result and errors as in `CGSENSE`."""
        physics = as_sense_operator(masked_kspace, mask, coil_maps, self.encoding)
        b = physics.adjoint(masked_kspace)  # (..., M, H, W)
        norm = _largest_gram(physics.coil_maps)
        if self.encoding is not None:
            norm = _largest_eigenvalue(physics, b)
        step = 1 / norm.clamp_min(torch.finfo(norm.dtype).tiny)  # (..., 1, 1, 1)
        threshold = self.regularization * step * b.abs().amax(dim=IMAGE_AXES, keepdim=True)
        span = 2 ** _pywt().dwtn_max_level(b.shape[-2:], self.wavelet)
        generator = torch.Generator().manual_seed(0)
        x, extrapolated, momentum = torch.zeros_like(b), torch.zeros_like(b), 1.0
        for _ in range(self.n_iterations):
            shift = (0, 0)
            if self.cycle_spinning:
                shift = tuple(torch.randint(span, (2,), generator=generator).tolist())
            descended = extrapolated - step * (physics.normal(extrapolated) - b)
            shrunk = self._shrink(descended.roll(shift, (-2, -1)), threshold)
            previous, x = x, shrunk.roll((-shift[0], -shift[1]), (-2, -1))
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            extrapolated = x + (momentum - 1) / following * (x - previous)
            momentum = following
        return combine_map_sets(x)

    def _shrink(self, image: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
        """Return (..., M, H, W) with coefficients shrunk by `threshold` (..., 1, 1, 1)."""
        bound = threshold.cpu().numpy()
        least = np.maximum(bound, np.finfo(bound.dtype).tiny)

        def soft(coefficients: np.ndarray) -> np.ndarray:
            return coefficients * (1 - bound / np.maximum(np.abs(coefficients), least))

        levels = _pywt().wavedec2(image.cpu().numpy(), self.wavelet, mode="zero")
        shrunk = [soft(levels[0]), *(tuple(map(soft, level)) for level in levels[1:])]
        result = _pywt().waverec2(shrunk, self.wavelet, mode="zero")
        height, width = image.shape[-2:]  # one row or column more comes back where they are odd
        return torch.from_numpy(result[..., :height, :width]).to(image.device, image.dtype)


def _pywt() -> Any:
    """Return PyWavelets, or say that it is missing."""
    try:
        import pywt
    except ModuleNotFoundError as error:
        rule = "L1Wavelet needs the package PyWavelets"
        remedy = "Install it: pip install PyWavelets."
        raise ModuleNotFoundError(message(rule, f"'{error}'", remedy)) from error
    return pywt


def _largest_gram(maps: torch.Tensor) -> torch.Tensor:
    """Return a bound of S^H S over the pixels of maps (..., M, C, H, W): (..., 1, 1, 1), real.

    The largest row sum of the M x M matrix bounds its norm; it is the norm for orthogonal sets.
    """
    gram = torch.einsum("...achw,...bchw->...abhw", maps.conj(), maps).abs()
    return gram.sum(dim=-3).amax(dim=IMAGE_AXES, keepdim=True)  # (..., M, H, W) -> (..., 1, 1, 1)


def _largest_eigenvalue(physics: SenseOperator, b: torch.Tensor) -> torch.Tensor:
    """Return the largest eigenvalue of A^H A, (..., 1, 1, 1), for images of the shape of b.

    Twenty steps of the power iteration from noise come within some percent from below; a tenth is
    added.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(b.shape, dtype=b.dtype, generator=generator).to(b.device)
    norm = x.new_ones((), dtype=b.real.dtype)
    for _ in range(20):
        x = physics.normal(x)
        norm = torch.linalg.vector_norm(x, dim=IMAGE_AXES, keepdim=True)
        x = x / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return 1.1 * norm
