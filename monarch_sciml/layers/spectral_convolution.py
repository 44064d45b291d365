"""The spectral convolution of a Fourier neural operator, with the transform as an argument.

Letters: B batch, I and O channels in and out, d axes, n_i grid sizes, K_i kept modes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.kernels import monarch_planes, spectral_convolution
from monarch_sciml.kernels.spectral import real_spectral_convolution
from monarch_sciml.layers.corrected_convolution import corrected_convolution
from monarch_sciml.layers.neuralop_arguments import (
    check_modes,
    home_grid,
    refuse,
    refuse_sphere,
    scaling_factors,
    sizes,
)
from monarch_sciml.layers.neuralop_placement import place_as_neuralop
from monarch_sciml.layers.spectral_weights import mixing_weight, multiplied_out
from monarch_sciml.transforms import (
    CorrectedTransform,
    FixedTransform,
    MonarchTransform,
    PODTransform,
    Transform,
)
from monarch_sciml.transforms.named import (
    TRANSFORMS,
    TransformName,
    TransformOptions,
    axis_spec,
    check_options,
)


class MonarchSpectralConv(nn.Module):
    """Convolve in a learnable spectral basis, y = Re(S W A x) + b; drop-in for neuralop's
    SpectralConv.

    A and S act along each axis: the truncated DFT and its inverse at first, learnable Monarch
    products (or dense matrices) from then on. W mixes the channels mode by mode. With
    `transform="fourier"` nothing but W is learned and the layer is neuralop's.

    Parameters
    ----------
    in_channels, out_channels
        Channels I and O.
    n_modes
        Number of modes kept along each axis, of both signs. The last axis of real data keeps the n
        // 2 + 1 modes of non-negative frequency, as in neuralop. Cosine and sine bases keep
        n_modes[i] modes per axis. The numbers can be lowered and raised at run time up to
        `max_n_modes`.
    max_n_modes
        Largest numbers of modes, for which the weights are made. `n_modes` by default.
    transform
        "monarch", "dense" (learnable without structure), "corrected" (a fixed transform plus a
        learned correction over the whole grid), or the fixed "fourier", "cosine", "sine" and "pod"
        (the POD basis of the training fields, fitted by `models.fit_bases`, with as many modes as
        the product of `n_modes`).
    grid_shape
        Grid of the learnable transforms, which should be the training grid. On any other grid they
        are resampled (`MonarchTransform.resampled`). By default the smallest power of two with four
        points per mode.
    init
        Name of the transform that a learnable one starts from: "dft", "dct", "dst" or "random"; for
        a corrected one also "pod", the basis of transform="pod".
    per_channel
        Whether each channel has a transform of its own.
    transform_rank, transform_order
        Number of terms and number of factors of a Monarch transform. The rank is also that of the
        slices of a corrected transform.
    grid_blocks, mode_blocks
        Numbers of patches of the grid and of blocks of neighbouring modes of a
        `CorrectedTransform`, one for all axes or one per axis.
    per_axis
        Whether to correct the transform of each axis separately rather than that of the whole grid.
        An option that `transform` does not have is refused.
    complex_data
        Whether the field is complex, so that frequencies of both signs are kept on every axis.
    resolution_scaling_factor
        Output points per input point, one number or one per axis.
    bias
        Whether to add one learned number per output channel.
    factorization, rank, fixed_rank_modes, decomposition_kwargs
        Factorisation of the weights into small tensors with `rank` times the dense parameters, as
        in neuralop: "tucker" (TFNO), "cp" or "tt". None is for dense weights.
    separable, fno_block_precision, implementation, enforce_hermitian_symmetry
        Options that neuralop passes. `separable=True` and a precision other than "full" are
        refused. `implementation`, which selects how neuralop multiplies, is ignored, and so is
        `enforce_hermitian_symmetry`: the result is the real part in either case.

    Attributes
    ----------
    weight
        (K_1, ..., K_d, I, O, 2): modes first, ascending frequency, real and imaginary parts last
        (no last axis for cosine and sine bases). Factorised weights are neuralop's own
        tltorch.FactorizedTensor of shape (I, O, K_1, ..., K_d).
    analysis, synthesis
        One `Transform` per axis, or a single `CorrectedTransform` of the whole grid.
    placement
        "exact", or "neuralop" in layers that `monarchize` made from layers of neuralop. The notes
        explain the difference.

    Notes
    -----
    Under autocast the products at full size run in half precision, and the result is in single
    precision, as that of neuralop's layer is (autocast computes the FFT so).

    Normalisation is neuralop's fft_norm="forward". On an output grid of another size every
    frequency keeps its place (neuralop 2.0.0 misplaces negative ones there, and all on odd sizes of
    any axis but the last and on the last axis of complex data). `layer.placement = "neuralop"`
    misplaces them alike, for networks that were trained that way.

    References
    ----------
    Li et al., "Fourier Neural Operator", arXiv 2010.08895, eq. 4; Dao et al., arXiv 2204.00595,
    section 5.1.

    Examples
    --------
    >>> import torch
    >>> layer = MonarchSpectralConv(3, 5, (8, 8), grid_shape=(16, 16))
    >>> layer(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 5, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_modes: int | Sequence[int],
        resolution_scaling_factor: float | Sequence[Any] | None = None,
        max_n_modes: int | Sequence[int] | None = None,
        rank: float = 1.0,
        fixed_rank_modes: bool = False,
        implementation: str = "factorized",
        separable: bool = False,
        factorization: str | None = None,
        fno_block_precision: str = "full",
        decomposition_kwargs: dict[str, Any] | None = None,
        complex_data: bool = False,
        enforce_hermitian_symmetry: bool = True,
        bias: bool = True,
        *,
        transform: TransformName = "monarch",
        grid_shape: Sequence[int] | None = None,
        init: Literal["dft", "dct", "dst", "random", "pod"] = "dft",
        per_channel: bool = False,
        transform_rank: int = 1,
        transform_order: int = 2,
        grid_blocks: int | Sequence[int] | None = None,
        mode_blocks: int | Sequence[int] | None = None,
        per_axis: bool = False,
    ) -> None:
        super().__init__()
        refuse_sphere()
        refuse("separable", separable, (False,))
        refuse("fno_block_precision", fno_block_precision, ("full",))
        one_of("transform", transform, get_args(TransformName))
        self.in_channels = positive_int("in_channels", in_channels)
        self.out_channels = positive_int("out_channels", out_channels)
        self.complex_data = complex_data
        self.placement: Literal["exact", "neuralop"] = "exact"
        self._n_modes = sizes("n_modes", n_modes)
        limits = self._n_modes if max_n_modes is None else sizes("max_n_modes", max_n_modes)
        self.max_n_modes = limits
        self.order = len(limits)
        self.n_modes = self._n_modes  # checks it against max_n_modes
        self.resolution_scaling_factor = scaling_factors(resolution_scaling_factor, self.order)
        initial = axis_spec(transform, init, 2, None)
        start, self._real_basis = initial.family, initial.is_real
        self._half = not (complex_data or self._real_basis)  # last axis keeps half of the spectrum
        grid = home_grid(limits, grid_shape)
        named = TRANSFORMS[transform]
        self._over_grid = named.over_grid is not None and not per_axis
        copies = 2 if per_channel else 1  # as many as there are channels
        shared = TransformOptions(copies, transform_rank, transform_order, grid_blocks, mode_blocks)
        check_options(transform, shared, init=init, per_axis=per_axis)

        def build(name: str, n_channels: int) -> nn.ModuleList:
            options = replace(shared, n_copies=n_channels if per_channel else 1)
            specs = [
                axis_spec(
                    transform,
                    name,
                    n,
                    self._rows(axis, limits[axis]),
                    real_input=self._half and axis == self.order - 1,
                    norm="forward",
                )
                for axis, n in enumerate(grid)
            ]
            if self._over_grid and named.over_grid is not None:
                return nn.ModuleList([named.over_grid(specs, options)])
            parts = options.of_axes(self.order)
            return nn.ModuleList(named.build(spec, part) for spec, part in zip(specs, parts))

        self.analysis = build(start, in_channels)
        self.synthesis = build("i" + start, out_channels)
        self.weight: Any = mixing_weight(
            (in_channels, out_channels),
            [self._rows(axis, limit) for axis, limit in enumerate(limits)],
            real=self._real_basis,
            factorization=factorization,
            rank=rank,
            fixed_rank_modes=fixed_rank_modes,
            options=decomposition_kwargs,
        )
        std, ones = (2 / (in_channels + out_channels)) ** 0.5, (1,) * self.order
        self.bias = nn.Parameter(std * torch.randn(out_channels, *ones)) if bias else None
        self._resampled: dict[tuple[str | int, ...], Transform] = {}
        self._prepare()

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> Self:
        """Move or cast the layer; factors of complex weights keep single precision at least."""
        super()._apply(fn, recurse)
        if isinstance(self.weight, nn.Module) and not self._real_basis:
            half = (torch.bfloat16, torch.float16)
            if any(factor.dtype in half for factor in self.weight.parameters()):
                self.weight.float()
        return self

    def _prepare(self) -> None:
        """Compute the cached rows of the Monarch transforms ahead of any trace."""
        for axis, transforms in enumerate(zip(self.analysis, self.synthesis)):
            for transform in transforms:
                if isinstance(transform, MonarchTransform):
                    keep = self._rows(axis, self._n_modes[axis])
                    transform.row_factors(keep, ascending=self._signed(axis))

    @property
    def n_modes(self) -> list[int]:
        """Modes in use along each axis, both signs."""
        return list(self._n_modes)

    @n_modes.setter
    def n_modes(self, n_modes: int | Sequence[int]) -> None:
        modes = sizes("n_modes", n_modes)
        if len(modes) != self.order or any(a > b for a, b in zip(modes, self.max_n_modes)):
            rule = f"`n_modes` must be at most max_n_modes={tuple(self.max_n_modes)} on every axis"
            raise ValueError(message(rule, tuple(modes), "Build the layer with more max_n_modes."))
        self._n_modes = modes
        if hasattr(self, "synthesis"):
            self._prepare()

    def _rows(self, axis: int, n_modes: int) -> int:
        """Rows of the transform for n_modes modes of both signs."""
        return n_modes // 2 + 1 if self._half and axis == self.order - 1 else n_modes

    def _on_grid(self, which: str, axis: int, n: int) -> Transform:
        """Transform of one axis on a grid of n points."""
        transform: Transform = getattr(self, which)[axis]
        if transform.n == n:
            return transform
        key = (which, axis, n)
        if key not in self._resampled:
            self._resampled[key] = transform.resampled(n)
        on_grid = self._resampled[key]
        if isinstance(on_grid, FixedTransform):  # others follow their parameters
            on_grid.follow(next(self.parameters()))
        return on_grid

    def _joint(self, which: str, grid: Sequence[int], modes: Sequence[int]) -> CorrectedTransform:
        """Transform of the whole grid, with at most so many modes along each axis."""
        transform: CorrectedTransform = getattr(self, which)[0]
        if (transform.patches.sizes, transform.mode_blocks.sizes) == (tuple(grid), tuple(modes)):
            return transform
        key = (which, *grid, *modes)
        if key not in self._resampled:
            self._resampled[key] = transform.resampled(grid, n_modes=modes)
        return self._resampled[key]  # type: ignore

    def _in_pod_basis(self, x: Tensor, target: Sequence[int], bias: Tensor | None) -> Tensor:
        """Convolve in the POD basis of the whole grid."""
        rows = self.analysis[0].resampled(tuple(x.shape[2:])).matrix()  # type: ignore[operator]
        columns = self.synthesis[0].resampled(tuple(target)).matrix()  # type: ignore[operator]
        weight = self._padded_weight().flatten(0, self.order - 1)  # (K, I, O)
        y = spectral_convolution(x.flatten(2), weight, [rows], [columns], bias)
        return y.unflatten(-1, tuple(target))

    def _most_rows(self, *grids: Sequence[int]) -> list[int]:
        """Rows of the transforms for all modes that fit on every one of some grids."""
        fitting = [min(sizes) for sizes in zip(self.max_n_modes, *grids)]
        return [self._rows(axis, limit) for axis, limit in enumerate(fitting)]

    def _padded_weight(self, most: Sequence[int] | None = None) -> Tensor:
        """Weights (K_1, ..., K_d, I, O) of so many rows, or all, zero for those not in use."""
        kept, most = self._kept_weight(), self._most_rows() if most is None else most
        pads: list[int] = [0, 0, 0, 0]  # of the channels; torch counts from the last axis
        for axis in reversed(range(self.order)):
            before = most[axis] // 2 - kept.shape[axis] // 2 if self._signed(axis) else 0
            pads += [before, most[axis] - kept.shape[axis] - before]
        return nn.functional.pad(kept, pads) if any(pads) else kept

    def _planes(self, which: str, axis: int, n: int) -> Tensor:
        """Real and imaginary part of `_matrix`, (2, K, n) with modes first for synthesis too."""
        transform = self._on_grid(which, axis, n)
        if isinstance(transform, MonarchTransform):
            keep = self._rows(axis, self._n_modes[axis])
            factors = transform.row_factors(keep, ascending=self._signed(axis))
            if factors is not None:
                return monarch_planes(*factors)
        matrix = self._matrix(which, axis, n)
        matrix = matrix if which == "analysis" else matrix.mT
        return torch.stack([matrix.real, matrix.imag], dim=-3)

    def _matrix(self, which: str, axis: int, n: int) -> Tensor:
        """Matrix of one axis on a grid of n points, its modes ascending and those in use only."""
        dim = -2 if which == "analysis" else -1
        matrix = self._on_grid(which, axis, n).matrix()
        most, keep = matrix.shape[dim], self._rows(axis, self._n_modes[axis])
        if not self._signed(axis):
            return matrix.narrow(dim, 0, keep)
        # FFT order to ascending order: the keep // 2 negative frequencies stand last
        negative = matrix.narrow(dim, most - keep // 2, keep // 2)
        return torch.cat([negative, matrix.narrow(dim, 0, keep - keep // 2)], dim=dim)

    def _signed(self, axis: int) -> bool:
        """Whether an axis keeps frequencies of both signs."""
        return not (self._real_basis or (self._half and axis == self.order - 1))

    def _kept_weight(self) -> Tensor:
        """Weights of the modes in use, (K_1, ..., K_d, I, O)."""
        weight = multiplied_out(self.weight, real=self._real_basis)
        for axis in range(self.order):
            rows = self._rows(axis, self._n_modes[axis])
            most = weight.shape[axis]
            if rows < most:
                start = most // 2 - rows // 2 if self._signed(axis) else 0
                weight = weight.narrow(axis, start, rows)
        return weight

    def _output_grid(self, grid: Sequence[int], output_shape: Sequence[int] | None) -> list[int]:
        if output_shape is not None:
            if len(output_shape) != self.order:
                rule = f"`output_shape` must have {self.order} sizes, one per axis"
                raise ValueError(message(rule, tuple(output_shape), "Give one size per axis."))
            return list(output_shape)
        if self.resolution_scaling_factor is None:
            return list(grid)
        return [round(n * factor) for n, factor in zip(grid, self.resolution_scaling_factor)]

    def transform(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """Bring a skip connection (B, C, n_1, ..., n_d) to the output grid, as neuralop does."""
        grid = list(x.shape[2:])
        target = self._output_grid(grid, output_shape)
        if grid == target:
            return x
        from neuralop.layers.resample import resample

        return resample(x, 1.0, list(range(2, x.ndim)), output_shape=target)

    def forward(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """Convolve x (B, I, n_1, ..., n_d) -> (B, O, m_1, ..., m_d).

        Raises
        ------
        ValueError
            When the number of axes or channels differs from the layer's, or an axis has fewer
            points than modes.
        TypeError
            When x is complex and the layer keeps half of the spectrum, as it does for real data.
        """
        grid = x.shape[2:]
        if len(grid) != self.order or x.shape[1] != self.in_channels:
            rule = f"the input must be (batch, {self.in_channels}, {self.order} grid axes)"
            raise ValueError(message(rule, tuple(x.shape), "Check `in_channels` and `n_modes`."))
        if x.is_complex() and self._half:
            rule = "a layer with complex_data=False needs a real field"
            raise TypeError(
                message(rule, x.dtype, "Set `complex_data=True`, or pass two channels.")
            )
        if self.complex_data and not (x.is_complex() or self._real_basis):
            x = x.to(torch.promote_types(x.dtype, torch.complex64))
        target = self._output_grid(grid, output_shape)
        check_modes(self._n_modes, grid)
        check_modes(self._n_modes, target)
        y = self._convolved(x, grid, target)
        if y.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type):
            return y.float()
        return y

    def _convolved(self, x: Tensor, grid: Sequence[int], target: Sequence[int]) -> Tensor:
        """Compute the convolution, once sizes are known to fit."""
        bias = None if self.bias is None else self.bias.flatten()
        if isinstance(self.analysis[0], PODTransform):
            return self._in_pod_basis(x, target, bias)
        if self._over_grid:
            if isinstance(self.analysis[0].start, PODTransform):  # its modes stand on one axis
                modes = [self.analysis[0].start.n_modes]
                weight = self._padded_weight().flatten(0, self.order - 1)
            else:
                modes = self._most_rows(grid, target)
                weight = self._padded_weight(modes)
            analysis = self._joint("analysis", grid, modes)
            synthesis = self._joint("synthesis", target, modes)
            placed = self.placement == "neuralop"
            return corrected_convolution(x, weight, analysis, synthesis, bias, placed=placed)
        # neuralop misplaces frequencies on odd or resized axes only, and for real data never on
        # the last
        even = all(n == m and n % 2 == 0 for n, m in zip(grid[:-1], target[:-1]))
        in_place = self.placement == "exact" or (self._half and even)
        if not (self._real_basis or x.is_complex()) and in_place:
            rows = [self._planes("analysis", axis, n) for axis, n in enumerate(grid)]
            columns = [self._planes("synthesis", axis, n) for axis, n in enumerate(target)]
            return real_spectral_convolution(x, self._kept_weight(), rows, columns, bias)
        matrices = [self._matrix("analysis", axis, n) for axis, n in enumerate(grid)]
        columns = [self._matrix("synthesis", axis, n) for axis, n in enumerate(target)]
        if self.placement == "neuralop":
            matrices, columns = place_as_neuralop(matrices, columns, real=self._half)
        return spectral_convolution(x, self._kept_weight(), matrices, columns, bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.in_channels}, {self.out_channels}, n_modes={tuple(self._n_modes)}"
