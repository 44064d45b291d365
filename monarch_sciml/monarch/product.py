"""Products with Monarch matrices, from two factors and from any number of them.

Letters: n_in, n_out sizes of input and output; k, l number of blocks of `right`, `left`;
q x p one block of `right`; s x r one block of `left`; ... leading (batch) shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of
from monarch_sciml.monarch.contiguous import (
    LAYOUTS,
    Blocks,
    FactorLayout,
    dense_contiguous,
    equal_blocks,
    multiply_contiguous,
)


def multiply(
    x: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    layout: FactorLayout = "strided",
    blocks: tuple[Blocks, Blocks] | None = None,
) -> Tensor:
    r"""Multiply vectors by the Monarch matrix P L Pᵀ R.

    .. math:: y_{s l} = \sum_{r} L_{l,s,r}\, z_{r l}, \qquad
              z_{r l} = \Big(\sum_{p} R_{k,q,p}\, x_{k p}\Big)_{(k,q) = (r,l)}

    Step 1: k groups of p through `right`. Step 2: flatten (k, q), view as (r, l), transpose to
    (l, r). Step 3: l groups of r through `left`. Step 4: order the result (s, l).

    Parameters
    ----------
    x
        Vectors, shape (..., n_in) with n_in = k·p, dimensionless.
    left
        Blocks of L, shape (l, s, r), or (..., l, s, r) for several matrices, whose leading
        shape broadcasts against that of `x`.
    right
        Blocks of R, shape (k, q, p) or (..., k, q, p), with k·q = l·r.
    layout
        "strided" for P L Pᵀ R, or "contiguous" for slices of neighbouring rows and columns, with
        the factors and the products of `multiply_contiguous`.
    blocks
        The blocks of the columns and of the rows of a contiguous matrix. By default each is one
        axis that is cut into equal blocks.

    Returns
    -------
    The products, shape (..., n_out) with n_out = s·l.

    Raises
    ------
    ValueError
        When a factor has fewer than three axes, k·q differs from l·r, or `x` has no n_in entries
        along its last axis.

    Notes
    -----
    The cost is k·q·p + l·s·r multiplications for each vector. Real and complex tensors mix by the
    rules of type promotion. The product consists of plain tensor operations, so gradients of any
    order, vmap and torch.compile work. No precision is forced, so autocast acts as on torch.matmul.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, section 3.1; rectangular blocks as in its
    appendix.

    Examples
    --------
    >>> right, left = torch.randn(4, 2, 3), torch.randn(2, 5, 4)
    >>> multiply(torch.randn(7, 12), left, right).shape
    torch.Size([7, 10])
    """
    if _is_contiguous(layout):
        return multiply_contiguous(x, left, right, *(blocks or equal_blocks(left, right)))
    check_chain(left, right)
    z = block_diagonal(x, right)  # (..., k*q)
    return _after_right(z, left)


def _is_contiguous(layout: FactorLayout) -> bool:
    return one_of("layout", layout, LAYOUTS) == "contiguous"


def _after_right(z: Tensor, left: Tensor) -> Tensor:
    """Apply P L Pᵀ to z (..., r*l)."""
    n_left, _, n_r = left.shape[-3:]
    z = z.unflatten(-1, (n_r, n_left)).mT  # (..., r*l) -> (..., l, r)
    y = _blockwise(z, left)  # (..., l, s)
    return y.mT.flatten(-2)  # (..., l, s) -> (..., s*l)


def _blockwise(x: Tensor, blocks: Tensor) -> Tensor:
    """Multiply group g of x (..., g, i) by block g of blocks (..., g, o, i)."""
    dtype = torch.promote_types(x.dtype, blocks.dtype)
    # ...: batch, g: group = block, i: inputs of a block, o: outputs of a block
    return torch.einsum("...gi,...goi->...go", x.to(dtype), blocks.to(dtype))


def block_diagonal(x: Tensor, blocks: Tensor) -> Tensor:
    """Multiply x (..., b*i) by the block-diagonal matrix of blocks (..., b, o, i).

    The result has shape (..., b*o). ValueError is raised when the last axis of `x` is not b*i.
    """
    n_blocks, _, n_i = blocks.shape[-3:]
    if x.ndim == 0 or x.shape[-1] != n_blocks * n_i:
        rule = f"`x` must have {n_blocks}*{n_i} = {n_blocks * n_i} entries along its last axis"
        raise ValueError(message(rule, f"shape {tuple(x.shape)}", "Pad or crop `x`."))
    groups = x.unflatten(-1, (n_blocks, n_i))  # (..., b*i) -> (..., b, i)
    return _blockwise(groups, blocks).flatten(-2)  # (..., b, o) -> (..., b*o)


def to_dense(
    left: Tensor,
    right: Tensor,
    *,
    layout: FactorLayout = "strided",
    blocks: tuple[Blocks, Blocks] | None = None,
) -> Tensor:
    r"""Write out the Monarch matrix of two factors as a dense matrix.

    .. math:: M_{(s,l),(k,p)} = \sum_{\rho} L_{l,s,(k,\rho)}\, R_{k,(\rho,l),p}
              \quad\text{(where q = (ρ, l) and r = (k, ρ))}

    Parameters
    ----------
    left
        Blocks of L, shape (..., l, s, r).
    right
        Blocks of R, shape (..., k, q, p), with k·q = l·r.
    layout, blocks
        The arrangement of the matrix and the blocks of a contiguous one, with the meaning of the
        arguments of `multiply`.

    Returns
    -------
    The matrix, shape (..., s·l, k·p): `multiply` of the identity.

    Raises
    ------
    ValueError
        When the factors do not chain.

    Examples
    --------
    >>> left, right, x = torch.randn(2, 5, 4), torch.randn(4, 2, 3), torch.randn(12)
    >>> torch.allclose(to_dense(left, right) @ x, multiply(x, left, right), atol=1e-5)
    True
    """
    if _is_contiguous(layout):
        return dense_contiguous(left, right, *(blocks or equal_blocks(left, right)))
    check_chain(left, right)
    n_in = right.shape[-3] * right.shape[-1]
    identity = torch.eye(n_in, dtype=right.dtype, device=right.device)
    # the axis of the identity's rows stands before (l, s, r) and (k, q, p)
    columns = multiply(identity, left.unsqueeze(-4), right.unsqueeze(-4))  # (..., k*p, s*l)
    return columns.mT


def multiply_factors(x: Tensor, factors: Sequence[Tensor]) -> Tensor:
    r"""Multiply vectors by a product of block-diagonal factors with permutations between them.

    Order 1 is a block-diagonal matrix, order 2 is `multiply`. Order p >= 3 is recursive. The last
    factor, shape (k, q, p), acts on k groups of p; its result is flattened to (k, q), viewed as
    (r, l) and transposed to (l, r), where l = q. The other factors then act, as a product of order
    p-1 with its own input order, inside each of the l groups: their block axis is (l, own
    blocks). The result is ordered (s, l).

    Flat formula for sizes N_1 … N_p (factor j, counted from the right, has N_j x N_j blocks):

    .. math:: M[k, n] = \prod_{j=1}^{p} F_j[k_1 \dots k_{j-1},\, n_p \dots n_{j+1};\; k_j, n_j]

    where the block axis of F_j runs over (k_1, …, k_{j-1}, n_p, …, n_{j+1}), last index fastest;
    the output k = k_1 + N_1 (k_2 + N_2 (k_3 + …)) is in natural order and the input runs over
    (n_p, …, n_1), n_1 fastest: the full digit reversal of n = (n_1, …, n_p).

    Parameters
    ----------
    x
        Vectors, shape (..., n_in).
    factors
        Block tensors (..., blocks, outputs, inputs), leftmost factor first. Leading axes
        broadcast against those of `x`.

    Returns
    -------
    The products, shape (..., n_out).

    Raises
    ------
    ValueError
        When there is no factor, a block axis is not a multiple of the q of the factors to its
        right, or sizes do not chain.

    Notes
    -----
    The cost is n·(N_1 + … + N_p) multiplications for each vector. The order-2 case allows slices of
    any rank (k·q = l·r with l the number of blocks of `left`); three or more factors have rank-1
    slices.

    References
    ----------
    Fu et al., "Monarch Mixer", 2023, arXiv 2310.12109, section 3 (order-p Monarch matrices, whose
    indices are written there in reversed order).
    """
    if not factors:
        raise ValueError(message("`factors` must hold at least one tensor", 0, "Add a factor."))
    *rest, right = factors
    if not rest:
        _check_axes("factors[0]", right)
        return block_diagonal(x, right)
    if len(rest) == 1:
        return multiply(x, rest[0], right)
    _check_axes("factors[-1]", right)
    n_left = right.shape[-2]  # l = q
    z = block_diagonal(x, right)  # (..., k*q)
    z = z.unflatten(-1, (-1, n_left)).mT  # (..., r*l) -> (..., l, r)
    y = multiply_factors(z, _split(rest, n_left))  # (..., l, s)
    return y.mT.flatten(-2)  # (..., l, s) -> (..., s*l)


def _split(factors: Sequence[Tensor], n_left: int) -> list[Tensor]:
    """View each factor (..., l*b, o, i) as (..., l, b, o, i)."""
    views = []
    for position, factor in enumerate(factors):
        _check_axes(f"factors[{position}]", factor)
        if factor.shape[-3] % n_left:
            rule = f"`factors[{position}]` must have a multiple of {n_left} blocks"
            remedy = "Give each factor one set of blocks for every output q of the one to its right"
            raise ValueError(message(rule, factor.shape[-3], f"{remedy}."))
        views.append(factor.unflatten(-3, (n_left, -1)))  # (..., l*b, o, i) -> (..., l, b, o, i)
    return views


def _check_axes(name: str, factor: Tensor) -> None:
    """Raise ValueError when a factor has fewer than three axes."""
    if factor.ndim < 3:
        rule = f"`{name}` must have axes (..., blocks, outputs, inputs)"
        raise ValueError(message(rule, f"shape {tuple(factor.shape)}", "Add the missing axes."))


def check_chain(left: Tensor, right: Tensor) -> None:
    """Raise ValueError unless right (..., k, q, p) and left (..., l, s, r) have k*q = l*r."""
    _check_axes("left", left)
    _check_axes("right", right)
    n_right, n_q = right.shape[-3:-1]
    n_left, n_r = left.shape[-3], left.shape[-1]
    if n_right * n_q != n_left * n_r:
        rule = "`right` (k, q, p) and `left` (l, s, r) must have k*q = l*r"
        got = f"{n_right}*{n_q} and {n_left}*{n_r}"
        raise ValueError(message(rule, got, "Change the blocks of one of them."))
