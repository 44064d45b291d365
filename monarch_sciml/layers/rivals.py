"""Other structured layers to compare a Monarch layer with, and the list of all structures.

Letters: N vectors; k, l blocks along input and output; p, s sizes of such a block; t terms.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
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
    The cost is t·(k·p·s + k·l·s) multiplications for each vector, which with many terms exceeds
    that of the dense product.

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
        rank = given.get("rank") or min(rank, n_k * n_l, n_p * n_s)
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
        """Return M x by two matrix products."""
        n_k = self.outer.shape[-1]
        n_t, n_s, n_p = self.inner.shape
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


class ButterflyLinear(StructuredLinear):
    """Apply y = M x + b with a product of butterfly matrices.

    A butterfly of size n = 2^m is a product of m sparse factors. Factor f mixes the pairs of
    entries whose indices differ by 2^f, each pair by a 2 x 2 matrix of its own. The factors of
    every second butterfly come in falling order of f.

    Parameters
    ----------
    in_features, out_features, bias
        Sizes of input and output, and whether to add a bias, as in nn.Linear. The input is padded
        to the least power of two that is no less than both sizes.
    n_butterflies
        Number of butterflies that are multiplied.
    device, dtype
        Device and precision of the parameters.

    Notes
    -----
    Each butterfly holds 2 n log2(n) numbers. The nearest butterfly is not known in closed form, so
    a dense layer cannot be projected.

    References
    ----------
    Dao et al., "Learning fast algorithms for linear transforms using butterfly factorizations",
    ICML 2019. The numbers and their order are those of the package torch-structured.

    Examples
    --------
    >>> ButterflyLinear(64, 48).twiddle.shape
    torch.Size([1, 6, 32, 2, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        n_butterflies: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.n_butterflies = positive_int("n_butterflies", n_butterflies)
        place: Any = {"device": device, "dtype": dtype}
        log_n = _log2(in_features, out_features)
        shape = (n_butterflies, log_n, 2 ** (log_n - 1), 2, 2)
        self.twiddle = nn.Parameter(torch.empty(shape, **place))
        self._add_bias(bias, place)
        self.learning_rate_factors = {"twiddle": in_features / 2}
        self.reset_parameters()

    @classmethod
    def options_for(
        cls, in_features: int, out_features: int, share: float, **given: Any
    ) -> dict[str, Any] | None:
        """Return the largest number of butterflies that fits (`StructuredLinear.options_for`)."""
        log_n = _log2(in_features, out_features)
        one = log_n * 2 ** (log_n + 1)
        count = given.get("n_butterflies") or int(share * in_features * out_features / one)
        return None if count < 1 else {"n_butterflies": count}

    def options(self) -> dict[str, Any]:
        """Return `n_butterflies`."""
        return {"n_butterflies": self.n_butterflies}

    def reset_factors(self) -> None:
        """Draw random rotations, scaled so that outputs have the variance of nn.Linear."""
        angle = torch.empty(self.twiddle.shape[:3]).uniform_(0, 2 * pi)
        c, s = angle.cos(), angle.sin()
        rotation = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
        # rotations spread n_in inputs of unit variance over n entries; outputs need variance 1/3
        with torch.no_grad():
            self.twiddle.copy_(rotation)
        self.scale(sqrt(2 ** self.twiddle.shape[1] / self.in_features / 3))

    def scale(self, ratio: float) -> None:
        """Multiply M by a positive number, in place, every sparse factor by the same."""
        n_factors = self.twiddle.shape[0] * self.twiddle.shape[1]
        with torch.no_grad():
            self.twiddle.mul_(ratio ** (1 / n_factors))

    def product(self, x: Tensor) -> Tensor:
        """Return M x, factor by factor."""
        n_all, log_n = self.twiddle.shape[:2]
        y = nn.functional.pad(x, (0, 2**log_n - self.in_features))  # (N, n)
        for number in range(n_all):
            for step in range(log_n):
                stride = 2 ** (step if number % 2 == 0 else log_n - 1 - step)
                factor = self.twiddle[number, step].unflatten(0, (-1, stride))
                factor = factor.permute(0, 2, 3, 1)  # (n/2, 2, 2) -> (pairs, 2, 2, stride)
                pairs = y.unflatten(-1, (-1, 1, 2, stride))  # (N, n) -> (N, pairs, 1, 2, stride)
                y = (factor * pairs).sum(-2).flatten(1)
        return y[:, : self.out_features]

    def dense_weight(self) -> Tensor:
        """Return M, shape (out_features, in_features)."""
        return self.product(torch.eye(self.in_features).to(self.twiddle)).mT

    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Raise an error, because the nearest butterfly has no closed form."""
        rule = "a dense layer can be projected to 'monarch', 'low_rank', 'block_diagonal' or"
        rule += " 'kronecker'"
        raise ValueError(message(rule, "'butterfly'", "Start it at random: start='random'."))

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        return f"{self._sizes_text()}, n_butterflies={self.n_butterflies}"


def _log2(in_features: int, out_features: int) -> int:
    """Return the smallest m >= 1 with 2^m at least both sizes."""
    return max(1, (max(in_features, out_features) - 1).bit_length())


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
