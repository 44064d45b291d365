"""A linear layer whose weight is a Monarch matrix.

Letters: N vectors; k, l number of blocks of `right`, `left`; p, s inputs and outputs of one slice;
t rank; n_in = k·p and n_out = l·s the padded sizes.
"""

from __future__ import annotations

import warnings
from math import sqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.kernels.linear import monarch_product
from monarch_sciml.layers.structured_linear import StructuredLinear, column_scale
from monarch_sciml.monarch import project, to_dense
from monarch_sciml.monarch.block_sizes import block_counts

Order = Literal["strided", "contiguous"]


class MonarchLinear(StructuredLinear):
    r"""Apply y = M x + b with a Monarch matrix M, in place of nn.Linear.

    .. math:: M = P L P^T R, \qquad R: k \text{ blocks of } lt \times p, \quad
              L: l \text{ blocks of } s \times kt

    Every s x p slice of M (outputs j, j + l, … against one group of p inputs) has rank t = `rank`.
    The default is the paper's: 4 blocks and the rank that holds half of the dense parameters.

    Parameters
    ----------
    in_features
        Size of the last axis of the input.
    out_features
        Size of the last axis of the output.
    bias
        Whether to add a learnable bias.
    n_blocks
        Number of blocks of either factor, or the pair (k, l). A size that it does not divide is
        padded: the input with zeros up to n_in = k·ceil(in_features/k), and the output, of n_out =
        l·ceil(out_features/l) entries, is cropped. One block is a low-rank matrix.
    rank
        Rank of every slice, at most min(n_out/l, n_in/k); with that rank M can be any dense matrix.
        None takes the largest rank with at most half of the dense parameters, and at least 1.
    order
        "strided" is the paper's order, where slice j holds the outputs j, j + l, …. "contiguous"
        leaves out the last permutation, so that slices are the blocks of M in natural order.
        "contiguous" is a little faster; for weights that are learned from scratch the two differ by
        a permutation.
    device, dtype
        Device and precision of the parameters, as in nn.Linear.

    Attributes
    ----------
    left
        Learnable blocks of L, shape (l, s, k·t).
    right
        Learnable blocks of R, shape (k, l·t, p).
    bias
        Learnable bias, shape (out_features,), or None.

    Raises
    ------
    TypeError, ValueError
        When a size, `n_blocks` or `rank` is not a positive whole number, or `rank` is too large.

    Warns
    -----
    UserWarning
        When the factors hold more numbers than the dense matrix.

    Notes
    -----
    The layer stores and multiplies t·(l·n_in + k·n_out) numbers instead of n_in·n_out.

    The factors are uniform with variances 1/p (right) and p/(3·in_features·t) (left), so that
    every entry of M has nn.Linear's variance 1/(3·in_features); two factors each initialised like
    nn.Linear would give a third of it or less. Dense entries of one slice are not independent.

    On a CPU, in single and double precision, large layers (from width 768 on with 4 blocks, and 16
    vectors) that will be differentiated take a kernel with a backward pass of its own, which
    permutes the vectors by views and one copy in each direction. Others take two plain products.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, section 3.1. The initialisation is not from
    the paper. Learning rates: Qiu et al., "Compute Better Spent", ICML 2024, arXiv 2406.06248,
    section 3.

    Examples
    --------
    >>> layer = MonarchLinear(64, 48)
    >>> layer(torch.randn(5, 64)).shape
    torch.Size([5, 48])
    >>> sum(p.numel() for p in layer.parameters()), 64 * 48 + 48
    (1392, 3120)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        n_blocks: int | tuple[int, int] = 4,
        rank: int | None = None,
        *,
        order: Order = "strided",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.n_blocks = n_right, n_left = block_counts(n_blocks)
        self.order = one_of("order", order, ("strided", "contiguous"))
        n_p, n_s = -(-self.in_features // n_right), -(-self.out_features // n_left)
        if rank is None:
            found = self.options_for(in_features, out_features, 0.5, n_blocks=n_blocks)
            rank = found["rank"] if found else 1
        self.rank = positive_int("rank", rank)
        if self.rank > min(n_p, n_s):
            rule = f"`rank` must be at most {min(n_p, n_s)} for slices of {n_s} x {n_p}"
            raise ValueError(message(rule, rank, "Lower `rank` or `n_blocks`."))
        place: Any = {"device": device, "dtype": dtype}
        self.left = nn.Parameter(torch.empty(n_left, n_s, n_right * self.rank, **place))
        self.right = nn.Parameter(torch.empty(n_right, n_left * self.rank, n_p, **place))
        self._add_bias(bias, place)
        fan_in = {"left": n_right * self.rank, "right": n_p}
        self.learning_rate_factors = {k: self.in_features / fan_in[k] for k in fan_in}
        self._warn_if_larger()
        self.reset_parameters()

    @classmethod
    def options_for(
        cls, in_features: int, out_features: int, share: float, **given: Any
    ) -> dict[str, Any] | None:
        """Return `n_blocks` and the largest `rank` that fits (`StructuredLinear.options_for`)."""
        n_blocks = given.get("n_blocks", 4)
        n_right, n_left = block_counts(n_blocks)
        n_p, n_s = -(-in_features // n_right), -(-out_features // n_left)
        # one rank holds l·n_in + k·n_out = k·l·(p + s) numbers
        rank = int(share * in_features * out_features / (n_right * n_left * (n_p + n_s)))
        rank = min(given.get("rank") or rank, n_p, n_s)
        return None if rank < 1 else {**given, "n_blocks": n_blocks, "rank": rank}

    def options(self) -> dict[str, Any]:
        """Return `n_blocks`, `rank` and `order`."""
        return {"n_blocks": self.n_blocks, "rank": self.rank, "order": self.order}

    def reset_factors(self) -> None:
        """Draw factors whose product has the variance of nn.Linear."""
        n_p = self.right.shape[-1]
        bound_right = sqrt(3 / n_p)  # a uniform number in ±b has variance b²/3
        bound_left = sqrt(n_p / (self.in_features * self.rank))
        nn.init.uniform_(self.right, -bound_right, bound_right)
        nn.init.uniform_(self.left, -bound_left, bound_left)

    def product(self, x: Tensor) -> Tensor:
        """Return M x by two batched matrix products."""
        n_right, _, n_p = self.right.shape
        if n_right == len(self.left) == 1:
            return nn.functional.linear(nn.functional.linear(x, self.right[0]), self.left[0])
        n_padding = n_right * n_p - self.in_features
        if n_padding:
            x = nn.functional.pad(x, (0, n_padding))  # (N, n_in)
        y = monarch_product(x, self.left, self.right, strided=self.order == "strided")
        return y[:, : self.out_features]

    def dense_weight(self) -> Tensor:
        """Return M, shape (out_features, in_features)."""
        dense = to_dense(self.left, self.right)  # (s·l, k·p)
        if self.order == "contiguous":
            n_left, n_s, _ = self.left.shape
            dense = dense.unflatten(0, (n_s, n_left)).transpose(0, 1).flatten(0, 1)  # (l·s, k·p)
        return dense[: self.out_features, : self.in_features]

    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Set the Monarch matrix nearest to `weight`.

        Without moments, or with those of x², this is Theorem 1 of the paper, which is globally
        optimal. With E[x xᵀ], a least-squares fit then replaces `left`, which is optimal for the
        `right` found.
        """
        n_right, _, n_p = self.right.shape
        n_left, n_s, _ = self.left.shape
        scale = column_scale(second_moments, weight)
        padding = (0, n_right * n_p - self.in_features, 0, n_left * n_s - self.out_features)
        dense = nn.functional.pad(weight * scale, padding)  # (n_out, n_in)
        if self.order == "contiguous":
            dense = dense.unflatten(0, (n_left, n_s)).transpose(0, 1).flatten(0, 1)  # (s·l, n_in)
        left, right = project(dense, self.n_blocks, self.rank)
        scale = nn.functional.pad(scale, padding[:2], value=1.0)
        right = right / scale.unflatten(0, (n_right, 1, n_p))  # (k, t·l, p)
        self.right.copy_(right)
        self.left.copy_(left)
        if second_moments is not None and second_moments.ndim == 2:
            self._refit_left(weight, second_moments, padding)

    def _refit_left(self, weight: Tensor, moments: Tensor, padding: tuple[int, ...]) -> None:
        """Set `left` to the least-squares solution for inputs of these moments."""
        n_left, n_s, n_r = self.left.shape
        n_right, n_q, n_p = self.right.shape
        dense = nn.functional.pad(weight, padding)
        moments = nn.functional.pad(moments, (*padding[:2], *padding[:2]))
        shape = (n_s, n_left) if self.order == "strided" else (n_left, n_s)
        rows = dense.unflatten(0, shape)
        rows = rows.movedim(1, 0) if self.order == "strided" else rows  # (l, s, n_in)
        right = self.right.to(weight.dtype)
        # row (k, t) of the matrix that makes the inputs of left block j: right[k, (t, j)]
        inner = right.unflatten(1, (n_q // n_left, n_left)).movedim(2, 0)  # (l, k, t, p)
        made = weight.new_zeros(n_left, n_right, n_q // n_left, n_right, n_p)
        made[:, range(n_right), :, range(n_right)] = inner.movedim(1, 0)  # block-diagonal in k
        made = made.reshape(n_left, n_r, n_right * n_p)  # (l, k·t, n_in)
        gram = made @ moments @ made.mT  # (l, k·t, k·t)
        ridge = torch.finfo(gram.dtype).eps * n_r * gram.diagonal(dim1=-2, dim2=-1).amax(-1)
        gram = gram + ridge[:, None, None] * torch.eye(n_r, dtype=gram.dtype, device=gram.device)
        right_side = made @ moments @ rows.mT  # (l, k·t, s)
        self.left.copy_(torch.linalg.solve(gram, right_side).mT)

    def _warn_if_larger(self) -> None:
        dense = self.in_features * self.out_features
        if self.n_weights > dense:
            rule = f"a {self.out_features} x {self.in_features} layer should hold fewer numbers"
            got = f"{self.n_weights} in the Monarch factors and {dense} in the dense matrix"
            remedy = "Lower `n_blocks` or `rank`, or leave it dense."
            warnings.warn(message(rule, got, remedy), UserWarning, stacklevel=3)

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        order = "" if self.order == "strided" else f", order='{self.order}'"
        return f"{self._sizes_text()}, n_blocks={self.n_blocks}, rank={self.rank}{order}"
