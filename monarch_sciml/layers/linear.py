"""A linear layer whose weight is a Monarch matrix.

Letters: k, l number of blocks of `right`, `left`; p, s inputs and outputs of one slice; t rank;
n_in = k·p and n_out = l·s the padded sizes.
"""

from __future__ import annotations

from math import sqrt
from typing import Self

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.monarch import multiply, project, to_dense
from monarch_sciml.monarch.block_sizes import block_counts


class MonarchLinear(nn.Module):
    r"""Apply y = M x + b with a Monarch matrix M: a drop-in for nn.Linear.

    .. math:: M = P L P^T R, \qquad R: k \text{ blocks of } lt \times p, \quad
              L: l \text{ blocks of } s \times kt

    Every s x p slice of M (outputs j, j + l, … against one group of p inputs) has rank t = `rank`.

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
        l·ceil(out_features/l) entries, is cropped.
    rank
        Rank of every slice, at most min(n_out/l, n_in/k), where M is any dense matrix.
    device, dtype
        Where the parameters live and their precision, as for nn.Linear.

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
        When a size, `n_blocks` or `rank` is no positive whole number, or `rank` is too large.

    Notes
    -----
    Holds and multiplies t·(l·n_in + k·n_out) numbers instead of n_in·n_out. The paper's
    square blocks of n/b x n/b (its "4 blocks", half of the dense parameters for b = 4) are
    ``n_blocks=b, rank=n // b**2``; ``n_blocks=sqrt(n), rank=1`` is its smallest matrix.

    The factors are uniform with variances 1/p (right) and p/(3·in_features·t) (left), so that
    every entry of M has nn.Linear's variance 1/(3·in_features); two factors each initialised like
    nn.Linear would give a third of it or less. Dense entries of one slice are not independent.

    References
    ----------
    Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, section 3.1; the initialisation is ours.

    Examples
    --------
    >>> layer = MonarchLinear(64, 48, n_blocks=8)
    >>> layer(torch.randn(5, 64)).shape
    torch.Size([5, 48])
    >>> sum(p.numel() for p in layer.parameters()), 64 * 48 + 48
    (944, 3120)
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        n_blocks: int | tuple[int, int] = 4,
        rank: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.n_blocks = n_right, n_left = block_counts(n_blocks)
        self.rank = positive_int("rank", rank)
        n_p, n_s = -(-self.in_features // n_right), -(-self.out_features // n_left)
        if self.rank > min(n_p, n_s):
            rule = f"`rank` must be at most {min(n_p, n_s)} for slices of {n_s} x {n_p}"
            raise ValueError(message(rule, rank, "Lower `rank` or `n_blocks`."))
        empty = {"device": device, "dtype": dtype}
        self.left = nn.Parameter(torch.empty(n_left, n_s, n_right * self.rank, **empty))
        self.right = nn.Parameter(torch.empty(n_right, n_left * self.rank, n_p, **empty))
        if bias:
            self.bias = nn.Parameter(torch.empty(self.out_features, **empty))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new factors, and a bias as nn.Linear does."""
        n_p = self.right.shape[-1]
        bound_right = sqrt(3 / n_p)  # a uniform number in ±b has variance b²/3
        bound_left = sqrt(n_p / (self.in_features * self.rank))
        nn.init.uniform_(self.right, -bound_right, bound_right)
        nn.init.uniform_(self.left, -bound_left, bound_left)
        if self.bias is not None:
            bound = 1 / sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return M x + b.

        Parameters
        ----------
        x
            Input, shape (..., in_features).

        Returns
        -------
        Output, shape (..., out_features).

        Raises
        ------
        ValueError
            When the last axis of `x` is not in_features.
        """
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            rule = f"`x` must have {self.in_features} entries along its last axis"
            raise ValueError(message(rule, f"shape {tuple(x.shape)}", "Check `in_features`."))
        n_padding = self.right.shape[0] * self.right.shape[2] - self.in_features
        if n_padding:
            x = nn.functional.pad(x, (0, n_padding))  # (..., n_in)
        y = multiply(x, self.left, self.right)[..., : self.out_features]  # (..., out_features)
        return y if self.bias is None else y + self.bias

    @property
    def weight(self) -> Tensor:
        """Return M as a dense matrix, shape (out_features, in_features): computed, not stored."""
        return to_dense(self.left, self.right)[: self.out_features, : self.in_features]

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, n_blocks: int | tuple[int, int] = 4, rank: int = 1
    ) -> Self:
        """Return the layer whose Monarch matrix is nearest the weight of `linear`.

        Parameters
        ----------
        linear
            The dense layer; it is left as it is. Its bias, dtype and device are taken over.
        n_blocks, rank
            The structure of the new layer; see the constructor.

        Returns
        -------
        A new layer. Where sizes are padded, M is the nearest to the weight padded with zeros.

        Raises
        ------
        ValueError
            When `rank` is too large for the slices.

        Notes
        -----
        The projection is computed in at least float32.

        References
        ----------
        Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, Theorem 1 (dense-to-sparse).
        """
        weight = linear.weight.detach()
        has_bias = linear.bias is not None
        options = {"device": weight.device, "dtype": weight.dtype}
        layer = cls(linear.in_features, linear.out_features, has_bias, n_blocks, rank, **options)
        n_in = layer.right.shape[0] * layer.right.shape[2]
        n_out = layer.left.shape[0] * layer.left.shape[1]
        padding = (0, n_in - layer.in_features, 0, n_out - layer.out_features)
        dense = nn.functional.pad(weight, padding)  # (n_out, n_in)
        dense = dense.to(torch.promote_types(weight.dtype, torch.float32))
        left, right = project(dense, layer.n_blocks, layer.rank)
        with torch.no_grad():
            layer.left.copy_(left)
            layer.right.copy_(right)
            if layer.bias is not None:
                layer.bias.copy_(linear.bias)
        return layer

    def to_linear(self) -> nn.Linear:
        """Return the nn.Linear of the same function, with parameters of its own.

        Returns
        -------
        The dense layer, in the dtype and on the device of this one; training goes on densely.
        """
        has_bias, dtype = self.bias is not None, self.right.dtype
        linear = nn.Linear(self.in_features, self.out_features, has_bias, "meta", dtype)
        linear = linear.to_empty(device=self.right.device)
        with torch.no_grad():
            linear.weight.copy_(self.weight)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        bias = self.bias is not None
        return f"{sizes}, bias={bias}, n_blocks={self.n_blocks}, rank={self.rank}"
