"""A .mat file of one solution with the coordinates of its grid, as authors of papers share them.

Shapes: T times, then the grid; there is one sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.fields.source import FieldLayout, FieldSource
from monarch_sciml.data.mat import open_mat
from monarch_sciml.data.reading import real_names, real_part

_TIME, _SPACE = ("t", "tt"), ("x", "y", "z")

Shapes = Mapping[str, tuple[int, ...]]


class GridMatFile(FieldSource):
    """Read a .mat file that holds one solution and the coordinates of its points.

    - a trajectory: vectors `x` (and `y`, `z`) and `t` or `tt`, fields (*grid, T) or (T, *grid)
      under any name: burgers_shock.mat and NLS.mat of the PINN paper;
    - a snapshot: meshes `XX`, `YY` (or `X`, `Y`), fields of their shape: cylinder_vorticity.mat.
      The coordinates are fields too, first, so that a network may map them to the others.

    Parameters
    ----------
    path
        The file, MATLAB 5 or 7.3.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no .mat file, truncated, or holds no fields beside such coordinates.

    Notes
    -----
    A complex array is read as two real fields, `NAME.real` and `NAME.imag`: every network, metric
    and statistic then treats it as it treats a vector. The boundary is "unknown"; lengths are the
    distances from the first to the last point. Axes are those of the arrays: MATLAB's meshgrid
    gives (y, x). The coordinates are constant in time. Of an array that could be either, having as
    many times as points, the last axis is taken for time.

    References
    ----------
    Raissi, Perdikaris and Karniadakis, J. Comput. Phys. 378, 2019 (maziarraissi/PINNs); Raissi,
    JMLR 19, 2018 (maziarraissi/DeepHPMs).
    """

    format: ClassVar[str] = "grid .mat"

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._arrays = open_mat(path)
        shapes = self._arrays.shapes
        found = find_grid(shapes)
        if found is None:
            rule = f"{path} must hold fields beside `x` and `t`, or beside `XX` and `YY`"
            raise ValueError(message(rule, sorted(shapes)[:8], "Convert it to the FNO layout."))
        self._found = found
        coordinates = {name: self._arrays.window(name) for name in found.coordinates}
        self._stored = {
            field: name
            for name in (*found.meshes, *found.fields)
            for field in real_names(name, self._arrays.is_complex(name))
        }
        times = np.ravel(self._arrays.window(found.time)) if found.time else None
        layout = FieldLayout(
            fields=tuple(self._stored),
            n_samples=1,
            n_times=1 if times is None else len(times),
            grid_shape=found.grid_shape,
            domain_extent=_lengths(coordinates, meshes=bool(found.meshes)),
            boundary=("unknown",) * len(found.grid_shape),
            times=None if times is None else tuple(float(t) for t in times),
            constant=found.meshes if times is not None else (),
        )
        about = {"container": self._arrays.container, "arrays": sorted(shapes)}
        super().__init__(path, layout, about)

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        name, found = self._stored[field], self._found
        space = (slice(None),) * len(self.grid_shape)
        n_times = len(range(times.start, times.stop, times.step))
        if found.time is None or name in found.meshes:
            values = torch.from_numpy(real_part(self._arrays.window(name, space), field))
            values = values.expand(n_times, *self.grid_shape)  # (*grid) -> (T, *grid)
        elif found.time_first:
            window = self._arrays.window(name, (times, *space))
            values = torch.from_numpy(real_part(window, field))
        else:
            window = self._arrays.window(name, (*space, times))
            values = torch.from_numpy(real_part(window, field)).movedim(-1, 0)  # -> (T, *grid)
        return values[None][samples]  # (T, *grid) -> (1, T, *grid)


@dataclass(frozen=True)
class FoundGrid:
    """Say which arrays of a file are what.

    `coordinates` are in the order of the axes of the grid where they are vectors; `meshes` are
    those that are arrays over the grid.
    """

    grid_shape: tuple[int, ...]
    coordinates: tuple[str, ...]
    fields: tuple[str, ...]
    time: str | None = None
    time_first: bool = False
    meshes: tuple[str, ...] = ()


def find_grid(shapes: Shapes) -> FoundGrid | None:
    """Tell coordinates and fields of a .mat file by names and shapes; None where there are none."""
    by_name = {name.lower(): name for name in shapes}
    time = next(
        (by_name[n] for n in _TIME if n in by_name and _is_vector(shapes[by_name[n]])), None
    )
    n_times = int(np.prod(shapes[time])) if time else None
    meshes = [by_name.get(2 * axis) or by_name.get(axis) for axis in _SPACE]
    if meshes[0] and not _is_vector(shapes[meshes[0]]):
        grid = shapes[meshes[0]]
        names = tuple(name for name in meshes if name and shapes[name] == grid)
        return _with_fields(shapes, grid, names, time, n_times, names) if len(names) > 1 else None
    names = tuple(by_name[axis] for axis in _SPACE if axis in by_name)
    if time is None or not names or not all(_is_vector(shapes[name]) for name in names):
        return None
    grid = tuple(int(np.prod(shapes[name])) for name in names)
    return _with_fields(shapes, grid, names, time, n_times, ())


def _with_fields(
    shapes: Shapes,
    grid: tuple[int, ...],
    names: tuple[str, ...],
    time: str | None,
    n_times: int | None,
    meshes: tuple[str, ...],
) -> FoundGrid | None:
    """The arrays over the grid, whose times come last or, where none do, first; or not at all."""
    orders = [((*grid, n_times), False), ((n_times, *grid), True)] if n_times else []
    for shape, first in [*orders, (grid, False)] if meshes else orders:
        fields = tuple(n for n in shapes if shapes[n] == shape and n not in (*names, time))
        if fields:
            return FoundGrid(grid, names, fields, None if shape == grid else time, first, meshes)
    return None


def _is_vector(shape: tuple[int, ...]) -> bool:
    return int(np.prod(shape)) == max(shape, default=0) > 1


def _lengths(coordinates: Mapping[str, np.ndarray], *, meshes: bool) -> tuple[float, ...]:
    """Distance between the ends of each axis, from the coordinate that varies along it."""
    values = list(coordinates.values())
    if meshes:  # one coordinate varies along each axis, in any order
        axes = range(values[0].ndim)
        spans = [max(float(np.ptp(v, axis=axis).max()) for v in values) for axis in axes]
    else:
        spans = [float(np.ptp(v)) for v in values]
    return tuple(round(span, 9) for span in spans)
