"""A learnable transform without structure: the ablation of every Monarch transform."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message, positive_int
from monarch_sciml.transforms.base import oriented
from monarch_sciml.transforms.basis import AxisSpec, Init, Norm
from monarch_sciml.transforms.constants import Constants, outside_of_traces, working_dtype
from monarch_sciml.transforms.learnable import LearnableTransform, leading


class DenseTransform(LearnableTransform):
    """Learn every entry of the matrix, M = M_initial + deviation: K n free numbers.

    Parameters
    ----------
    n, n_modes, init, real_input, centered, norm, n_copies
        The arguments of `MonarchTransform`; `init="random"` is not offered.

    Attributes
    ----------
    weight
        Deviation (K, n, 2) from the initial rows, real and imaginary parts on the last axis ((K,
        n) for a real transform), with a leading axis C for `n_copies` > 1. Starts at zero.
    """

    def __init__(
        self,
        n: int,
        n_modes: int | None = None,
        init: Init = "dft",
        real_input: bool = False,
        centered: bool = False,
        norm: Norm = "ortho",
        n_copies: int = 1,
    ) -> None:
        super().__init__()
        self.spec = AxisSpec.create(
            init, n, n_modes, real_input=real_input, centered=centered, norm=norm
        )
        if self.spec.family == "random":
            rule = "`init` must name a transform for a DenseTransform"
            raise ValueError(message(rule, repr(init), "Use MonarchTransform for random factors."))
        self.n_copies = positive_int("n_copies", n_copies)
        with outside_of_traces():
            rows = self.spec.dense_rows() / self.spec.row_scale[:, None]
            stored = torch.view_as_real(rows) if rows.is_complex() else rows
            self._initial = Constants([stored, self.spec.row_scale[:, None]])
        self.weight = nn.Parameter(torch.zeros(*leading(n_copies), *stored.shape))
        self._prepare()

    def _prepare(self) -> None:
        self._initial.like(self.weight)

    def matrix(self) -> Tensor:
        """Return the dense matrix, (K, n) for analysis and (n, K) for synthesis, or (C, ., .)."""
        unscaled, scale = self._initial.like(self.weight)
        rows = unscaled + self.weight.to(working_dtype(self.weight.dtype))
        rows = scale * (rows if self.spec.is_real else torch.view_as_complex(rows))
        return oriented(rows, self.spec)
