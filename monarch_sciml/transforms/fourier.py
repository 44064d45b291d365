"""The discrete Fourier transform: the fixed baseline that every Monarch transform starts from."""

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml.transforms.base import Transform, oriented
from monarch_sciml.transforms.basis import AxisSpec, Norm
from monarch_sciml.transforms.constants import Constants, outside_of_traces


class FixedTransform(Transform):
    """A transform without parameters, held as a dense matrix in the dtype of the module."""

    def __init__(self, spec: AxisSpec) -> None:
        super().__init__()
        self.spec = spec
        # carries dtype and device; the matrix itself is made in float64 and cast, so that
        # .double() is exact
        with outside_of_traces():
            self.register_buffer("_like", torch.zeros(()), persistent=False)
        self._exact = Constants(self._make_matrix)
        self._prepare()

    _like: Tensor

    def _make_matrix(self) -> list[Tensor]:
        return [oriented(self.spec.dense_rows(), self.spec)]

    def _prepare(self) -> None:
        self._exact.like(self._like)

    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, n) for analysis and (n, K) for synthesis."""
        return self._exact.like(self._like)[0]

    def resampled(self, n: int) -> Transform:
        """Return the same transform on a grid of n points."""
        return self.from_spec(self.spec.on_grid(n)).follow(self._like)

    def follow(self, reference: Tensor) -> FixedTransform:
        """Move the transform to the precision and the device of a tensor, and return it."""
        like = self._like
        if (like.dtype, like.device) != (reference.real.dtype, reference.device):
            self._like = like.to(reference.device, reference.real.dtype)
        return self

    @classmethod
    def from_spec(cls, spec: AxisSpec) -> FixedTransform:
        """Return the transform that a description stands for."""
        transform = cls.__new__(cls)
        FixedTransform.__init__(transform, spec)
        return transform


class FourierTransform(FixedTransform):
    """The DFT along the last axis, y_k = s sum_x exp(-2 pi i k x / n) x_x, through torch.fft.

    Parameters
    ----------
    n
        Number of grid points, of any size.
    n_modes
        Number K of modes kept: those of the lowest frequencies, from -(K // 2) on, in FFT order
        (ascending when centred), or with `real_input` the frequencies 0 ... K - 1. All by default.
    real_input
        Whether the grid side is real, so that half of the spectrum is kept (torch.fft.rfft).
    centered
        Whether the transform is fftshift . fft . ifftshift, the convention of MRI.
    norm
        "ortho", "forward" or "backward", with the meaning of torch.fft.
    inverse
        Whether to map modes to the grid instead (torch.fft.ifft; irfft for real_input).

    Raises
    ------
    ValueError
        When `n_modes` exceeds n (n // 2 + 1 for real_input), or for real_input with centered.

    Examples
    --------
    >>> import torch
    >>> transform = FourierTransform(8, norm="backward")
    >>> x = torch.randn(8)
    >>> torch.allclose(transform(x), torch.fft.fft(x), atol=1e-5)
    True
    """

    def __init__(
        self,
        n: int,
        n_modes: int | None = None,
        *,
        real_input: bool = False,
        centered: bool = False,
        norm: Norm = "ortho",
        inverse: bool = False,
    ) -> None:
        init = "idft" if inverse else "dft"
        super().__init__(
            AxisSpec.create(init, n, n_modes, real_input=real_input, centered=centered, norm=norm)
        )

    def _prepare(self) -> None:
        if not self.spec.is_full:  # all modes go through torch.fft; the matrix is made when asked
            super()._prepare()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the DFT by torch.fft when every mode is kept, by its rows otherwise."""
        spec = self.spec
        if not spec.is_full:
            return super().forward(x)
        self._check(x, grid_side=not spec.synthesis)
        if spec.real_input:
            if spec.synthesis:
                return torch.fft.irfft(x, n=spec.n, norm=spec.norm)
            return torch.fft.rfft(x, norm=spec.norm)
        x = torch.fft.ifftshift(x, dim=-1) if spec.centered else x
        transform = torch.fft.ifft if spec.synthesis else torch.fft.fft
        y = transform(x, norm=spec.norm)
        return torch.fft.fftshift(y, dim=-1) if spec.centered else y
