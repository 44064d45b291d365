"""The discrete Fourier transform as an exact Monarch matrix of a reordered input.

Letters: n size; N_1 … N_p block sizes; c = n // 2 the centre; input index n = sum_i n_i M_i with
M_i = N_{i+1}···N_p; output index k = sum_j k_j K_j with K_j = N_1···N_{j-1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt, tau

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.monarch.block_sizes import factorize, square_block_counts, warn_if_lopsided


def digit_reversal(sizes: Sequence[int]) -> Tensor:
    """Return the permutation that reverses the digits of an index in mixed radix `sizes`.

    Entry (n_p, …, n_1), n_1 fastest, is the index n = (n_1, …, n_p), n_p fastest. For two sizes
    this is the input order of the 4-step FFT: reshape to N_1 x N_2, transpose, flatten.

    Parameters
    ----------
    sizes
        The radices N_1 … N_p, each at least 1.

    Returns
    -------
    The permutation, shape (n,), int64, n the product of `sizes`; `x[..., digit_reversal(sizes)]`
    is the reordered input. Its inverse is the reversal of the reversed sizes.

    Raises
    ------
    TypeError, ValueError
        When `sizes` is empty, or a size is not a whole number or is below 1.

    Examples
    --------
    >>> digit_reversal((2, 3))
    tensor([0, 3, 1, 4, 2, 5])
    """
    if not sizes:
        raise ValueError(message("`sizes` must hold at least one number", 0, "Add a size."))
    sizes = [positive_int(f"sizes[{i}]", size) for i, size in enumerate(sizes)]
    index = torch.arange(prod(sizes)).reshape(sizes)  # (N_1, ..., N_p)
    return index.permute(*reversed(range(len(sizes)))).flatten()  # (N_p, ..., N_1) -> (n,)


def dft_factors(
    n: int,
    inverse: bool = False,
    centered: bool = False,
    norm: str = "ortho",
    n_blocks: int | tuple[int, int] | None = None,
    order: int = 2,
    *,
    dtype: torch.dtype = torch.complex128,
    device: torch.device | str | None = None,
) -> tuple[Tensor, ...]:
    r"""Return Monarch factors exactly equal to the DFT of an input in digit-reversed order.

    With sizes N_1 … N_p of product n and exponent :math:`e = kn \bmod n`, only the digit pairs
    i >= j survive, so the DFT is a product of p factors,

    .. math:: e^{\mp 2\pi i\,kn/n} = \prod_{j=1}^{p} F_j, \qquad
              F_j = e^{\mp 2\pi i\, k_j K_j \sum_{i \ge j} n_i M_i / n}

    and ``multiply_factors(x[..., digit_reversal(sizes)], factors)`` equals
    ``torch.fft.fft(x, norm=norm)`` (``ifft`` when `inverse`).

    Parameters
    ----------
    n
        Number of points, at least 1; any number, primes too.
    inverse
        Whether to build the inverse transform (positive exponent).
    centered
        Whether indices count from n // 2, as in fftshift · transform · ifftshift; this holds for
        odd n too.
    norm
        "ortho", "forward" or "backward", with the meaning of torch.fft for either direction.
    n_blocks
        For order 2: number of blocks k of `right` (a divisor of n), or the pair (k, l) with
        k·l = n, where l is the number of blocks of `left`. None takes ``factorize(n, order)``.
    order
        Number of factors.
    dtype
        Complex type of the factors; they are computed in complex128 and then rounded.
    device
        Device of the factors.

    Returns
    -------
    The factors, leftmost first. For order 2 they are (left, right), with sizes (N_1, N_2):
    right (N_2, N_1, N_1) indexed [n_2, k_1, n_1] and left (N_1, N_2, N_2) indexed [k_1, k_2, n_2].
    In general ``sizes = [f.shape[-1] for f in reversed(factors)]``, and factor j has the block
    axis (k_1, …, k_{j-1}, n_p, …, n_{j+1}) that `multiply_factors` needs.

    Raises
    ------
    ValueError
        When `norm` is unknown, `n_blocks` does not fit `n`, `order` is not 2 with `n_blocks`, or
        `dtype` is not complex.

    Warns
    -----
    UserWarning
        Once per n and order, when `n_blocks` is None and the nearest factors are lopsided (one is
        1, or one more than 16 times another), as for primes and 218 = 2·109.

    Notes
    -----
    The DFT matrix itself, without the reordering, is not a Monarch matrix. Exponents are whole
    numbers reduced modulo n before the exponential, so the error does not grow with n. The centred
    exponent is (k - c)(n - c); its terms in n are folded into the rightmost factor, those in k
    into the leftmost, which also carries the scale of `norm`.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, section 3.2; Bailey, "FFTs in external or
    hierarchical memory", 1990 (the 4-step FFT).

    Examples
    --------
    >>> left, right = dft_factors(12)
    >>> left.shape, right.shape
    (torch.Size([3, 4, 4]), torch.Size([4, 3, 3]))
    >>> from monarch_sciml.monarch import multiply
    >>> x = torch.randn(12, dtype=torch.complex128)
    >>> y = multiply(x[digit_reversal((3, 4))], left, right)
    >>> torch.allclose(y, torch.fft.fft(x, norm="ortho"))
    True
    """
    n = positive_int("n", n)
    one_of("norm", norm, ("ortho", "forward", "backward"))
    if not dtype.is_complex:
        raise ValueError(message("`dtype` must be complex", dtype, "Use torch.complex128."))
    sizes = _sizes(n, n_blocks, positive_int("order", order))
    sign = 1 if inverse else -1
    factors = []
    for j in range(len(sizes)):
        exponent = (sign * _exponent(sizes, j, n // 2 if centered else 0)) % n
        angle = exponent.to(torch.float64) * (tau / n)
        factors.append(torch.polar(torch.ones_like(angle), angle))
    factors[-1] = factors[-1] * _scale(n, inverse, norm)
    return tuple(factor.to(device=device, dtype=dtype) for factor in reversed(factors))


def _sizes(n: int, n_blocks: int | tuple[int, int] | None, order: int) -> tuple[int, ...]:
    """Return the block sizes N_1 … N_p."""
    if n_blocks is None:
        sizes = factorize(n, order)
        warn_if_lopsided(n, sizes)
        return sizes
    if order != 2:
        rule = "`n_blocks` must be None unless `order` is 2"
        raise ValueError(message(rule, f"order {order}", "Leave `n_blocks` out."))
    n_right, n_left = square_block_counts(n_blocks, n)
    return n_left, n_right  # right has N_2 blocks, left has N_1


def _scale(n: int, inverse: bool, norm: str) -> float:
    """Return the factor that torch.fft multiplies the plain sum by."""
    if norm == "ortho":
        return 1 / sqrt(n)
    return 1 / n if inverse == (norm == "backward") else 1.0


def _exponent(sizes: Sequence[int], j: int, centre: int) -> Tensor:
    """Return the integer exponent of factor j (counted from 0), shape (blocks, N_j, N_j).

    The block axis runs over (k_0, …, k_{j-1}, n_{p-1}, …, n_{j+1}).
    """
    order = len(sizes)
    # axes of the full table: k_0 … k_{j-1}, n_{p-1} … n_{j+1}, k_j, n_j
    k_axes = {i: i for i in range(j)} | {j: order - 1}
    n_axes = {i: order - 1 - i + j for i in range(j + 1, order)} | {j: order}

    def digit(i: int, axis: int) -> Tensor:
        shape = [1] * (order + 1)
        shape[axis] = sizes[i]
        return torch.arange(sizes[i]).reshape(shape)  # (1, ..., N_i, ..., 1)

    point = sum(digit(i, axis) * prod(sizes[i + 1 :]) for i, axis in n_axes.items())
    table = digit(j, k_axes[j]) * prod(sizes[:j]) * point
    if j == 0:  # all digits of n are at hand: the term -c n
        table = table - centre * point
    if j == order - 1:  # all digits of k are at hand: the terms -c k + c c
        frequency = sum(digit(i, axis) * prod(sizes[:i]) for i, axis in k_axes.items())
        table = table - centre * frequency + centre**2
    full = [*sizes[:j], *reversed(sizes[j + 1 :]), sizes[j], sizes[j]]
    return table.expand(full).reshape(-1, sizes[j], sizes[j])  # (blocks..., k_j, n_j)
