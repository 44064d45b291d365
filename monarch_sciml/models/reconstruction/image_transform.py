"""The transform of an image: fixed or learnable, shared or per coil, on a matrix of any size.

Letters: B batch, M map sets, C coils, H x W matrix, n and m sizes of one axis (old, new).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.physics.sense_operator import LinearTransform, with_map_sets
from monarch_sciml.transforms import (
    CorrectedTransform,
    FourierTransform,
    LearnableTransform,
    ResampledTransform,
    SeparableTransform,
    Transform,
)
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.named import (
    TRANSFORMS,
    ImageTransformName,
    TransformOptions,
    axis_spec,
    check_options,
)

Resampling = Literal["relative", "frequency"]


class PlaneTransform(nn.Module):
    """Apply one transform per column to the rows, then one per row to the columns, not separably.

    z[., w] = C_w y[., w], y[h, .] = R_h x[h, .]. With dense R_h and C_w this is every two-factor
    Monarch matrix of the flattened plane of H W points (H blocks of W x W, then W blocks of H x H),
    of which the two-dimensional DFT is one: kron(F_H, F_W), all R_h and all C_w equal. With
    Monarch R_h and C_w it is a Monarch matrix of order 4.

    Parameters
    ----------
    rows
        Transform along the last axis, n = W, with H copies.
    columns
        Transform along axis -2, n = H, with W copies.
    """

    def __init__(self, rows: Transform, columns: Transform) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    @property
    def n(self) -> tuple[int, int]:
        """The matrix (H, W)."""
        return self.columns.n, self.rows.n

    def forward(self, x: Tensor) -> Tensor:
        """Transform x (..., H, W)."""
        return self.columns(self.rows(x).mT).mT

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the conjugate transpose to y (..., H, W)."""
        return self.rows.adjoint(self.columns.adjoint(y.mT).mT)

    def matrix(self) -> Tensor:
        """Return the dense matrix (H W, H W): for tests and small planes."""
        height, width = self.n
        unit = torch.eye(height * width, dtype=self.rows.matrix().dtype)
        # (HW, H, W) -> (HW inputs, HW outputs) -> transposed
        return self.forward(unit.to(self.rows.matrix()).unflatten(-1, self.n)).flatten(-2).mT

    def resampled(self, n: Sequence[int]) -> PlaneTransform:
        """Return the transform itself; ValueError for another matrix than its own."""
        if tuple(n) != self.n:
            rule = f"a transform that is not separable needs its training matrix {self.n}"
            raise ValueError(message(rule, tuple(n), "Set `separable=True`, or train on that one."))
        return self


class RelativeTransform(ResampledTransform):
    """Carry a learned transform M to m points by relative position in image and k-space.

    M'[x', k'] = T'[x', k'] (1 + a(x' / m, k' / m)), a(x / n, k / n) = M[x, k] / T[x, k] - 1, with T
    and T' the DFT on either grid and `a` interpolated linearly. 1 + `a` is the factor by which the
    learned transform changes frequency k at position x. For a diagonal weighting of k-space it is
    the weighting, which keeps its place in units of the largest frequency. An untrained transform
    is carried over exactly.

    Parameters
    ----------
    source
        Centred complex transform on n points with all its modes.
    n
        Points of the new grid.
    """

    def _make_constants(self) -> list[Tensor]:
        """Return the conjugate DFT on the old grid times n, the DFT on the new one, weights."""
        n, m = self.source.n, self.n
        old, new = (_fourier(size, inverse=self.spec.synthesis) for size in (n, m))
        return [n * old.conj().resolve_conj(), new, interpolation(n, m)]

    def matrix(self) -> Tensor:
        """Return the dense matrix (m, m), or (C, m, m)."""
        learned = self.source.matrix()
        old, new, weights = self._fixed.like(next(self.source.parameters()))
        weights = weights.to(learned.dtype)
        change = learned * old - 1  # (C?, n, n), the entries of the DFT have modulus 1 / sqrt(n)
        return new * (1 + weights @ change @ weights.mT)

    def resampled(self, n: int) -> Transform:
        """Return the source's transform on yet another grid."""
        return self.source if n == self.source.n else RelativeTransform(self.source, n)


