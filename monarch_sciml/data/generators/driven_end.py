"""Base class of the problems whose solution is driven at one end, with a random frequency."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import positive_int
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.options import box_layout, frame_times, interval
from monarch_sciml.data.generators.problem import Batch, FieldProblem


@dataclass(frozen=True, kw_only=True)
class DrivenEndProblem(FieldProblem):
    """Base class of problems on [0, 1] with an exact solution and a random frequency ω.

    The class variables are the name of the field and the condition at the ends.

    Parameters
    ----------
    resolution
        Number of points of [0, 1], both ends included.
    lowest
        Smallest ω.
    highest
        Largest ω.
    """

    field: ClassVar[str]
    boundary: ClassVar[str]

    resolution: int
    t_end: float
    n_times: int
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        self.layout(1)
        self.parameters()

    @abstractmethod
    def constants(self) -> dict[str, float]:
        """Return the physical parameters of all samples, after they are checked."""

    @abstractmethod
    def exact(self, frequency: Tensor, x: Tensor, times: Sequence[float]) -> Tensor:
        """Return the solution (n, T, X) of frequencies (n,) at points (X,) and T times."""

    def layout(self, n_samples: int) -> FieldLayout:
        """Return frames of the field, ends included."""
        times = frame_times(self.t_end, self.n_times)
        shape = (positive_int("resolution", self.resolution, minimum=3),)
        return box_layout(self.field, n_samples, shape, self.boundary, times=times)

    def parameters(self) -> dict[str, Any]:
        """Return the physical parameters and the range of ω."""
        return {
            **self.constants(),
            "frequency": list(interval(("lowest", "highest"), self.lowest, self.highest)),
            "t_end": float(self.t_end),
        }

    def solve(self, batch: Batch) -> Tensor:
        """Evaluate the exact solution."""
        frequency = batch.uniform(self.lowest, self.highest)
        x = torch.linspace(0.0, 1.0, self.resolution, dtype=torch.float64)
        fields = self.exact(frequency, x, frame_times(self.t_end, self.n_times))
        return fields[:, :, None]  # (n, T, X) -> (n, T, 1, X)
