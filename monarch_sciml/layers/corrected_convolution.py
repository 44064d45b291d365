"""The spectral convolution with one corrected transform over the whole grid.

Letters: B batch, I and O channels in and out, d axes, n_i and m_i grid sizes in and out, K_i kept
modes, K = K_1 ... K_d.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml.kernels.contiguous import block_matrices
from monarch_sciml.kernels.corrected import (
    CorrectedConvolution,
    CorrectedShape,
    plain_corrected_convolution,
)
from monarch_sciml.kernels.dispatch import needs_plain_operations, without_autocast
from monarch_sciml.kernels.spectral import real_spectral_convolution
from monarch_sciml.layers.neuralop_placement import place_as_neuralop
from monarch_sciml.transforms import CorrectedTransform

_DENSE_PAYS = 1.5  # multiplications of one dense product that take the time of one in blocks


def corrected_convolution(
    x: Tensor,
    weight: Tensor,
    analysis: CorrectedTransform,
    synthesis: CorrectedTransform,
    bias: Tensor | None = None,
    *,
    placed: bool = False,
) -> Tensor:
    """Transform the whole grid, mix the channels mode by mode, transform back.

    Parameters
    ----------
    x
        Field (B, I, n_1, ..., n_d), real or complex. The result of a real field is real.
    weight
        Mixing matrices of ascending modes, (K_1, ..., K_d, I, O); (K, I, O) for transforms that
        start from a POD of the whole grid.
    analysis, synthesis
        Transforms from the grid to the modes, and from the modes to the output grid.
    bias
        One number per output channel, (O,).
    placed
        Whether the fixed transforms read and write frequencies where neuralop does
        (`place_as_neuralop`).

    Returns
    -------
    Field (B, O, m_1, ..., m_d).

    Notes
    -----
    Real data and a complex basis take `CorrectedConvolution`, or the dense matrices of both
    transforms where these cost no more. Everything else takes plain products.
    """
    fixed = Fixed.of(analysis, synthesis, placed=placed, real=not x.is_complex())
    if x.is_complex() or not weight.is_complex():
        return _plain_products(x, weight, analysis, synthesis, fixed, bias)
    if _dense_pays(analysis) and _dense_pays(synthesis):
        planes = [_dense_planes(analysis, fixed.rows), _dense_planes(synthesis, fixed.columns)]
        mixing = weight.flatten(0, analysis.n_mode_axes - 1)
        y = real_spectral_convolution(x.flatten(2), mixing, planes[:1], planes[1:], bias)
        return y.unflatten(-1, synthesis.patches.sizes)
    return _in_blocks(x, weight, analysis, synthesis, fixed, bias)


@dataclass(frozen=True)
class Fixed:
    """Hold the fixed transforms along the axes as planes, ascending modes first.

    Attributes
    ----------
    rows, columns
        One matrix per axis of analysis and transposed synthesis, real and imaginary part first (the
        real part alone for a real basis): (2, K_i, n_i).
    """

    rows: list[Tensor]
    columns: list[Tensor]

    @classmethod
    def of(
        cls,
        analysis: CorrectedTransform,
        synthesis: CorrectedTransform,
        *,
        placed: bool,
        real: bool,
    ) -> Fixed:
        """Take the planes of two transforms, shifted as neuralop places frequencies if `placed`."""
        if not placed:
            return cls(analysis.planes(), synthesis.planes())
        rows = [torch.complex(*planes) for planes in analysis.planes()]
        columns = [torch.complex(*planes).mT for planes in synthesis.planes()]
        rows, columns = place_as_neuralop(rows, columns, real=real)
        return cls(
            [torch.stack([m.real, m.imag]) for m in rows],
            [torch.stack([m.real.mT, m.imag.mT]) for m in columns],
        )


def _in_blocks(
    x: Tensor,
    weight: Tensor,
    analysis: CorrectedTransform,
    synthesis: CorrectedTransform,
    fixed: Fixed,
    bias: Tensor | None,
) -> Tensor:
    """Apply both corrections as batched products of blocks."""
    matrices = [
        matrix
        for transform in (analysis, synthesis)
        for matrix in block_matrices(*transform.factors())
    ]
    dtype = matrices[0].dtype
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if x.dtype not in (torch.bfloat16, torch.float16):
        dtype = torch.promote_types(dtype, x.dtype)
        x = x.to(dtype)
    shape = CorrectedShape(
        [plane.to(dtype) for plane in (*fixed.rows, *fixed.columns)],
        (analysis.patches, analysis.mode_blocks),
        (synthesis.patches, synthesis.mode_blocks),
    )
    matrices = [matrix.to(dtype) for matrix in matrices]
    weight = weight.to(torch.promote_types(dtype, torch.complex64))
    bias = None if bias is None else bias.to(dtype)
    with without_autocast(x.device):
        if needs_plain_operations(x, weight, *matrices):
            return plain_corrected_convolution(shape, x, weight, bias, *matrices)
        return CorrectedConvolution.apply(shape, x.contiguous(), weight, bias, *matrices)


def _plain_products(
    x: Tensor,
    weight: Tensor,
    analysis: CorrectedTransform,
    synthesis: CorrectedTransform,
    fixed: Fixed,
    bias: Tensor | None,
) -> Tensor:
    """Multiply axis by axis and in blocks, for complex fields and for real bases."""
    dims = analysis.n_mode_axes
    of_grid = x.flatten(2) if dims < analysis.n_axes else x  # a POD has one axis of modes
    z = _along_axes([_joined(planes) for planes in fixed.rows], of_grid) + analysis.correction(x)
    dtype = torch.promote_types(z.dtype, weight.dtype)
    # (B, I, K_1 .. K_d) -> (K, B, I) -> (K, B, O) -> (B, O, K_1 .. K_d)
    mixed = z.flatten(2).movedim(-1, 0).to(dtype) @ weight.flatten(0, dims - 1).to(dtype)
    mixed = mixed.movedim(0, -1).unflatten(-1, weight.shape[:dims])
    y = _along_axes([_joined(planes).mT for planes in fixed.columns], mixed)
    y = y.flatten(2).unflatten(-1, synthesis.patches.sizes)
    y = y + synthesis.transposed_correction(mixed)
    y = y.real if y.is_complex() and not x.is_complex() else y
    return y if bias is None else y + bias.view(-1, *(1,) * synthesis.n_axes)


def _joined(planes: Tensor) -> Tensor:
    """Return a matrix from its planes, (2, K, n) or (1, K, n)."""
    return torch.complex(*planes) if len(planes) == 2 else planes[0]


def _along_axes(matrices: list[Tensor], x: Tensor) -> Tensor:
    """Multiply along each of the last axes."""
    dtype = torch.promote_types(matrices[0].dtype, x.dtype)
    x = x.to(dtype)
    for axis, matrix in enumerate(matrices, start=-len(matrices)):
        x = (x.movedim(axis, -1) @ matrix.mT.to(dtype)).movedim(-1, axis)
    return x


def _dense_pays(transform: CorrectedTransform) -> bool:
    """Return whether one dense product is faster than the fixed transform and the blocks."""
    patches, blocks = transform.patches, transform.mode_blocks
    n, modes = math.prod(patches.sizes), math.prod(blocks.sizes)
    between = patches.n_blocks * blocks.n_blocks * transform.rank
    in_blocks = between * (2 * patches.block_size + 4 * blocks.block_size)
    return 2 * n * modes <= _DENSE_PAYS * in_blocks


def _dense_planes(transform: CorrectedTransform, fixed: list[Tensor]) -> Tensor:
    """Return real and imaginary part of the rows (2, K, N) of a transform, modes ascending."""
    if fixed is transform.planes():
        rows = transform.rows()
    else:
        rows = functools.reduce(torch.kron, map(_joined, fixed)) + transform.learned_rows()
    return torch.stack([rows.real, rows.imag])
