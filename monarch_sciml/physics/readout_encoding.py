"""A linear model of the readout that replaces the Fourier transform in `SenseOperator`.

Letters: H x W matrix (H readout, W phase encode), b bands of columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.physics.images import fft1c, ifft1c
from monarch_sciml.transforms import FourierTransform, GivenTransform
from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.constants import versions


class ReadoutEncoding(nn.Module):
    r"""Encode images by a readout that may differ from column to column, and an ideal phase encode.

    .. math:: T = F_W \; \mathrm{diag}_y(E_y), \qquad E_y = \sum_b w_b(y) \, T_b

    E_y maps the H pixels of column y to the H samples of a readout; F_W is the centred orthonormal
    DFT along the columns. One band is one matrix for all columns, W bands with w the identity are a
    matrix for each, and some smooth bands let the matrix vary slowly over the image.

    Parameters
    ----------
    transforms
        T_b, transforms of H points to H samples, such as a `CorrectedTransform` of the centred DFT,
        or a `GivenTransform` for a dense matrix.
    weights
        w, real (b, W), from `band_weights`; None for a matrix of its own for each of W columns.
    width
        W, where `weights` is None or there is one band.

    Raises
    ------
    ValueError
        When the transforms differ in size or in number from the weights.

    Notes
    -----
    Images are multiplied by E_y, (W, H, H), which is computed once while no gradients are needed:
    8 W H^2 bytes, and H times the work of a multiplication by H numbers. The module serves as the
    `transform` of `SenseOperator`, `CGSENSE`, `L1Wavelet` and `MoDL.encoding`.

    Examples
    --------
    >>> from monarch_sciml.physics import fft2c
    >>> encoding = ReadoutEncoding([FourierTransform(8, centered=True)], width=6)
    >>> image = torch.randn(3, 8, 6, dtype=torch.complex64)
    >>> torch.allclose(encoding(image), fft2c(image), atol=1e-5)
    True
    """

    weights: Tensor

    def __init__(
        self,
        transforms: Sequence[Transform],
        weights: Tensor | None = None,
        *,
        width: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {(t.n, t.n_modes) for t in transforms}
        if len(sizes) != 1 or len(set(*sizes)) != 1:
            rule = "`transforms` must all have the same number of points and samples"
            raise ValueError(message(rule, sorted(sizes) or "none", "Build them for one matrix."))
        if weights is None:
            width = positive_int("width", len(transforms) if width is None else width)
            one = len(transforms) == 1
            weights = torch.ones(1, width) if one else torch.eye(len(transforms))
        if weights.shape[0] != len(transforms) or (width or weights.shape[1]) != weights.shape[1]:
            rule = "`weights` must have a row for each transform and a column for each image column"
            got = f"{tuple(weights.shape)} for {len(transforms)} transforms"
            raise ValueError(message(rule, got, "Make them by `band_weights`."))
        self.transforms = nn.ModuleList(transforms)
        self.register_buffer("weights", weights)
        self.grid_shape = (int(next(iter(sizes))[0]), int(weights.shape[1]))
        self._kept: tuple[tuple[object, ...], Tensor] | None = None

    @property
    def n_bands(self) -> int:
        """Number of bands b."""
        return len(self.transforms)

    def matrices(self) -> Tensor:
        """Return E_y, complex (W, H, H), or (1, H, H) for one band."""
        bands = torch.stack([transform.matrix() for transform in self.transforms])  # type: ignore[operator]
        if self.n_bands == 1:
            return bands
        # (b, W), (b, H, H) -> (W, H, H)
        return torch.einsum("bw,bjx->wjx", self.weights.to(bands), bands)

    def forward(self, x: Tensor) -> Tensor:
        """Return the k-space of images x (..., H, W), complex."""
        self._check(x)
        return fft1c(_by_column(x, self._matrices_for(x)))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return T^H y of k-space y (..., H, W), complex images."""
        self._check(y)
        return _by_column(ifft1c(y), self._matrices_for(y).mH)

    def pseudo_inverse(self, y: Tensor, ridge: float = 1e-3) -> Tensor:
        r"""Return the images (..., H, W) that explain k-space without coils and mask best.

        .. math:: x_y = (E_y^H E_y + λ I)^{-1} E_y^H d_y

        Parameters
        ----------
        y
            (..., H, W), complex k-space, every phase encode of it.
        ridge
            λ, in units of the mean eigenvalue of E_y^H E_y.
        """
        self._check(y)
        matrices = self._matrices_for(y)
        gram = matrices.mH @ matrices
        weight = ridge * gram.diagonal(dim1=-2, dim2=-1).real.mean(-1)  # (W,)
        gram = gram + weight[:, None, None] * torch.eye(gram.shape[-1], device=gram.device)
        return _by_column(ifft1c(y), torch.linalg.solve(gram, matrices.mH))

    def _matrices_for(self, x: Tensor) -> Tensor:
        """Return E_y in the dtype and on the device of a complex tensor."""
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            return self.matrices().to(x)
        state = (versions(*self.parameters(), *self.buffers()), x.dtype, x.device)
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                self._kept = (state, self.matrices().to(x))
        return self._kept[1]

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[-2:]) != self.grid_shape:
            rule = "the encoding is of the matrix {} x {}".format(*self.grid_shape)
            remedy = "Learn one for this matrix, or reconstruct scans of that one."
            raise ValueError(message(rule, "{} x {}".format(*x.shape[-2:]), remedy))
        if not x.is_complex():
            raise TypeError(message("images and k-space must be complex", x.dtype, "Convert them."))


def band_weights(n_bands: int, width: int) -> Tensor:
    """Return smooth weights (b, W) of bands of columns, cubic B-splines that add up to one.

    One band is constant, two are linear and three quadratic. As many bands as columns are the
    identity, a matrix for every column.

    Raises
    ------
    ValueError
        When there are more bands than columns.

    References
    ----------
    de Boor, "A Practical Guide to Splines" (1978), chapter IX.
    """
    if positive_int("n_bands", n_bands) > width:
        rule = f"`n_bands` must be at most the {width} columns of the image"
        raise ValueError(message(rule, n_bands, "Lower it."))
    if n_bands == width:
        return torch.eye(width)
    import numpy as np
    from scipy.interpolate import BSpline

    order = min(3, n_bands - 1)
    inner = np.linspace(0, 1, n_bands - order + 1)
    knots = np.concatenate([[0.0] * order, inner, [1.0] * order])
    places = (np.arange(width) + 0.5) / width
    return torch.from_numpy(BSpline.design_matrix(places, knots, order).toarray().T).float()


def dense_encoding(matrices: Tensor, width: int) -> ReadoutEncoding:
    """Return the encoding with given matrices, complex (W, H, H), or (1, H, H) for all columns."""
    return ReadoutEncoding([GivenTransform(matrix) for matrix in matrices], width=width)


def fourier_encoding(grid_shape: tuple[int, int]) -> ReadoutEncoding:
    """Return the encoding of an ideal scanner, equal to `fft2c`."""
    height, width = grid_shape
    return ReadoutEncoding([FourierTransform(height, centered=True)], width=width)


def _by_column(x: Tensor, matrices: Tensor) -> Tensor:
    """Multiply every column of x (..., H, W) by its matrix, (W, H, H) or one for all (1, H, H)."""
    if len(matrices) == 1:
        return matrices[0] @ x
    flat = x.reshape(-1, *x.shape[-2:]).permute(2, 1, 0)  # (..., H, W) -> (W, H, B)
    return (matrices @ flat).permute(2, 1, 0).reshape(x.shape)
