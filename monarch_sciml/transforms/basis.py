"""The transforms a learnable matrix can start from, with their modes, scaling and dense rows.

Letters: n grid size, K number of modes kept, k mode index, x grid index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of, positive_int

Init = Literal[
    "dft", "idft", "dct", "idct", "dst", "idst", "hadamard", "ihadamard", "random", "irandom"
]
Norm = Literal["ortho", "forward", "backward"]

_FAMILIES = ("dft", "dct", "dst", "hadamard", "random")
INITS = (*_FAMILIES, *("i" + family for family in _FAMILIES))
NORMS = ("ortho", "forward", "backward")


@dataclass(frozen=True)
class AxisSpec:
    """Describe one initial transform on one grid.

    `family` names the transform (dft, dct, dst, hadamard, random, pod); `synthesis` says that it
    maps modes to the grid (idft, idct, idst) rather than the grid to modes.
    """

    family: str
    synthesis: bool
    n: int
    n_modes: int
    real_input: bool
    centered: bool
    norm: str

    @classmethod
    def create(
        cls,
        init: str,
        n: int,
        n_modes: int | None,
        *,
        real_input: bool,
        centered: bool,
        norm: str,
    ) -> AxisSpec:
        """Check the arguments of a transform's constructor and resolve the defaults."""
        one_of("init", init, INITS)
        one_of("norm", norm, NORMS)
        n = positive_int("n", n)
        synthesis = init not in _FAMILIES
        family = init[1:] if synthesis else init
        if family == "hadamard" and n & (n - 1):
            rule = "`n` must be a power of two for a Hadamard transform"
            raise ValueError(message(rule, n, "Choose another `init` or pad the grid."))
        if centered and (family not in ("dft", "random") or real_input):
            rule = "`centered` applies to the complex DFT only"
            remedy = "Set `centered=False`, or `real_input=False` with init='dft'."
            raise ValueError(message(rule, f"init={init!r}, real_input={real_input}", remedy))
        if family in ("dct", "dst", "hadamard"):
            real_input = False  # a real matrix takes real and complex input alike
        largest = n // 2 + 1 if real_input else n
        n_modes = largest if n_modes is None else positive_int("n_modes", n_modes)
        if n_modes > largest:
            rule = f"`n_modes` must be at most {largest} for a grid of {n} points"
            raise ValueError(message(rule, n_modes, "Lower `n_modes` or refine the grid."))
        return cls(family, synthesis, n, n_modes, real_input, centered, norm)

    @property
    def init(self) -> str:
        """The name that `create` takes."""
        return ("i" if self.synthesis else "") + self.family

    @property
    def is_real(self) -> bool:
        """Whether the matrix is real."""
        return self.family in ("dct", "dst", "hadamard", "pod")

    @property
    def is_full(self) -> bool:
        """Whether every mode is kept."""
        return self.n_modes == (self.n // 2 + 1 if self.real_input else self.n)

    @property
    def modes(self) -> Tensor:
        """Kept modes (K,): signed frequencies for the DFT (FFT order; ascending when centred)."""
        k = torch.arange(self.n_modes)
        if self.family not in ("dft", "random") or self.real_input:
            return k
        ascending = k - self.n_modes // 2
        return ascending if self.centered else torch.roll(ascending, -(self.n_modes // 2))

    @property
    def rows(self) -> Tensor:
        """Row of each kept mode (K,) in the full matrix of the transform."""
        return self.modes + self.n // 2 if self.centered else self.modes % self.n

    @property
    def row_scale(self) -> Tensor:
        """Factor (K,) float64 that turns unscaled rows into the rows of this transform."""
        n, k = self.n, self.modes
        base = {"ortho": 1 / math.sqrt(n), "forward": 1 / n, "backward": 1.0}
        if self.synthesis:  # torch.fft and scipy.fft: the inverse carries what the forward does not
            base = {"ortho": 1 / math.sqrt(n), "forward": 1.0, "backward": 1 / n}
        scale = torch.full((self.n_modes,), base[self.norm], dtype=torch.float64)
        one = torch.ones_like(scale)
        if self.family in ("dct", "dst"):
            # unscaled rows are cos or sin; scipy's DCT-II and DST-II carry a factor 2, and a
            # constant row (k = 0; for the sine k = n - 1) counts half in the inverse
            constant = k == (0 if self.family == "dct" else n - 1)
            if self.norm == "ortho":
                return scale * torch.where(constant, one, math.sqrt(2.0) * one)
            if self.synthesis:
                double = 2.0 if self.norm == "forward" else 1.0
                return scale * torch.where(constant, 0.5 * one, one) * double
            return scale * (2.0 if self.norm == "backward" else 1.0)
        if self.real_input and self.synthesis:
            paired = (k > 0) & (2 * k != n)  # modes whose conjugate is not stored
            return scale * torch.where(paired, 2.0 * one, one)
        return scale

    def dense_rows(self) -> Tensor:
        """Rows (K, n) of the transform, complex128 or float64; transposed when synthesis."""
        k, x = self.rows[:, None], torch.arange(self.n)[None, :]
        if self.family == "dft":
            offset = self.n // 2 if self.centered else 0
            turns = ((k - offset) * (x - offset)) % self.n  # exact integers
            angle = (2 * math.pi / self.n) * turns.double()
            rows = torch.polar(torch.ones_like(angle), angle if self.synthesis else -angle)
        elif self.family == "random":  # its factors are drawn; there are no rows to name
            return torch.zeros(self.n_modes, self.n, dtype=torch.complex128)
        elif self.family == "hadamard":
            rows = 1.0 - 2.0 * (_popcount(k & x) % 2).double()
        else:
            shift = 1 if self.family == "dst" else 0
            turns = ((k + shift) * (2 * x + 1)) % (4 * self.n)
            angle = (math.pi / (2 * self.n)) * turns.double()
            rows = torch.sin(angle) if shift else torch.cos(angle)
        return rows * self.row_scale[:, None]

    def on_grid(self, n: int) -> AxisSpec:
        """Return the same transform on a grid of n points, with as many of its modes as fit there.

        A transform that keeps every mode of its grid keeps every mode of the other grid too.
        """
        largest = n // 2 + 1 if self.real_input else n
        return AxisSpec.create(
            self.init,
            n,
            None if self.is_full else min(self.n_modes, largest),
            real_input=self.real_input,
            centered=self.centered,
            norm=self.norm,
        )


def _popcount(bits: Tensor) -> Tensor:
    """Count the ones of non-negative integers."""
    count = torch.zeros_like(bits)
    while bool(bits.any()):
        count += bits & 1
        bits = bits >> 1
    return count
