"""Other structured layers to compare a Monarch layer with, and the list of all structures.

Letters: N vectors; k, l blocks along input and output; p, s sizes of such a block; t terms.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.layers.butterfly import ButterflyLinear
from monarch_sciml.layers.linear import MonarchLinear
from monarch_sciml.layers.structured_linear import StructuredLinear, column_scale
from monarch_sciml.monarch.block_sizes import block_counts


class BlockDiagonalLinear(StructuredLinear):
    """Apply y = M x + b with a block-diagonal M, whose groups of features never mix.

    Parameters
    ----------
    in_features, out_features, bias
        Sizes of input and output, and whether to add a bias, as in nn.Linear.
    n_blocks
        Number of blocks, which hold one n_blocks-th of the dense parameters. Sizes that it does not
        divide are padded.
    device, dtype
        Device and precision of the parameters.

    Examples
    --------
    >>> BlockDiagonalLinear(64, 48, n_blocks=2).blocks.shape
    torch.Size([2, 24, 32])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        n_blocks: int = 2,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.n_blocks = n = positive_int("n_blocks", n_blocks)
        if n > min(in_features, out_features):
            rule = f"`n_blocks` must be at most {min(in_features, out_features)}"
            raise ValueError(message(rule, n, "Lower `n_blocks`."))
        place: Any = {"device": device, "dtype": dtype}
        n_p, n_s = -(-in_features // n), -(-out_features // n)
        self.blocks = nn.Parameter(torch.empty(n, n_s, n_p, **place))
        self._add_bias(bias, place)
        self.learning_rate_factors = {"blocks": in_features / n_p}
        self.reset_parameters()

    @classmethod
    def options_for(
        cls, in_features: int, out_features: int, share: float, **given: Any
    ) -> dict[str, Any] | None:
        """Return the smallest number of blocks that fits (`StructuredLinear.options_for`)."""
        n = given.get("n_blocks") or next(
            (
                n
                for n in range(1, min(in_features, out_features) + 1)
                if n * -(-in_features // n) * -(-out_features // n)
                <= share * in_features * out_features
            ),
            0,
        )
        return {"n_blocks": n} if 0 < n <= min(in_features, out_features) else None

    def options(self) -> dict[str, Any]:
        """Return `n_blocks`."""
        return {"n_blocks": self.n_blocks}

    def reset_factors(self) -> None:
        """Draw blocks whose outputs have the variance of nn.Linear."""
        bound = 1 / sqrt(self.blocks.shape[-1])
        nn.init.uniform_(self.blocks, -bound, bound)

    def product(self, x: Tensor) -> Tensor:
        """Return M x by one batched matrix product."""
        n, _, n_p = self.blocks.shape
        x = nn.functional.pad(x, (0, n * n_p - self.in_features))
        groups = x.unflatten(-1, (n, n_p)).permute(1, 2, 0)  # (N, k·p) -> (k, p, N)
        y = torch.bmm(self.blocks, groups)  # (k, s, N)
        return y.permute(2, 0, 1).flatten(1)[:, : self.out_features]  # (N, k·s)

    def dense_weight(self) -> Tensor:
        """Return M, shape (out_features, in_features)."""
        dense = torch.block_diag(*self.blocks)
        return dense[: self.out_features, : self.in_features]

    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Take the diagonal blocks: nearest for uncorrelated inputs, whatever their variance."""
        n, n_s, n_p = self.blocks.shape
        padding = (0, n * n_p - self.in_features, 0, n * n_s - self.out_features)
        grid = nn.functional.pad(weight, padding).unflatten(0, (n, n_s)).unflatten(-1, (n, n_p))
        self.blocks.copy_(torch.stack([grid[i, :, i] for i in range(n)]))  # (k, s, p)

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        return f"{self._sizes_text()}, n_blocks={self.n_blocks}"


class KroneckerLinear(StructuredLinear):
    r"""Apply y = M x + b with a sum of Kronecker products.

    .. math:: M = \sum_{i=1}^{t} A_i \otimes B_i, \qquad A_i: l \times k, \quad B_i: s \times p

    Parameters
    ----------
    in_features, out_features, bias
        Sizes of input and output, and whether to add a bias, as in nn.Linear.
    n_blocks
        Sizes (k, l) of each A_i, or one number for both. Sizes of the layer that are not multiples
        of them are padded.
    rank
        Number of terms t, at most min(k l, s p); with that many M can be any matrix. None takes the
        largest number with at most half of the dense parameters.
    device, dtype
        Device and precision of the parameters.

    Notes
    -----
    A vector costs t·(k·p·s + k·l·s) multiplications, which with many terms exceeds the n_in·n_out
    of a dense product. For so many vectors that it is cheaper, M is formed first, with t·n_in·n_out
    multiplications, and the layer then costs little more than a dense one.

    References
    ----------
    Van Loan and Pitsianis, "Approximation with Kronecker products", 1993: `fit`.

    Examples
    --------
    >>> KroneckerLinear(64, 48, n_blocks=8, rank=3)(torch.randn(5, 64)).shape
    torch.Size([5, 48])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        n_blocks: int | tuple[int, int] = 4,
        rank: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.n_blocks = n_k, n_l = block_counts(n_blocks)
        n_p, n_s = -(-in_features // n_k), -(-out_features // n_l)
        if rank is None:
            found = self.options_for(in_features, out_features, 0.5, n_blocks=n_blocks)
            rank = found["rank"] if found else 1
        self.rank = positive_int("rank", rank)
        if self.rank > min(n_k * n_l, n_p * n_s):
            rule = f"`rank` must be at most {min(n_k * n_l, n_p * n_s)}"
            raise ValueError(message(rule, rank, "Lower `rank` or change `n_blocks`."))
        place: Any = {"device": device, "dtype": dtype}
        self.outer = nn.Parameter(torch.empty(self.rank, n_l, n_k, **place))
        self.inner = nn.Parameter(torch.empty(self.rank, n_s, n_p, **place))
        self._add_bias(bias, place)
        self.learning_rate_factors = {
            "outer": in_features / (n_k * self.rank),
            "inner": in_features / n_p,
        }
        self.reset_parameters()

    @classmethod
    def options_for(
        cls, in_features: int, out_features: int, share: float, **given: Any
    ) -> dict[str, Any] | None:
        """Return `n_blocks` and the largest number of terms that fits
        (`StructuredLinear.options_for`).
        """
        n_blocks = given.get("n_blocks", 4)
        n_k, n_l = block_counts(n_blocks)
        n_p, n_s = -(-in_features // n_k), -(-out_features // n_l)
        rank = int(share * in_features * out_features / (n_k * n_l + n_p * n_s))
        rank = min(given.get("rank") or rank, n_k * n_l, n_p * n_s)
        return None if rank < 1 else {**given, "n_blocks": n_blocks, "rank": rank}

    def options(self) -> dict[str, Any]:
        """Return `n_blocks` and `rank`."""
        return {"n_blocks": self.n_blocks, "rank": self.rank}

    def reset_factors(self) -> None:
        """Draw factors whose product has the variance of nn.Linear."""
        _, _, n_p = self.inner.shape
        bound = sqrt(3 / n_p)  # variance 1/p: the inner products keep the variance of the input
        nn.init.uniform_(self.inner, -bound, bound)
        bound = sqrt(n_p / (self.rank * self.in_features))
        nn.init.uniform_(self.outer, -bound, bound)

    def product(self, x: Tensor) -> Tensor:
        """Return M x by two matrix products, or by one with M where that is cheaper."""
        n_t, n_s, n_p = self.inner.shape
        n_l, n_k = self.outer.shape[1:]
        dense = self.in_features * self.out_features
        if len(x) * dense + n_t * dense < len(x) * n_t * (n_k * n_p * n_s + n_k * n_l * n_s):
            return nn.functional.linear(x, self.dense_weight())
        x = nn.functional.pad(x, (0, n_k * n_p - self.in_features))
        blocks = x.unflatten(-1, (n_k, n_p))  # (N, k, p)
        z = blocks @ self.inner.flatten(0, 1).mT  # (N, k, t·s)
        z = z.unflatten(-1, (n_t, n_s)).transpose(1, 2).flatten(1, 2)  # (N, t·k, s)
        y = self.outer.transpose(0, 1).flatten(1) @ z  # (l, t·k) (N, t·k, s) -> (N, l, s)
        return y.flatten(1)[:, : self.out_features]

    def dense_weight(self) -> Tensor:
        """Return M, shape (out_features, in_features)."""
        # t: term, l k: block row and column, s p: inside of a block
        dense = torch.einsum("tlk,tsp->lskp", self.outer, self.inner)
        return dense.flatten(2).flatten(0, 1)[: self.out_features, : self.in_features]

    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Set the nearest sum of Kronecker products: a truncated SVD of the rearranged matrix.

        Second moments are averaged over the blocks of the input, because only a scale of that form
        keeps the structure.
        """
        _, n_l, n_k = self.outer.shape
        _, n_s, n_p = self.inner.shape
        padding = (0, n_k * n_p - self.in_features, 0, n_l * n_s - self.out_features)
        scale = nn.functional.pad(column_scale(second_moments, weight), padding[:2], value=0.0)
        scale = scale.unflatten(0, (n_k, n_p)).square().mean(0).sqrt()  # (p,)
        scale = scale.clamp_min(torch.finfo(scale.dtype).tiny)
        grid = nn.functional.pad(weight, padding).unflatten(0, (n_l, n_s)).unflatten(-1, (n_k, n_p))
        rows = (grid * scale).transpose(1, 2).flatten(0, 1).flatten(1)  # (l·k, s·p)
        u, sigma, vh = torch.linalg.svd(rows, full_matrices=False)
        root = sigma[: self.rank].sqrt()
        self.outer.copy_((u[:, : self.rank] * root).T.unflatten(1, (n_l, n_k)))
        self.inner.copy_((root[:, None] * vh[: self.rank]).unflatten(1, (n_s, n_p)) / scale)

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        return f"{self._sizes_text()}, n_blocks={self.n_blocks}, rank={self.rank}"


STRUCTURES: dict[str, type[StructuredLinear]] = {
    "monarch": MonarchLinear,
    "low_rank": MonarchLinear,
    "block_diagonal": BlockDiagonalLinear,
    "kronecker": KroneckerLinear,
    "butterfly": ButterflyLinear,
}
"""Name of a structure and its layer. A low-rank matrix is a Monarch matrix of one block."""


def structured_options(
    structure: str, in_features: int, out_features: int, share: float, **given: Any
) -> dict[str, Any] | None:
    """Return the arguments of a layer of this structure within a share of the dense parameters.

    Parameters
    ----------
    structure
        A name of `STRUCTURES`.
    in_features, out_features
        Sizes of the layer.
    share
        Largest number of parameters of the matrix divided by that of the dense one.
    **given
        Arguments that are chosen already (`n_blocks`, `rank`, `order`, `n_butterflies`).

    Returns
    -------
    Keyword arguments for the class, or None when the layer is too small for that share.
    """
    kind = STRUCTURES[one_of("structure", structure, STRUCTURES)]
    if structure == "low_rank":
        given["n_blocks"] = 1
    return kind.options_for(in_features, out_features, share, **given)