class Adjoint(nn.Module):
    """Present a transform from k-space to image as the `LinearTransform` of `SenseOperator`."""

    def __init__(self, transform: LinearTransform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> Tensor:
        """Return the adjoint of the transform applied to `x` (..., H, W)."""
        return self.transform.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the transform of `y` (..., H, W)."""
        return self.transform.forward(y)


Plane: TypeAlias = SeparableTransform | PlaneTransform | CorrectedTransform


class OnGrids:
    """Return a transform on any matrix; the one for the last matrix is cached while it is
    unchanged.
    """

    def __init__(self, resampling: Resampling) -> None:
        self.resampling: Resampling = one_of("resampling", resampling, ("relative", "frequency"))
        self._kept: dict[tuple[int, tuple[int, ...]], tuple[list[nn.Module], Plane]] = {}

    def __call__(self, transform: Plane, grid: Sequence[int]) -> Plane:
        """Return the transform on a grid (H, W)."""
        grid = tuple(grid)
        if grid == transform.n:
            return transform
        key = (id(transform), grid)
        parts = list(transform.modules())  # `monarchize` and `densify` exchange them
        kept = self._kept.get(key)
        if kept is None or kept[0] != parts:
            kept = self._kept[key] = (parts, _carried(transform, grid, self.resampling))
        return kept[1]


def plane_transform(
    grid_shape: Sequence[int],
    transform: ImageTransformName,
    *,
    inverse: bool = True,
    init: Literal["fourier", "random"] = "fourier",
    options: TransformOptions | None = None,
    separable: bool = True,
    n_coils: int | None = None,
) -> Plane:
    """Build the centred orthonormal transform of a plane: k-space to image, or back.

    Parameters
    ----------
    grid_shape
        Matrix (H, W).
    transform
        "fourier" (fixed), "monarch", "dense" or "corrected".
    inverse
        Whether the transform maps k-space to the image.
    init
        Name of the transform that a learnable one starts from. "random" is for Monarch transforms
        only.
    options
        Rank, order and blocks of a learnable transform.
    separable
        Whether one transform serves all rows and one all columns, rather than one each. A corrected
        transform that is not separable corrects the plane jointly.
    n_coils
        Number of coils on axis -3 that have a transform of their own. None shares one transform.

    Raises
    ------
    ValueError
        When an argument has an unknown value, or two arguments exclude one another.
    """
    one_of("transform", transform, get_args(ImageTransformName))
    options = options or TransformOptions()
    height, width = check_matrix(grid_shape)
    copies = 1 if n_coils is None else positive_int("n_coils", n_coils)
    if copies > 1 and not separable:
        rule = "`n_coils` needs `separable=True`"
        raise ValueError(message(rule, f"n_coils={n_coils}, separable=False", "Leave one out."))
    check_options(transform, replace(options, n_copies=copies), copies="n_coils")
    if init == "random" and transform != "monarch":
        rule = "`init` is an option of transform='monarch'"
        raise ValueError(message(rule, f"transform={transform!r}", "Leave `init` out."))
    start = ("i" if inverse else "") + ("random" if init == "random" else "dft")
    over_grid = None if separable else TRANSFORMS[transform].over_grid
    if over_grid is not None:
        specs = [_spec(transform, start, n) for n in (height, width)]
        return cast(CorrectedTransform, over_grid(specs, options))
    parts = options.of_axes(2)

    def one(axis: int, copies: int) -> Transform:
        own = replace(parts[axis], n_copies=copies)
        spec = _spec(transform, start, (height, width)[axis])
        return TRANSFORMS[transform].build(spec, own)

    if separable or TRANSFORMS[transform].family is not None:
        return SeparableTransform([one(0, copies), one(1, copies)])
    return PlaneTransform(one(1, height), one(0, width))


def _spec(transform: ImageTransformName, start: str, n: int) -> AxisSpec:
    return axis_spec(transform, start, n, None, centered=True)


def is_fourier(transform: nn.Module) -> bool:
    """Return whether a transform of `plane_transform` is the fixed FFT."""
    return isinstance(transform, SeparableTransform) and all(
        isinstance(axis, FourierTransform) for axis in transform.transforms
    )


def check_no_encoding(encoding: LinearTransform | None) -> None:
    """Refuse an encoding of the scanner beside a learned transform, which is one itself."""
    if encoding is not None:
        rule = "an encoding takes the place of the Fourier transform"
        remedy = "Use a network with transform='fourier', or call `set_encoding(None)`."
        raise ValueError(message(rule, "a network with a learned transform", remedy))


def check_matrix(grid_shape: Sequence[int]) -> tuple[int, int]:
    """Return (H, W); ValueError when there are not two sizes."""
    if len(grid_shape) != 2:
        rule = "`grid_shape` must be the two sizes (H, W) of a slice"
        raise ValueError(message(rule, tuple(grid_shape), "Reconstruct slice by slice."))
    height, width = (positive_int("grid_shape", n) for n in grid_shape)
    return height, width


def check_sample(
    masked_kspace: Tensor, mask: Tensor, coil_maps: Tensor
) -> tuple[tuple[int, ...], Tensor]:
    """Return the matrix (H, W) of a batch, and its maps (B, M, C, H, W).

    Raises
    ------
    ValueError
        When mask, maps and k-space differ in size.
    TypeError
        When k-space is real.
    """
    if not masked_kspace.is_complex():
        rule = "`masked_kspace` must be complex"
        remedy = "Join real and imaginary part by torch.view_as_complex."
        raise TypeError(message(rule, masked_kspace.dtype, remedy))
    grid = tuple(int(n) for n in masked_kspace.shape[-2:])
    maps = with_map_sets(masked_kspace, coil_maps)
    if mask.shape[-2:] != grid or maps[..., 0, :, :, :].shape != masked_kspace.shape:
        rule = "`mask` and `coil_maps` must have the size of the k-space"
        got = f"{tuple(mask.shape)}, {tuple(coil_maps.shape)} for {tuple(masked_kspace.shape)}"
        raise ValueError(message(rule, got, "Crop or pad them to the same matrix."))
    return grid, maps


def interpolation(n: int, m: int) -> Tensor:
    """Return weights (m, n) float64 that interpolate linearly between centred grids of one extent.

    Point j of n lies at (j - n // 2) / n. Beyond the outermost points the values are constant.
    """
    place = (torch.arange(m, dtype=torch.float64) - m // 2) / m * n + n // 2  # (m,), in old points
    distance = place.clamp(0, n - 1)[:, None] - torch.arange(n, dtype=torch.float64)  # (m, n)
    return (1 - distance.abs()).clamp_min(0)


def _fourier(n: int, *, inverse: bool) -> Tensor:
    """Return the centred orthonormal DFT (n, n), complex128."""
    return FourierTransform(n, centered=True, inverse=inverse).double().matrix()


def _carried(transform: Plane, grid: tuple[int, ...], resampling: Resampling) -> Plane:
    """Return a transform on another grid by one of the two rules."""
    if resampling == "frequency" or not isinstance(transform, SeparableTransform):
        return transform.resampled(grid)
    axes = (transform[axis] for axis in range(len(transform)))
    return SeparableTransform(
        [
            RelativeTransform(axis, n)
            if isinstance(axis, LearnableTransform) and axis.n != n
            else axis.resampled(n)
            for axis, n in zip(axes, grid)
        ]
    )
