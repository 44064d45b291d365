"""The truncated spectral convolution as matrix products on the kept modes only.

Letters: B batch, I and O channels in and out, R = B I rows, d axes, n_i grid sizes, m_i output
sizes, K_i kept modes, M = K_1 ... K_d.

Only the first and the last product touch full-size data; everything between lives on kept modes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml.kernels.dispatch import needs_plain_operations, triton_enabled, without_autocast
from monarch_sciml.kernels.gpu import spectral as triton_spectral
from monarch_sciml.kernels.planes import PlanesConvolution


def spectral_convolution(
    x: Tensor,
    weight: Tensor,
    analysis: Sequence[Tensor],
    synthesis: Sequence[Tensor],
    bias: Tensor | None = None,
) -> Tensor:
    """Transform, mix the channels mode by mode, transform back.

    y = S (W (A x)) + b, with A = A_1 x ... x A_d and S = S_1 x ... x S_d acting along the axes; S W
    A x is replaced by its real part when x is real.

    Parameters
    ----------
    x
        Field (B, I, n_1, ..., n_d), real or complex.
    weight
        Mixing matrices, modes first: (K_1, ..., K_d, I, O), real or complex.
    analysis
        One matrix per axis, (K_i, n_i), or (I, K_i, n_i) for one per channel.
    synthesis
        One matrix per axis, (m_i, K_i), or (O, m_i, K_i) for one per channel.
    bias
        One number per output channel, (O,).

    Returns
    -------
    Field (B, O, m_1, ..., m_d). Half-precision data, or all real data under autocast, are
    multiplied and returned in half precision at full size; what lives on the kept modes stays in
    the precision of the matrices, since there are no complex half-precision numbers.

    Notes
    -----
    Real data and complex matrices take the real-arithmetic path, about K / n of the work of a full
    transform: `PlanesConvolution` where one matrix serves all channels, plain products where each
    channel has its own, under torch.func and torch.compile, and for gradients of second order.
    Everything else takes the reference path. All give the same values and gradients of every order.
    """
    matrices = [*analysis, *synthesis]
    alike = len({matrix.ndim for matrix in matrices}) == 1
    if x.is_complex() or not alike or not all(matrix.is_complex() for matrix in matrices):
        y = reference_spectral_convolution(x, weight, analysis, synthesis)
        y = y if bias is None else y + _per_channel(bias, len(analysis))
        return y.to(x.dtype) if x.dtype in (torch.bfloat16, torch.float16) else y
    rows = [*analysis, *(matrix.mT for matrix in synthesis)]
    planes = [torch.stack([matrix.real, matrix.imag], dim=-3) for matrix in rows]
    return real_spectral_convolution(
        x, weight, planes[: len(analysis)], planes[len(analysis) :], bias
    )


def real_spectral_convolution(
    x: Tensor,
    weight: Tensor,
    analysis: Sequence[Tensor],
    synthesis: Sequence[Tensor],
    bias: Tensor | None = None,
) -> Tensor:
    """Compute `spectral_convolution` of real data with matrices given as planes.

    Parameters
    ----------
    x, weight, bias
        The arguments of `spectral_convolution`; x is real and weight complex.
    analysis
        Real and imaginary part of one matrix per axis, (2, K_i, n_i) or (I, 2, K_i, n_i).
    synthesis
        Real and imaginary part of one transposed matrix per axis, (2, K_i, m_i) or (O, 2, K_i,
        m_i).
    """
    dtype = analysis[0].dtype
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if x.dtype not in (torch.bfloat16, torch.float16):
        dtype = torch.promote_types(dtype, x.dtype)
        x = x.to(dtype)
    planes = [matrix.to(dtype) for matrix in (*analysis, *synthesis)]
    weight = weight.to(torch.promote_types(dtype, torch.complex64))
    bias = None if bias is None else bias.to(dtype)
    with without_autocast(x.device):
        if planes[0].ndim == 3 and not needs_plain_operations(x, weight, *planes):
            if triton_enabled() and triton_spectral.fits(x, planes):
                return triton_spectral.FusedConvolution.apply(_plain, x, weight, bias, *planes)
            return PlanesConvolution.apply(_plain, x.contiguous(), weight, bias, *planes)
        return _plain(x, weight, bias, *planes)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, *planes: Tensor) -> Tensor:
    """Compute the convolution of real data by differentiable operations of torch."""
    dims = len(planes) // 2
    y = _real_products(x, weight, planes[:dims], planes[dims:])
    return y if bias is None else y + _per_channel(bias, dims).to(y.dtype)


def _per_channel(bias: Tensor, dims: int) -> Tensor:
    return bias.view(-1, *(1,) * dims)


def reference_spectral_convolution(
    x: Tensor, weight: Tensor, analysis: Sequence[Tensor], synthesis: Sequence[Tensor]
) -> Tensor:
    """Compute `spectral_convolution` axis by axis with plain products: the reference, and the path
    of real transforms.
    """
    dims = len(analysis)
    z = x
    for axis in range(dims - 1, -1, -1):
        z = _along_axis(analysis[axis], z, axis - dims)
    batch, channels = z.shape[:2]
    modes = z.shape[2:]
    z = z.reshape(batch, channels, -1).permute(2, 0, 1)  # (M, B, I)
    z = z.to(torch.promote_types(z.dtype, weight.dtype)) @ weight.flatten(0, dims - 1).to(
        torch.promote_types(z.dtype, weight.dtype)
    )
    z = z.permute(1, 2, 0).reshape(batch, -1, *modes)  # (B, O, K_1, ..., K_d)
    for axis in range(dims):
        z = _along_axis(synthesis[axis], z, axis - dims)
    return z.real if z.is_complex() and not x.is_complex() else z


def _along_axis(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Multiply along one of the last axes; a matrix (C, K, n) meets the channels on axis 1."""
    dtype = torch.promote_types(matrix.dtype, x.dtype)
    per_channel = matrix.ndim == 3
    rows = x.to(dtype).movedim(axis, -1)  # (B, C, ..., n)
    rows = rows.transpose(0, 1) if per_channel else rows
    # one product of two matrices, or one a channel: broadcasting would make one a row
    y = rows.flatten(int(per_channel), -2) @ matrix.to(dtype).mT
    y = y.view(*rows.shape[:-1], matrix.shape[-2])
    return (y.transpose(0, 1) if per_channel else y).movedim(-1, axis)


