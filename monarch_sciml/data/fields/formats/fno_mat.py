"""The .mat files of the FNO paper, MATLAB 5 (scipy) and MATLAB 7.3 (HDF5, axes reversed).

Shapes: N samples, T times, then the grid. In MATLAB's order `a` is (N, *grid) and `u` is
(N, *grid, T) for trajectories or (N, *grid) for steady problems; HDF5 stores them reversed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.fields.source import FieldLayout, FieldSource
from monarch_sciml.data.mat import open_mat
from monarch_sciml.data.reading import real_names, real_part

_PAIRS = (("a", "u"), ("coeff", "sol"))


class FnoMatFile(FieldSource):
    """Read a .mat file of the FNO paper's data sets.

    With `u` one axis longer than `a`, or beside `t` alone, the file holds trajectories of the field
    `u`; `a`, the state at t = 0, is left out as in the paper's 2-D and 3-D protocols. With equal
    axes it holds the steady pair `a`, `u` (or `coeff`, `sol`).

    Parameters
    ----------
    path
        The file, of either kind.
    boundary, domain_extent
        One entry for each grid axis. The files do not tell them: by default trajectories and
        one-dimensional pairs are periodic, `coeff`, `sol` is Dirichlet, other pairs "unknown", and
        every length is 1.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no .mat file, truncated, or lacks these arrays.

    Notes
    -----
    A complex `u` is read as the two real fields `u.real` and `u.imag`. Windows are read as
    `open_mat` says.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, `utilities3.MatReader` of the authors' code.
    """

    format: ClassVar[str] = "FNO .mat"

    def __init__(
        self,
        path: str | Path,
        *,
        boundary: tuple[str, ...] | None = None,
        domain_extent: tuple[float, ...] | None = None,
    ) -> None:
        path = Path(path)
        self._arrays = open_mat(path)
        shapes = self._arrays.shapes
        names, steady = _contents(path, shapes)
        shape = shapes[names[0]]
        grid_shape = shape[1:] if steady else shape[1:-1]
        n_times = 1 if steady else shape[-1]
        assumed = _assumed_boundary(names, steady, len(grid_shape))
        self._stored = {
            field: name
            for name in names
            for field in real_names(name, self._arrays.is_complex(name))
        }
        layout = FieldLayout(
            fields=tuple(self._stored),
            n_samples=shape[0],
            n_times=n_times,
            grid_shape=grid_shape,
            domain_extent=domain_extent or (1.0,) * len(grid_shape),
            boundary=boundary or (assumed,) * len(grid_shape),
            times=None if steady else self._times(n_times),
        )
        about = {"container": self._arrays.container, "arrays": sorted(shapes)}
        super().__init__(path, layout, about)
        self._steady = steady

    def _times(self, n_times: int) -> tuple[float, ...] | None:
        if int(np.prod(self._arrays.shapes.get("t", (0,)))) != n_times:
            return None
        return tuple(float(t) for t in np.ravel(self._arrays.window("t")))

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        middle = (slice(None),) * len(self.grid_shape)
        # steady: (N, *grid); trajectories: (N, *grid, T)
        index = (samples, *middle) if self._steady else (samples, *middle, times)
        window = real_part(self._arrays.window(self._stored[field], index), field)
        values = torch.from_numpy(window)
        if self._steady:
            return values[:, None][:, times]  # (N, *grid) -> (N, 1, *grid)
        return values.movedim(-1, 1)  # (N, *grid, T) -> (N, T, *grid)


def _contents(path: Path, shapes: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Names of the fields, and whether they are steady."""
    for first, second in _PAIRS:
        if first in shapes and second in shapes:
            a, u = shapes[first], shapes[second]
            if a == u:
                return (first, second), True
            if u[:-1] == a:
                return (second,), False
            rule = f"`{second}` of {path} must have the shape of `{first}`, {a}, or one axis more"
            raise ValueError(message(rule, u, "Check the order of its axes."))
    if "u" in shapes and len(shapes["u"]) > 2 and np.prod(shapes.get("t", ())) == shapes["u"][-1]:
        return ("u",), False
    rule = f"{path} must hold the arrays `a` and `u` (or `coeff` and `sol`, or `u` and `t`)"
    raise ValueError(message(rule, sorted(shapes)[:8], "Convert it to the FNO layout."))


def _assumed_boundary(names: tuple[str, ...], steady: bool, n_dims: int) -> str:
    if names == ("coeff", "sol"):
        return "dirichlet"
    return "periodic" if not steady or n_dims == 1 else "unknown"
