"""Initial factors of a Monarch transform, limited to the rows that its kept modes need.

Letters: n = N_1 ... N_p grid size and its factorisation, K kept modes, r rank (terms), U_j
distinct digit prefixes (k_1 .. k_j) among the kept modes, T_j = N_p ... N_{j+1}.

Entry (k, x) of the transform is  sum_r prod_j F_j[r, (k_1 .. k_j), (x_p .. x_{j+1}), x_j], so
factor j is stored as (r, U_j, T_j, N_j): only what the kept modes touch. For p = 2 and all modes
this is P L P^T R with F_1 = R and F_2 = L.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from monarch_sciml import monarch
from monarch_sciml.transforms.basis import AxisSpec


@dataclass(frozen=True)
class InitialFactors:
    """Hold the factors j = p .. 1 (leftmost first) of the rows of one initial transform.

    `factors[i]` (r, U_j, T_j, N_j) complex128 or float64; `index[i]` (K,) picks the U_j entry of
    each kept mode; `columns` (n,) is the position of each grid point in the factors' input order;
    `sizes` is (N_1, ..., N_p).
    """

    factors: list[Tensor]
    index: list[Tensor]
    columns: Tensor
    sizes: tuple[int, ...]


def initial_factors(
    spec: AxisSpec, *, n_blocks: int | tuple[int, int] | None, order: int, rank: int
) -> InitialFactors:
    """Return the factors of the unscaled transform, with at least the rank that it needs.

    Terms beyond that rank start at zero through their last factor; their other factors are fixed
    pseudo-random numbers, so that every term receives a gradient of its own.
    """
    blocks = monarch.dft_factors(
        spec.n,
        inverse=spec.synthesis,
        centered=spec.centered,
        norm="forward" if spec.synthesis else "backward",  # unscaled either way
        n_blocks=n_blocks,
        order=order,
    )
    sizes = tuple(block.shape[-1] for block in reversed(blocks))
    reversal = monarch.digit_reversal(sizes)
    rows = spec.n - 1 - spec.rows if spec.family == "dst" else spec.rows
    index, prefixes = _prefixes(rows, sizes)
    factors = [
        _gather(block, digits, sizes, order - 1 - i)
        for i, (block, digits) in enumerate(zip(blocks, prefixes))
    ]
    columns = torch.argsort(reversal)
    if spec.family in ("dct", "dst"):
        factors, columns = _real_factors(spec, factors, rows, reversal)
    elif spec.family == "hadamard":
        factors, columns = _hadamard_factors(factors, prefixes, sizes), torch.arange(spec.n)
    elif spec.family == "random":
        shapes = [(rank, *factor.shape[1:]) for factor in factors]
        factors = [torch.randn(shape, dtype=torch.complex128) for shape in shapes]
        factors[0] = factors[0] / rank**0.5
    return InitialFactors(_with_rank(factors, rank), index, columns, sizes)


def _prefixes(rows: Tensor, sizes: tuple[int, ...]) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Split rows into digits k = k_1 + N_1 k_2 + ...; leftmost factor (all digits) first.

    Returns for each factor the index (K,) of its prefix, and the distinct prefixes as digit
    tensors. The leftmost factor keeps one entry per row, in row order.
    """
    index: list[Tensor] = []
    prefixes: list[list[Tensor]] = []
    for j in range(len(sizes), 0, -1):
        if j == len(sizes):
            prefix, where = rows, torch.arange(len(rows))
        else:
            modulus = int(torch.tensor(sizes[:j]).prod())
            prefix, where = torch.unique(rows % modulus, return_inverse=True)
        digits = []
        for size in sizes[:j]:
            digits.append(prefix % size)
            prefix = prefix // size
        index.append(where)
        prefixes.append(digits)
    return index, prefixes


def _gather(block: Tensor, digits: list[Tensor], sizes: tuple[int, ...], j: int) -> Tensor:
    """Pick the prefixes out of block-diagonal factor j (0-based): -> (1, U, T, N_j)."""
    # (k_1 .. k_{j-1}, x_p .. x_{j+1}, k_j, x_j)
    full = block.reshape(*sizes[:j], -1, sizes[j], sizes[j])
    full = full.movedim(-2, j)  # (k_1 .. k_j, T, x_j)
    return full[tuple(digits)].unsqueeze(0)


def _real_factors(
    spec: AxisSpec, factors: list[Tensor], rows: Tensor, reversal: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Turn DFT factors into real ones of the DCT-II or DST-II (Makhoul 1980).

    C[k, x] = Re(exp(-i pi k / 2n) W^(k m(x))), x = 0, 2, 4, ..., 5, 3, 1 in the order of m; the
    sine rows are S[k, x] = (-1)^x C[n - 1 - k, x]. The real part of a product of p complex numbers
    is a sum of 2^(p-1) real products: rank 2 for two factors.
    """
    n = spec.n
    sign = 1.0 if spec.synthesis else -1.0
    turns = rows.double() * (torch.pi / (2 * n))
    phase = torch.polar(torch.ones_like(turns), sign * turns)
    factors = [factors[0] * phase.view(1, -1, 1, 1), *factors[1:]]
    natural = torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2).flip(0)])[reversal]
    if spec.family == "dst":
        alternating = (1.0 - 2.0 * (natural % 2)).view(1, 1, *factors[-1].shape[-2:])
        factors[-1] = factors[-1] * alternating
    terms: list[list[Tensor]] = [[] for _ in factors]
    for parts in itertools.product((0, 1), repeat=len(factors) - 1):
        pattern = (sum(parts) % 2, *parts)  # an even number of imaginary parts
        weight = (-1.0) ** (sum(pattern) // 2)
        for i, part in enumerate(pattern):
            term = factors[i].imag if part else factors[i].real
            terms[i].append(term * weight if i == 0 else term)
    return [torch.cat(term) for term in terms], torch.argsort(natural)


def _hadamard_factors(
    factors: list[Tensor], prefixes: list[list[Tensor]], sizes: tuple[int, ...]
) -> list[Tensor]:
    """Return Kronecker factors: H = H_p x ... x H_1, exactly Monarch in natural input order."""
    result = []
    for i, digits in enumerate(prefixes):
        j = len(sizes) - 1 - i
        size = AxisSpec.create(
            "hadamard", sizes[j], None, real_input=False, centered=False, norm="backward"
        )
        rows = size.dense_rows()[digits[j]]  # (U, N_j)
        result.append(rows[None, :, None, :].expand(factors[i].shape).clone())
    return result


def _with_rank(factors: list[Tensor], rank: int) -> list[Tensor]:
    """Append terms whose product is zero until there are `rank` of them."""
    missing = rank - factors[0].shape[0]
    if missing <= 0:
        return factors
    generator = torch.Generator().manual_seed(0)
    extended = []
    for i, factor in enumerate(factors):
        shape = (missing, *factor.shape[1:])
        extra = torch.randn(shape, dtype=factor.dtype, generator=generator)
        extended.append(torch.cat([factor, torch.zeros_like(extra) if i == 0 else extra]))
    return extended
