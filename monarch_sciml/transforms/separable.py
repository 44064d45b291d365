"""One transform per axis: the separable transform of an image or a field."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.transforms.base import Transform, along, restore_axis


class SeparableTransform(nn.Module):
    """Apply one transform along each of the last d axes, M = M_1 x ... x M_d (Kronecker).

    Parameters
    ----------
    transforms
        One `Transform` per axis, in the order of the axes. With `n_copies` > 1 (the same on every
        axis, or 1) the channels are on the axis before them: x (..., C, n_1, ..., n_d). At most
        the last may have `real_input`.

    Raises
    ------
    ValueError
        When the list is empty, the numbers of copies differ, or an axis before the last is real.

    Examples
    --------
    >>> import torch
    >>> from monarch_sciml.transforms import MonarchTransform
    >>> transform = SeparableTransform([MonarchTransform(8), MonarchTransform(12)])
    >>> x = torch.randn(2, 8, 12)
    >>> torch.allclose(transform(x), torch.fft.fft2(x, norm="ortho"), atol=1e-5)
    True
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        if not transforms:
            raise ValueError(message("`transforms` must name one per axis", "none", "Add one."))
        if any(transform.real_input for transform in transforms[:-1]):
            rule = "only the last axis may have real_input=True"
            got = [transform.real_input for transform in transforms]
            raise ValueError(message(rule, got, "Use a complex transform on the other axes."))
        copies = {t.n_copies for t in transforms} - {1}
        if len(copies) > 1:
            rule = "`n_copies` must agree on every axis"
            raise ValueError(message(rule, sorted(copies), "Use one number of copies, or 1."))
        self.transforms = nn.ModuleList(transforms)
        self.n_copies = copies.pop() if copies else 1

    def __getitem__(self, axis: int) -> Transform:
        transform = self.transforms[axis]
        if not isinstance(transform, Transform):
            raise TypeError(message("every axis must hold a Transform", type(transform), "Fix it."))
        return transform

    def __len__(self) -> int:
        return len(self.transforms)

    @property
    def n(self) -> tuple[int, ...]:
        """Grid points along each axis."""
        return tuple(self[axis].n for axis in range(len(self)))

    @property
    def n_modes(self) -> tuple[int, ...]:
        """Modes kept along each axis."""
        return tuple(self[axis].n_modes for axis in range(len(self)))

    @property
    def norm(self) -> str:
        """Scaling of the first axis."""
        return self[0].norm

    @property
    def centered(self) -> bool:
        """Whether every axis is centred."""
        return all(self[axis].centered for axis in range(len(self)))

    def _each(self, method: str, x: Tensor, axes: range) -> Tensor:
        dims = len(self)
        if x.ndim < dims + (self.n_copies > 1):
            rule = f"the input must have at least {dims + (self.n_copies > 1)} axes"
            raise ValueError(message(rule, tuple(x.shape), "Add the missing axes in front."))
        for axis in axes:
            transform = self[axis]
            channels = -dims - 1 if transform.n_copies > 1 else None
            moved = along(x, axis - dims, channels)
            x = restore_axis(getattr(transform, method)(moved), axis - dims, channels)
        return x

    def _order(self, *, to_modes_first_last: bool) -> range:
        """Return the order of the axes: the real one first towards the modes and last towards the
        grid.
        """
        analysis = not self[len(self) - 1].spec.synthesis
        if analysis == to_modes_first_last:
            return range(len(self) - 1, -1, -1)
        return range(len(self))

    def forward(self, x: Tensor) -> Tensor:
        """Apply every transform along its axis."""
        return self._each("forward", x, self._order(to_modes_first_last=True))

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply every adjoint along its axis."""
        return self._each("adjoint", y, self._order(to_modes_first_last=False))

    def inverse(self, y: Tensor) -> Tensor:
        """Apply every inverse along its axis."""
        return self._each("inverse", y, self._order(to_modes_first_last=False))

    def matrix(self) -> Tensor:
        """Return the Kronecker product of the axes' matrices: large, for tests and small grids."""
        product = self[0].matrix()
        for axis in range(1, len(self)):
            product = torch.kron(*_promoted(product, self[axis].matrix()))
        return product

    def resampled(self, n: Sequence[int]) -> SeparableTransform:
        """Return the same transform on a grid of n_1 x ... x n_d points."""
        if len(n) != len(self):
            rule = f"`n` must have {len(self)} sizes, one per axis"
            raise ValueError(message(rule, tuple(n), "Give the grid shape."))
        return SeparableTransform([self[axis].resampled(size) for axis, size in enumerate(n)])


def _promoted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)
