"""The learnable Monarch transform, which starts as the transform it is named after.

Letters: n = N_1 ... N_p grid size, K = n_modes, C = n_copies, r = rank, U_j and T_j as in
`initial_factors`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monarch_sciml._checks import positive_int
from monarch_sciml.kernels import monarch_blocks
from monarch_sciml.kernels.dispatch import needs_plain_operations
from monarch_sciml.monarch import digit_reversal, multiply
from monarch_sciml.transforms.base import oriented
from monarch_sciml.transforms.basis import AxisSpec, Init, Norm
from monarch_sciml.transforms.constants import Constants, outside_of_traces, working_dtype
from monarch_sciml.transforms.initial_factors import initial_factors
from monarch_sciml.transforms.learnable import LearnableTransform, leading

# Full complex transforms of at least this size go through two batched block products rather than
# one dense product of n^2 entries; below it the dense product is faster on CPU and GPU alike.
_STRUCTURED_FROM = 128


class MonarchTransform(LearnableTransform):
    """A learnable product of block-diagonal factors along the last axis, M = P L P^T R.

    At initialisation it equals the transform it is named after, for every n. The input permutation
    of the 4-step FFT is fixed; the factors are learned: about 2 n^1.5 numbers for all modes and (n
    + K) sqrt(n) for K of them.

    Parameters
    ----------
    n
        Number of grid points, of any size. Sizes with two factors near sqrt(n) give the fewest
        parameters.
    n_modes
        Number K of modes kept: for the DFT those that `FourierTransform` keeps, for dct and dst 0
        ... K - 1. All by default.
    init
        "dft", "idft", "dct", "idct", "dst", "idst" (type II, scipy's scaling), "hadamard" (natural
        order, powers of two), or "random" (complex Gaussian factors, entries of the DFT's size); a
        leading "i" maps modes to the grid.
    real_input
        Whether the grid side is real, so that only modes of non-negative frequency are kept.
    centered
        Whether the transform is fftshift . fft . ifftshift, the convention of MRI.
    norm
        "ortho", "forward" or "backward", with the meaning of torch.fft.
    n_blocks
        Number k of blocks of the right factor, or (k, l) with k l = n. By default the pair nearest
        sqrt(n).
    rank
        Least number of terms in the sum over products of factors. A cosine or sine transform needs
        2^(order - 1) terms, because its factors are real; a smaller rank is raised to that.
    n_copies
        Number of matrices. Above 1, each channel has a matrix of its own and x is (..., n_copies,
        n).
    order
        Number of factors, 2 for M = P L P^T R.

    Attributes
    ----------
    factors
        Deviations of the factors from their initial values, leftmost first, (C?, r, U_j, T_j, N_j,
        2) with real and imaginary parts last (no last axis for a real transform). All start at
        zero. They are relative: the initial factors have entries of modulus 1 and the scale of the
        rows is applied outside, so a learning rate means the same for every n and norm.

    Raises
    ------
    ValueError
        When `n_modes` exceeds the grid, `n_blocks` does not divide it, or n is no power of two for
        "hadamard".

    Notes
    -----
    A prime n has only the trivial factor pair (1, n): the transform is then as large as a dense
    one, and a warning says so once.

    References
    ----------
    Dao et al., "Monarch: Expressive Structured Matrices for Efficient and Accurate Training", arXiv
    2204.00595, section 3.1. Generalised rank: Qiu et al., arXiv 2406.06248.

    Examples
    --------
    >>> import torch
    >>> transform = MonarchTransform(60, norm="backward")
    >>> x = torch.randn(3, 60)
    >>> torch.allclose(transform(x), torch.fft.fft(x), atol=1e-4)
    True
    """

    def __init__(
        self,
        n: int,
        n_modes: int | None = None,
        init: Init = "dft",
        real_input: bool = False,
        centered: bool = False,
        norm: Norm = "ortho",
        n_blocks: int | tuple[int, int] | None = None,
        rank: int = 1,
        n_copies: int = 1,
        order: int = 2,
    ) -> None:
        super().__init__()
        self.spec = AxisSpec.create(
            init, n, n_modes, real_input=real_input, centered=centered, norm=norm
        )
        self.n_copies = positive_int("n_copies", n_copies)
        self.order = positive_int("order", order, minimum=2)
        rank = positive_int("rank", rank)
        with outside_of_traces():
            initial = initial_factors(self.spec, n_blocks=n_blocks, order=order, rank=rank)
            stored = [
                torch.view_as_real(factor.contiguous()) if factor.is_complex() else factor
                for factor in initial.factors
            ]
            self._row_scale = Constants([self.spec.row_scale])
        self.sizes = initial.sizes
        self.rank = initial.factors[0].shape[0]
        self.factors = nn.ParameterList(
            torch.zeros(*leading(n_copies), *tensor.shape) for tensor in stored
        )
        if self.spec.family == "random":  # drawn numbers belong to the state
            for i, tensor in enumerate(stored):
                self.register_buffer(f"initial_{i}", tensor.to(self.factors[0]))
        else:
            self._initial = Constants(stored)
        # the entries of each factor that the rows take, and the order of the grid points
        self._picked = Constants([*initial.index, initial.columns])
        self._prefix: list[int] = initial.index[1].tolist()
        self._entries: dict[tuple[int, bool], tuple[Constants, list[bool]]] = {}
        self._prepare()

    def _prepare(self) -> None:
        like = self._deviations()[0]
        if self.spec.family != "random":
            self._initial.like(like)
        self._row_scale.like(like)
        self._picked.like(like)
        for entries, _ in self._entries.values():
            entries.like(like)

    def _initial_values(self) -> list[Tensor]:
        if self.spec.family == "random":
            return [self.get_buffer(f"initial_{i}") for i in range(self.order)]
        return self._initial.like(self._deviations()[0])

    def _deviations(self) -> list[Tensor]:
        """Return the parameters in single precision at least, the shortest of complex numbers."""
        return [change.to(working_dtype(change.dtype)) for change in self.factors]

    def learned_factors(self) -> list[Tensor]:
        """Return initial values plus deviations, leftmost first, (C?, r, U_j, T_j, N_j)."""
        return self._scaled(
            [start + change for start, change in zip(self._initial_values(), self._deviations())]
        )

    def _scaled(self, values: list[Tensor]) -> list[Tensor]:
        """Put the scale of the rows into the leftmost factor, (C?, r, K, 1, N_p)."""
        scale = self._row_scale.like(values[0])[0].view(-1, 1, 1)
        if not self.spec.is_real:
            values = [torch.view_as_complex(value) for value in values]
        return [values[0] * scale, *values[1:]]

    def _rows(self, factors: list[Tensor]) -> Tensor:
        """Multiply out to dense rows (C?, K, n) by a broadcast product without a sum."""
        product = factors[0].flatten(-2)  # (C?, r, K, N_p)
        *index, columns = self._picked.like(factors[0])
        for factor, rows in zip(factors[1:], index[1:]):
            picked = factor.index_select(-3, rows)  # (C?, r, K, T_j, N_j)
            product = (product.unsqueeze(-1) * picked).flatten(-2)  # (C?, r, K, T_j N_j)
        rows = product.sum(dim=-3) if self.rank > 1 else product.squeeze(-3)
        return rows.index_select(-1, columns)  # natural order of the grid

    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, n) for analysis and (n, K) for synthesis, or (C, ., .)."""
        return oriented(self._rows(self.learned_factors()), self.spec)

    def initial_matrix(self) -> Tensor:
        """Return the matrix the transform started from, without copies."""
        if self.spec.family != "random":
            return super().initial_matrix()
        return oriented(self._rows(self._scaled(self._initial_values())), self.spec)

    def row_factors(
        self, n_modes: int, *, ascending: bool
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, Tensor | None]] | None:
        """Return the factors from which `kernels.monarch_planes` computes the rows of the lowest
        modes.

        Parameters
        ----------
        n_modes
            Number J <= K of rows to compute.
        ascending
            Whether the rows are in the order of ascending frequency, from -(J // 2) on, instead of
            FFT order.

        Returns
        -------
        The left factor (K, N_2, 2), the right factor (U_1, N_2, N_1, 2) and for each of them the
        entries (J,) that the rows take (None stands for all in order). None when the transform does
        not consist of two complex factors, one term and one copy.
        """
        if self.order != 2 or self.rank != 1 or self.spec.is_real or self.n_copies > 1:
            return None
        left, right = (s + change for s, change in zip(self._initial_values(), self._deviations()))
        scale = self._row_scale.like(left)[0].view(-1, 1, 1)
        # (1, K, 1, N_2, 2) and (1, U_1, N_2, N_1, 2)
        return left[0, :, 0] * scale, right[0], self._entries_of(n_modes, left, ascending=ascending)

    def _entries_of(
        self, n_modes: int, like: Tensor, *, ascending: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        key = (n_modes, ascending)
        kept = self._entries.get(key)
        if kept is None:
            kept = self._make_entries(n_modes, ascending=ascending)
            if not torch.compiler.is_dynamo_compiling():
                self._entries[key] = kept
        entries, in_order = kept
        left, right = (
            None if all_of_them else entry
            for entry, all_of_them in zip(entries.like(like), in_order)
        )
        return left, right

    def _make_entries(self, n_modes: int, *, ascending: bool) -> tuple[Constants, list[bool]]:
        n_negative = n_modes // 2
        rows = list(range(n_modes))
        if ascending:  # in FFT order the negative frequencies stand last
            rows = [*range(self.n_modes - n_negative, self.n_modes), *rows[: n_modes - n_negative]]
        prefix = self._prefix
        entries = [rows, [prefix[row] for row in rows]]
        sizes = (factor.shape[1] for factor in self.factors)
        in_order = [entry == list(range(size)) for entry, size in zip(entries, sizes)]
        with outside_of_traces():
            return Constants([torch.tensor(entry) for entry in entries]), in_order

    @property
    def left_right(self) -> tuple[Tensor, Tensor] | None:
        """Block factors of `monarch.multiply`, left (l, s, r) and right (k, q, p), or None.

        They exist for two factors, rank 1 and all modes; the input is in 4-step order.
        """
        if self.order != 2 or self.rank != 1 or self.n_modes != self.n or self.spec.is_real:
            return None
        first, second = self.sizes  # N_1 = l = q = p, N_2 = k = s = r
        left, right = self.learned_factors()
        # rows k = k_1 + N_1 k_2: (C?, 1, n, 1, N_2) -> (C?, l = k_1, s = k_2, r)
        left = left.flatten(-2).squeeze(-3).unflatten(-2, (second, first)).transpose(-3, -2)
        # (C?, 1, k_1, x_2, x_1) -> (C?, k = x_2, q = k_1, p = x_1)
        return left, right.squeeze(-4).transpose(-3, -2)

    def _structured(self) -> tuple[Tensor, Tensor] | None:
        worthwhile = self.n >= _STRUCTURED_FROM and min(self.sizes) > 1
        return self.left_right if worthwhile and not self.real_input else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transform: x (..., n) -> (..., K), or (..., K) -> (..., n) for synthesis."""
        blocks = self._structured()
        if blocks is None:
            return super().forward(x)
        self._check(x, grid_side=not self.spec.synthesis)
        left, right = blocks
        if self.spec.synthesis:
            return self._from_modes(x, left.mT, right.mT)
        return self._to_modes(x, left, right)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the conjugate transpose, so that <forward(x), y> = <x, adjoint(y)>."""
        blocks = self._structured()
        if blocks is None:
            return super().adjoint(y)
        self._check(y, grid_side=self.spec.synthesis)
        left, right = blocks
        if self.spec.synthesis:
            return self._to_modes(y, left.conj(), right.conj())
        return self._from_modes(y, left.mH, right.mH)

    def inverse(self, y: Tensor) -> Tensor:
        """Apply the inverse: block by block where `left_right` exists, else as in `Transform`."""
        blocks = self.left_right
        if blocks is None or self.real_input:
            return super().inverse(y)
        self._check(y, grid_side=self.spec.synthesis)
        left, right = (torch.linalg.inv(block) for block in blocks)
        if self.spec.synthesis:
            return self._to_modes(y, left.mT, right.mT)
        return self._from_modes(y, left, right)

    def _to_modes(self, x: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Apply P L P^T R to x in 4-step order."""
        if left.ndim == 3 and not needs_plain_operations(x, left, right):
            return monarch_blocks(x, right, left, synthesis=False)
        order = digit_reversal(self.sizes).to(x.device)
        return multiply(x.to(left.dtype)[..., order], left, right)

    def _from_modes(self, y: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """Apply R' P L' P^T, the transposed or inverse structure: output in natural order."""
        if left.ndim == 3 and not needs_plain_operations(y, left, right):
            return monarch_blocks(y, left, right, synthesis=True)
        first, second = self.sizes
        # k = k_1 + N_1 k_2: view (k_2, k_1), swap, flatten
        swapped = y.to(left.dtype).unflatten(-1, (second, first)).mT.flatten(-2)
        return multiply(swapped, right, left)