def _real_products(
    x: Tensor, weight: Tensor, analysis: Sequence[Tensor], synthesis: Sequence[Tensor]
) -> Tensor:
    """Keep real and imaginary parts as planes, so that every transform is one real product.

    G groups have a matrix of their own: one group for shared transforms, one per channel
    otherwise. S are the rows of a group: batch times channels, or batch.
    """
    batch, _, *grid = x.shape
    dims = len(grid)
    per_channel = analysis[0].ndim == 4
    analysis = [_grouped(matrix) for matrix in analysis]  # (G, 2, K, n)
    synthesis = [_grouped(matrix) for matrix in synthesis]  # (G, 2, K, m)
    rows = x.transpose(0, 1) if per_channel else x.unsqueeze(0)
    groups = rows.shape[0]
    planes = _last_axis_to_modes(rows.reshape(groups, -1, grid[-1]), analysis[-1])
    for axis in range(dims - 2, -1, -1):
        # (G, 2, K_{axis+1} ... K_d, S n_1 .. n_axis) -> (G, 2, K_axis ... K_d, S n_1 .. n_{axis-1})
        planes = planes.unflatten(-1, (-1, grid[axis]))
        planes = _contract(planes, analysis[axis]).movedim(-1, 2).flatten(2, 3)
    n_modes = planes.shape[2]
    # (G, 2, M, S) -> (2, M, B, I): S is B I, or B with the channels in G
    z = planes.unflatten(-1, (batch, -1)).permute(1, 2, 3, 0, 4).reshape(2, n_modes, batch, -1)
    z = _mixed(z, weight.flatten(0, dims - 1))  # (2, M, B, O)
    planes = z.permute(3, 0, 1, 2) if per_channel else z.flatten(2).unsqueeze(0)  # (G, 2, M, S)
    for axis in range(dims - 1):
        # (G, 2, K_axis ... K_d, S ..) -> (G, 2, K_{axis+1} ... K_d, S .. m_axis)
        modes = synthesis[axis].shape[-2]
        planes = planes.unflatten(2, (modes, -1)).movedim(2, -1)
        planes = _contract(planes, synthesis[axis].mT).flatten(3)
    out = _modes_to_last_axis(planes, synthesis[-1], x.dtype)  # (G, S m_1 .. m_{d-1}, m_d)
    sizes = [matrix.shape[-1] for matrix in synthesis]
    if per_channel:
        return out.view(out.shape[0], batch, *sizes).transpose(0, 1)
    return out.view(batch, -1, *sizes)


def _mixed(z: Tensor, weight: Tensor) -> Tensor:
    """Multiply planes (2, M, B, I) by complex weights (M, I, O) and return planes (2, M, B, O).

    When traced or exported, it consists of real products, so that runtimes without complex numbers
    can run it.
    """
    if not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        return torch.view_as_real(torch.bmm(torch.complex(*z.unbind()), weight)).movedim(-1, 0)
    real, imag = torch.view_as_real(weight).unbind(-1)
    return torch.stack([z[0] @ real - z[1] @ imag, z[0] @ imag + z[1] @ real])


def _grouped(matrix: Tensor) -> Tensor:
    return matrix if matrix.ndim == 4 else matrix.unsqueeze(0)


def _last_axis_to_modes(rows: Tensor, matrix: Tensor) -> Tensor:
    """Transform real rows (G, S, n) to planes (G, 2, K, S) by one product with the real and
    imaginary rows (G, 2, K, n) of the matrix.
    """
    stacked = matrix.flatten(1, 2)  # (G, 2K, n)
    product = stacked.to(rows.dtype) @ rows.mT
    return product.to(stacked.dtype).unflatten(1, (2, -1))


def _modes_to_last_axis(planes: Tensor, matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Transform planes (G, 2, K, S) to real rows (G, S, m): the real part of the columns (G, 2, K,
    m) times z.
    """
    stacked = torch.cat([matrix[:, 0], -matrix[:, 1]], dim=-2)  # (G, 2K, m)
    return planes.flatten(1, 2).mT.to(dtype) @ stacked.to(dtype)


def _contract(planes: Tensor, matrix: Tensor) -> Tensor:
    """Contract planes (G, 2, ..., n) with a matrix (G, 2, K, n) to (G, 2, ..., K), by one real
    product and the complex combination of its parts.
    """
    stacked = matrix.flatten(1, 2)  # (G, 2K, n)
    size = matrix.shape[-2]
    both = (planes.flatten(1, -2) @ stacked.mT).unflatten(1, planes.shape[1:-1])
    real = both[:, 0, ..., :size] - both[:, 1, ..., size:]
    imag = both[:, 0, ..., size:] + both[:, 1, ..., :size]
    return torch.stack([real, imag], dim=1)
