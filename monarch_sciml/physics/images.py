"""Centred Fourier transforms, coil combination and cropping of images."""

from __future__ import annotations

import math

import torch

from monarch_sciml._checks import message, positive_int

_AXES = (-2, -1)


def fft2c(x: torch.Tensor) -> torch.Tensor:
    """Return the centred orthonormal 2-D Fourier transform of the last two axes.

    F = fftshift . fft2(norm="ortho") . ifftshift: index N // 2 is the origin of both domains.

    Parameters
    ----------
    x
        (..., H, W), real or complex image, any unit.

    Returns
    -------
    (..., H, W), complex k-space in the unit of `x`; F is unitary, so its norm is that of `x`.

    Notes
    -----
    The sign is that of `torch.fft.fft2` (exponent -i) and of `bart fft -u 3`. Cost O(HW log HW).

    Examples
    --------
    >>> kspace = fft2c(torch.ones(4, 5))
    >>> round(kspace[2, 2].real.item() ** 2, 4)  # all energy at the centre (4 // 2, 5 // 2)
    20.0
    """
    shifted = torch.fft.ifftshift(x, dim=_AXES)
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=_AXES)


def ifft2c(x: torch.Tensor) -> torch.Tensor:
    """Return the inverse, which is also the adjoint, of `fft2c` along the last two axes.

    Parameters
    ----------
    x
        (..., H, W), k-space, any unit.

    Returns
    -------
    (..., H, W), complex image in the unit of `x`.
    """
    shifted = torch.fft.ifftshift(x, dim=_AXES)
    return torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), dim=_AXES)


def fft1c(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """Return the centred orthonormal Fourier transform along one axis, as `fft2c` along two."""
    spectrum = torch.fft.fft(torch.fft.ifftshift(x, dim=axis), dim=axis, norm="ortho")
    return torch.fft.fftshift(spectrum, dim=axis)


def ifft1c(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """Return the inverse, which is also the adjoint, of `fft1c` along one axis."""
    image = torch.fft.ifft(torch.fft.ifftshift(x, dim=axis), dim=axis, norm="ortho")
    return torch.fft.fftshift(image, dim=axis)


def combine(coil_images: torch.Tensor, coil_maps: torch.Tensor) -> torch.Tensor:
    """Return sum_c conj(S_c) x_c, the coil images combined with the maps.

    Parameters
    ----------
    coil_images
        (..., C, H, W), complex coil images, any unit.
    coil_maps
        (..., C, H, W), complex coil sensitivities, dimensionless.

    Returns
    -------
    (..., H, W), complex image in the unit of `coil_images`; it equals x when the coil images are
    S_c x and sum_c |S_c|^2 = 1.
    """
    return (coil_maps.conj() * coil_images).sum(dim=-3)


def rss(images: torch.Tensor, dim: int = -3) -> torch.Tensor:
    """Return the root of the sum of squared magnitudes, sqrt(sum_c |x_c|^2), along `dim`.

    Parameters
    ----------
    images
        (..., C, H, W) by default, real or complex coil images, any unit.
    dim
        The coil axis, which the result does not have.

    Returns
    -------
    (..., H, W), real magnitude in the unit of `images`.
    """
    return torch.linalg.vector_norm(images, dim=dim)


def combine_map_sets(images: torch.Tensor) -> torch.Tensor:
    r"""Return one image of the images of several map sets.

    .. math:: x = e^{i \arg x_1} \sqrt{\sum_m |x_m|^2}

    Parameters
    ----------
    images
        (..., M, H, W), complex, one image of every map set, any unit.

    Returns
    -------
    (..., H, W), complex image in the unit of `images`: the root of the sum of squares with the
    phase of the first set; for M = 1 that image itself.

    Notes
    -----
    Where an object does not fit into the field of view, two places of it fall on one pixel; the
    second set holds the signal that the first cannot explain, in the fold-over as well as near
    tissue edges. Its gradient is finite where all images are zero.
    """
    first = images.select(-3, 0)
    if images.shape[-3] == 1:
        return first
    power = images.real.square() + images.imag.square()  # (..., M, H, W)
    total = power.sum(dim=-3)
    lit = total > 0
    # sqrt has no finite gradient at 0
    magnitude = torch.where(lit, torch.where(lit, total, 1.0).sqrt(), 0.0)
    return torch.polar(magnitude, _angle(first))


def coil_combined(kspace: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Return sum_c conj(S_c) F^-1 y_c, combined to one image for several map sets.

    Parameters
    ----------
    kspace
        (..., c, H, W), any unit.
    maps
        (..., M, c, H, W), complex, of unit norm or zero.

    Returns
    -------
    (..., H, W), complex, unit of k-space.
    """
    return combine_map_sets(combine(ifft2c(kspace).unsqueeze(-4), maps))


def _angle(x: torch.Tensor) -> torch.Tensor:
    """Return the angle of `x`, 0 with a gradient of 0 where `x` is zero."""
    return torch.where(x == 0, 1.0, x).angle()


def center_crop(x: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return the central part of the last two axes, from index (N - n) // 2 on, as fastMRI does.

    Parameters
    ----------
    x
        (..., H, W), any image.
    shape
        (h, w), the size to keep in pixels.

    Returns
    -------
    (..., h, w), a view of `x`.

    Raises
    ------
    ValueError
        When `shape` is larger than the image or not positive.

    Examples
    --------
    >>> center_crop(torch.arange(5.0).expand(5, 5), (1, 2))
    tensor([[1., 2.]])
    """
    (height, width), (h, w) = x.shape[-2:], shape
    if not (0 < h <= height and 0 < w <= width):
        rule = f"the crop must lie within the image of {height} x {width} pixels"
        raise ValueError(message(rule, f"{h} x {w}", "Ask for a smaller crop."))
    top, left = (height - h) // 2, (width - w) // 2
    return x[..., top : top + h, left : left + w]


def montage(volume: torch.Tensor, n_columns: int | None = None) -> torch.Tensor:
    """Return slices (s, h, w) as one image (R h, C w); tiles without a slice are 0.

    Examples
    --------
    >>> montage(torch.arange(1, 4).reshape(3, 1, 1))
    tensor([[1, 2],
            [3, 0]])
    """
    n_slices, height, width = volume.shape
    columns = positive_int("n_columns", n_columns or math.ceil(math.sqrt(n_slices)))
    rows = math.ceil(n_slices / columns)
    tiles = volume.new_zeros(rows * columns, height, width)
    tiles[:n_slices] = volume
    grid = tiles.reshape(rows, columns, height, width)  # (R·C, h, w) -> (R, C, h, w)
    return grid.transpose(1, 2).reshape(rows * height, columns * width)  # (R, h, C, w)
