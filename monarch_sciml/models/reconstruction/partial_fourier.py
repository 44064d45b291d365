"""Reconstruct partial Fourier scans: homodyne detection, and projection onto convex sets.

Letters: B batch; C coils; H, W image rows and columns; n samples of one axis of k-space.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.models.reconstruction.image_transform import check_sample
from monarch_sciml.physics.sense_operator import (
    combine,
    combine_map_sets,
    fft2c,
    ifft2c,
)


class _PartialFourier(nn.Module, ABC):
    """Reconstruct every sample of a batch by `_one`."""

    def __init__(self, grid_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.grid_shape = tuple(grid_shape)

    @torch.no_grad()
    def forward(self, masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor) -> Tensor:
        """Return the image (B, H, W) of k-space (B, C, H, W) with masks (B, H, W) and maps.

        The shape of the maps is (B, C, H, W), or (B, M, C, H, W) for several sets.

        Raises
        ------
        ValueError
            When k-space is complete, undersampled, or has less than half of its lines.
        """
        _, maps = check_sample(masked_kspace, mask, coil_maps)  # (B, M, C, H, W)
        images = [
            self._one(kspace, pattern, sets)
            for kspace, pattern, sets in zip(masked_kspace, mask, maps)
        ]
        return torch.stack(images)

    @abstractmethod
    def _one(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Return the image (H, W) of k-space (C, H, W) with maps (M, C, H, W)."""


