"""The Cartesian multi-coil MRI measurement: mask, centred Fourier transform, coil maps.

Letters: B leading (batch) axes, any number; M map sets; C coils; H, W image rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.physics.images import center_crop, combine, combine_map_sets, fft2c, ifft2c, rss
from monarch_sciml.transforms.constants import outside_of_traces, versions

__all__ = [
    "LinearTransform",
    "SenseOperator",
    "center_crop",
    "combine",
    "combine_map_sets",
    "fft2c",
    "ifft2c",
    "rss",
    "with_map_sets",
]

_AXES = (-2, -1)


class LinearTransform(Protocol):
    """The interface that `SenseOperator` needs: a transform of the last two axes."""

    def forward(self, x: torch.Tensor, /) -> torch.Tensor:
        """Return the transform of `x` (..., H, W), of the same shape."""
        ...

    def adjoint(self, x: torch.Tensor, /) -> torch.Tensor:
        """Return the conjugate transpose of the transform applied to `x` (..., H, W)."""
        ...


def with_map_sets(masked_kspace: torch.Tensor, coil_maps: torch.Tensor) -> torch.Tensor:
    """Return maps with an axis of map sets (..., M, C, H, W), adding one of M = 1 if there is none.

    Networks accept both forms: the maps of a sample are (C, H, W), or (M, C, H, W) if they were
    estimated with `n_maps` above one. Maps with one axis more than k-space (..., C, H, W) have
    several sets.

    Examples
    --------
    >>> kspace = torch.zeros(5, 4, 8, 8)
    >>> with_map_sets(kspace, kspace).shape, with_map_sets(kspace, torch.zeros(5, 2, 4, 8, 8)).shape
    (torch.Size([5, 1, 4, 8, 8]), torch.Size([5, 2, 4, 8, 8]))
    """
    return coil_maps if coil_maps.dim() == masked_kspace.dim() + 1 else coil_maps.unsqueeze(-4)


class SenseOperator(nn.Module):
    r"""Map an image to undersampled multi-coil k-space.

    .. math:: y_c = M \, F (S_c x), \qquad A^H y = \sum_c S_c^* F^H M y_c

    With several map sets (soft SENSE) there is an image for each of them, and
    y_c = M F sum_m S_mc x_m.

    Parameters
    ----------
    mask
        (..., H, W), sampling mask M, 0 or 1 (weights are allowed), dimensionless; its leading axes
        broadcast against those of the maps without their coil axis.
    coil_maps
        (..., C, H, W), complex coil sensitivities S, dimensionless.
    transform
        Object with `.forward` and `.adjoint` on the last two axes that replaces F; None for the
        centred orthonormal FFT (`fft2c`). If it is a module, its parameters are parameters of the
        operator too, so that an optimiser finds them and `.to` moves them.
    map_sets
        Whether there are several map sets: maps are then (..., M, C, H, W) and images (..., M, H,
        W), while k-space and mask have no axis of sets. `combine_map_sets` combines the M images to
        one.

    Raises
    ------
    ValueError
        When mask and maps differ in H or W.
    TypeError
        When the maps are not complex.

    Notes
    -----
    With the FFT no data are shifted: for c = N // 2 and r_n = exp(2 pi i n c / N), F = exp(-2 pi i
    c^2 / N) r_k FFT r_n exactly, so the ramps are folded into maps and mask once. `normal` needs no
    ramps at all (a circular convolution commutes with shifts), and leaves out the FFT along an axis
    along which the mask is constant, for example the readout.

    Mask and maps move with the module. Each is a parameter where an `nn.Parameter` is given, and
    otherwise data that the state dict leaves out. The folded ramps are kept for later calls while
    mask and maps do not change, unless one of them is learned. The norm of the maps is not checked;
    A^H A has norm at most 1 when sum_c |S_c|^2 <= 1 everywhere and M is 0 or 1.

    References
    ----------
    Pruessmann, Weiger, Boernert, Boesiger, "Advances in sensitivity encoding with arbitrary k-space
    trajectories", MRM 46 (2001).

    Examples
    --------
    >>> maps = torch.full((4, 6, 8), 0.5 + 0j)  # four coils, sum of squares one
    >>> physics = SenseOperator(torch.ones(6, 8), maps)
    >>> image = torch.randn(2, 6, 8, dtype=torch.complex64)
    >>> physics.forward(image).shape
    torch.Size([2, 4, 6, 8])
    >>> torch.allclose(physics.normal(image), image, atol=1e-5)
    True
    """

    def __init__(
        self,
        mask: torch.Tensor,
        coil_maps: torch.Tensor,
        transform: LinearTransform | None = None,
        *,
        map_sets: bool = False,
    ) -> None:
        super().__init__()
        if not coil_maps.is_complex():
            raise TypeError(
                message("`coil_maps` must be complex", coil_maps.dtype, "Convert with `.to()`.")
            )
        if (
            coil_maps.dim() < 3 + map_sets
            or mask.dim() < 2
            or mask.shape[-2:] != coil_maps.shape[-2:]
        ):
            rule = "`mask` (..., H, W) must match the last two axes of `coil_maps` (..., C, H, W)"
            got = f"{tuple(mask.shape)} and {tuple(coil_maps.shape)}"
            raise ValueError(message(rule, got, "Draw the mask for the shape of the k-space."))
        self.map_sets = map_sets
        weights = mask if isinstance(mask, nn.Parameter) else mask.to(coil_maps.real)
        for name, tensor in (("coil_maps", coil_maps), ("weights", weights)):
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor, persistent=False)
        self.transform = transform
        self._kept: dict[str, Any] = {}

    coil_maps: torch.Tensor
    weights: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """(..., 1, H, W), one mask for all coils, in the real dtype of the maps."""
        return self.weights.to(self.coil_maps.real.dtype).unsqueeze(-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return A x, the masked k-space of every coil.

        Parameters
        ----------
        x
            (..., H, W), complex image, any unit.

        Returns
        -------
        (..., C, H, W), complex k-space in the unit of `x`, zero where the mask is.
        """
        self._check_image(x)
        if self.transform is not None:
            return self.mask * self.transform.forward(self._expand(x, self.coil_maps))
        ramped_mask, ramped_maps = self._ramped
        return ramped_mask * torch.fft.fft2(self._expand(x, ramped_maps), norm="ortho")

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Return A^H y, the zero-filled SENSE image.

        Parameters
        ----------
        y
            (..., C, H, W), complex k-space, any unit; samples outside the mask are ignored.

        Returns
        -------
        (..., H, W), complex image in the unit of `y`.
        """
        self._check_kspace(y)
        if self.transform is not None:
            return self._combine(self.transform.adjoint(self.mask * y), self.coil_maps)
        ramped_mask, ramped_maps = self._ramped
        images = torch.fft.ifft2(ramped_mask.conj() * y, norm="ortho")
        return self._combine(images, ramped_maps)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """Return A^H A x, equal to `adjoint(forward(x))` at lower cost.

        Parameters
        ----------
        x
            (..., H, W), complex image, any unit.

        Returns
        -------
        (..., H, W), complex image in the unit of `x`.
        """
        if self.transform is not None:
            return self.adjoint(self.forward(x))
        self._check_image(x)
        axes, weight = self._convolution
        coil_images = self._expand(x, self.coil_maps)
        if axes:
            spectrum = torch.fft.fftn(coil_images, dim=axes, norm="ortho")
            coil_images = torch.fft.ifftn(weight * spectrum, dim=axes, norm="ortho")
        else:
            coil_images = weight * coil_images
        return self._combine(coil_images, self.coil_maps)

    def _expand(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Return the coil images (..., C, H, W) of an image, or of the M images of the sets."""
        images = maps * x.unsqueeze(-3)  # (..., M?, C, H, W)
        if not self.map_sets:
            return images
        return images.squeeze(-4) if images.shape[-4] == 1 else images.sum(dim=-4)

    def _combine(self, coil_images: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Return the adjoint of `_expand`, (..., M?, H, W)."""
        return combine(coil_images.unsqueeze(-4) if self.map_sets else coil_images, maps)

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> Self:
        self._kept = {}
        super()._apply(fn, recurse)
        if self.weights.is_complex():  # `.to(torch.complex128)` takes all numbers along
            self.weights = self.weights.real
        return self

    def _keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a tensor that depends on mask and maps only, cached while they are not changed and
        not learned.
        """
        learned = self.weights.requires_grad or self.coil_maps.requires_grad
        if learned or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return make()
        state = versions(self.weights, self.coil_maps)
        if name not in self._kept or self._kept[name][0] != state:
            with outside_of_traces():
                self._kept[name] = state, make()
        return self._kept[name][1]

    @property
    def _ramped(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._keep("ramped", self._make_ramped)

    @property
    def _convolution(self) -> tuple[tuple[int, ...], torch.Tensor]:
        return self._keep("convolution", self._make_convolution)

    def _make_ramped(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mask and maps with the shifts of the centred FFT folded in as phase ramps."""
        ramp = torch.ones((), dtype=torch.complex128)
        offset = 0.0
        for axis in _AXES:
            n = int(self.coil_maps.shape[axis])
            center = n // 2
            offset += center * center / n
            # integer arithmetic keeps the angle exact: n c mod N lies in [0, N)
            turns = (torch.arange(n) * center % n).double() / n
            line = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
            ramp = ramp * (line[:, None] if axis == -2 else line)  # (H, 1) then (H, W)
        angle = -2 * math.pi * (offset % 1.0)
        origin = complex(math.cos(angle), math.sin(angle))
        dtype, device = self.coil_maps.dtype, self.coil_maps.device
        return (
            self.mask * (origin * ramp).to(device, dtype),
            self.coil_maps * ramp.to(device, dtype),
        )

    def _make_convolution(self) -> tuple[tuple[int, ...], torch.Tensor]:
        """Return the axes along which the mask varies, and its square in the order of the plain
        FFT.

        A trace cannot read the values of the mask and therefore takes both axes.
        """
        mask = self.mask
        axes = _AXES
        if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
            fixed = mask.detach()
            axes = tuple(a for a in _AXES if bool((fixed != fixed.narrow(a, 0, 1)).any()))
        weight = mask * mask
        for axis in _AXES:
            if axis not in axes:
                weight = weight.narrow(axis, 0, 1)
        return axes, torch.fft.ifftshift(weight, dim=axes) if axes else weight

    def _check_image(self, x: torch.Tensor) -> None:
        """Refuse an image whose trailing axes do not fit the maps."""
        shape = self.coil_maps.shape
        sets = (shape[-4],) if self.map_sets else ()
        name = "(map sets, H, W)" if self.map_sets else "(H, W)"
        self._check(x, (*sets, *shape[-2:]), f"{name} of the image")

    def _check_kspace(self, y: torch.Tensor) -> None:
        """Refuse k-space whose trailing axes do not fit the maps."""
        self._check(y, tuple(self.coil_maps.shape[-3:]), "(coils, H, W) of the k-space")

    @staticmethod
    def _check(value: torch.Tensor, expected: tuple[int, ...], name: str) -> None:
        if tuple(value.shape[-len(expected) :]) != expected:
            rule = f"the last {len(expected)} axes {name} must be {expected} as in `coil_maps`"
            raise ValueError(message(rule, tuple(value.shape), "Check the order of the axes."))
