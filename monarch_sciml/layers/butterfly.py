"""A linear layer whose weight is a product of butterfly matrices.

Letters: N vectors, n = 2^m padded size.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.layers.structured_linear import StructuredLinear


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
    a dense layer cannot be projected. More than n_in vectors are multiplied by M itself, which is
    formed in 4 n² steps a butterfly: the sparse factors are bound by memory, a dense product is
    not.

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
        """Return M x, factor by factor, or by one product with M for many vectors."""
        if len(x) > self.in_features:
            return nn.functional.linear(x, self.dense_weight())
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
        matrix = _butterfly(self.twiddle[0])[:, : self.in_features]
        for number, twiddle in enumerate(self.twiddle[1:], start=1):
            falling = number % 2 == 1  # the transpose of one of rising order
            one = _butterfly(twiddle.flip(0).mT).mT if falling else _butterfly(twiddle)
            matrix = one @ matrix
        return matrix[: self.out_features]

    def fit(self, weight: Tensor, second_moments: Tensor | None) -> None:
        """Raise an error, because the nearest butterfly has no closed form."""
        rule = "a dense layer can be projected to 'monarch', 'low_rank', 'block_diagonal' or"
        rule += " 'kronecker'"
        raise ValueError(message(rule, "'butterfly'", "Start it at random: start='random'."))

    def extra_repr(self) -> str:
        """Return the arguments for print(layer)."""
        return f"{self._sizes_text()}, n_butterflies={self.n_butterflies}"


def _butterfly(twiddle: Tensor) -> Tensor:
    """Return the matrix (n, n) of a butterfly (m, n/2, 2, 2) whose strides rise, in 4 n² steps."""
    blocks = twiddle.new_ones(2 * twiddle.shape[1], 1, 1)  # diagonal blocks of the product so far
    for step, factor in enumerate(twiddle):
        # g: pairs of blocks, j: row of a block, i: its column, a b: new and old block of a pair
        factor = factor.unflatten(0, (-1, 2**step)).permute(0, 2, 1, 3)  # (g, a, j, b)
        pairs = blocks.unflatten(0, (-1, 2)).transpose(1, 2)  # (g, b, j, i) -> (g, j, b, i)
        blocks = factor.unsqueeze(-1) * pairs.unsqueeze(1)  # (g, a, j, b, i)
        blocks = blocks.flatten(3).flatten(1, 2)  # (g, 2 j, 2 i)
    return blocks[0]


def _log2(in_features: int, out_features: int) -> int:
    """Return the smallest m >= 1 with 2^m at least both sizes."""
    return max(1, (max(in_features, out_features) - 1).bit_length())