class Homodyne(_PartialFourier):
    r"""Use the symmetry of k-space to fill the side that a partial Fourier scan left out.

    .. math:: x = e^{i \phi} \, \mathrm{Re}\left(e^{-i \phi} \sum_c S_c^* F^{-1} w \, y_c\right),
              \qquad \phi = \arg \sum_c S_c^* F^{-1} h \, y_c

    If an image is real except for a slowly varying phase phi, its k-space is conjugate symmetric
    about the centre except for that phase. w is 2 where only one of two opposite samples was
    acquired, rises from 0 to 2 across the symmetric centre, and is 0 elsewhere; h is a Hann window
    over the symmetric centre.

    Parameters
    ----------
    grid_shape
        Image size (H, W) in pixels, an argument that all reconstruction methods have. The method
        accepts k-space of any size.

    Notes
    -----
    Lines must be missing along one axis, on one side, beyond the centre; a scan that is also
    undersampled is refused. The phase is taken to vary no faster than the symmetric centre shows.

    References
    ----------
    Noll, Nishimura, Macovski, "Homodyne detection in magnetic resonance imaging", IEEE TMI 10
    (1991); McGibney et al., MRM 30, 51 (1993). `bart homodyne` with its default ramp.

    Examples
    --------
    >>> image = torch.rand(1, 8, 16).to(torch.complex64)
    >>> mask = (torch.arange(16) >= 4).float().expand(1, 8, 16)
    >>> from monarch_sciml.physics import fft2c
    >>> kspace = (fft2c(image) * mask)[:, None]
    >>> Homodyne((8, 16))(kspace, mask, torch.ones(1, 1, 8, 16) + 0j).shape
    torch.Size([1, 8, 16])
    """

    def _one(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        weight, window = _weights(mask, "homodyne", kspace)
        full, low = (
            combine(ifft2c(w * kspace).unsqueeze(0), maps) for w in (weight, window)
        )  # (M, H, W)
        phase = torch.sgn(low)
        return combine_map_sets((full * phase.conj()).real * phase)


class POCS(_PartialFourier):
    r"""Fill the side that a partial Fourier scan left out by projection onto convex sets (POCS).

    For each coil, with y its samples and A the places that were acquired, it repeats

    .. math:: x \leftarrow |x| \, e^{i \phi}, \qquad
              F x \leftarrow y \text{ on } A, \qquad \phi = \arg F^{-1} h y

    where h is a Hann window over the symmetric centre of k-space, and combines the coils with their
    maps. The image agrees with every acquired sample, also where the phase varies faster than the
    symmetric centre shows; there homodyne detection loses signal.

    Parameters
    ----------
    grid_shape
        Image size (H, W) in pixels, an argument that all reconstruction methods have. The method
        accepts k-space of any size.
    n_iterations
        Number of repetitions.

    Notes
    -----
    The mask must be one of partial Fourier, as for `Homodyne`.

    References
    ----------
    Haacke, Lindskog, Lin, "A fast, iterative, partial-Fourier technique capable of local phase
    recovery", J. Magn. Reson. 92, 126 (1991); Liang et al., "Constrained reconstruction methods in
    MR imaging", Rev. Magn. Reson. Med. 4, 67 (1992).

    Examples
    --------
    >>> image = torch.rand(1, 8, 16).to(torch.complex64)
    >>> mask = (torch.arange(16) >= 4).float().expand(1, 8, 16)
    >>> kspace = (fft2c(image) * mask)[:, None]
    >>> POCS((8, 16))(kspace, mask, torch.ones(1, 1, 8, 16) + 0j).shape
    torch.Size([1, 8, 16])
    """

    def __init__(self, grid_shape: tuple[int, ...], *, n_iterations: int = 20) -> None:
        super().__init__(grid_shape)
        self.n_iterations = positive_int("n_iterations", n_iterations)

    def _one(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        filled = self._filled(kspace, mask).unsqueeze(0)
        return combine_map_sets(combine(filled, maps))

    def _filled(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Return the coil images (C, H, W) of k-space (C, H, W) with its missing side filled."""
        _, window = _weights(mask, "pocs", kspace)
        phase = torch.sgn(ifft2c(window * kspace))
        image = ifft2c(kspace)
        for _ in range(self.n_iterations):
            filled = torch.where(mask != 0, kspace, fft2c(image.abs() * phase))
            image = ifft2c(filled)
        return image


def partial_fourier(mask: Tensor) -> tuple[int, int, int] | None:
    """Return axis, first and one past the last line of a partial Fourier mask (H, W); else None.

    Lines are complete, without a gap, and reach from one edge of k-space beyond its centre.
    """
    rows, columns = (mask != 0).any(dim=1), (mask != 0).any(dim=0)
    box = rows[:, None] & columns
    if not bool(box.any()) or not bool((box == (mask != 0)).all()):
        return None
    found = []
    for axis, lines in enumerate((rows, columns)):
        acquired = lines.nonzero().flatten()
        first, last, n = int(acquired[0]), int(acquired[-1]) + 1, len(lines)
        if last - first != len(acquired):
            return None
        if last - first < n:
            found.append((axis, first, last, n))
    if len(found) != 1:
        return None
    axis, first, last, n = found[0]
    one_sided = (first == 0) != (last == n)
    return (axis, first, last) if one_sided and first < n // 2 < last - 1 else None


def _weights(mask: Tensor, method: str, kspace: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights w and h of a mask (H, W), each (H, 1) or (1, W), in the type of k-space.

    Raises
    ------
    ValueError
        When the mask, named in the error as that of `method`, is not one of partial Fourier.
    """
    found = partial_fourier(mask)
    if found is None:
        rule = f"{method} needs k-space that lacks lines on one side of one axis, beyond its centre"
        share = float((mask != 0).float().mean())
        got = f"a mask of {100 * share:.0f} % of the samples"
        raise ValueError(message(rule, got, "Use cg_sense for other masks."))
    axis, first, last = found
    n = mask.shape[axis]
    offset = torch.arange(n, dtype=torch.float64) - n // 2
    reach = min(-int(offset[first]), int(offset[last - 1]))
    side = 1.0 if n // 2 - first == reach else -1.0  # towards the lines that have no opposite
    ramp = (1 + side * offset / (reach + 1)).clamp(0, 2)
    acquired = (torch.arange(n) >= first) & (torch.arange(n) < last)
    hann = 0.5 + 0.5 * torch.cos(torch.pi * offset / (reach + 1))
    window = torch.where(offset.abs() <= reach, hann, 0.0)
    shape = (-1, 1) if axis == 0 else (1, -1)
    weights = ((ramp * acquired).reshape(shape), window.reshape(shape))
    weight, window = (w.to(kspace.device, kspace.real.dtype) for w in weights)
    return weight, window
