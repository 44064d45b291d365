"""PDEBench's HDF5 files, in each of their four layouts.

Letters: N samples, T times, then the grid X, Y, Z, then C components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._reading import open_hdf5, part
from monarch_sciml.data.fields.formats.table import (
    StoredField,
    TableFields,
    components_of,
)
from monarch_sciml.data.fields.source import FieldLayout, check_field_count
from monarch_sciml.data.reading import Index, Reader, is_complex_type

_AXES = "xyz"
_FLOW = ("density", "pressure", "Vx", "Vy", "Vz", "omega_x", "omega_y", "omega_z")
_NAMES = {(1, 1): ("u",), (2, 1): ("h",), (2, 2): ("u", "v")}  # (grid axes, components) -> names
_SEED_BOUNDARY = {(1, 1): "wall", (2, 1): "open", (2, 2): "neumann"}

FileLayout = Literal["arrays", "Darcy", "seeds", "incompressible"]


class PDEBenchFile(TableFields):
    """Read a file of PDEBench (Takamoto et al., 2022), recognised by its content.

    - arrays: `tensor` (advection, Burgers, reaction-diffusion in 1-D) or `density`, `pressure`,
      `Vx`, `Vy`, `Vz` (compressible flow), each (N, T, X[, Y[, Z]]), with `x-coordinate`, ...,
      `t-coordinate`.
    - Darcy: the steady pair `nu` (N, X, Y) and `tensor` (N, 1, X, Y), with their coordinates.
    - seeds: one group a sample, named by its seed, "0000", with `data` (T, X[, Y], C) and `grid/x`,
      `grid/y`, `grid/t`: diffusion-sorption (field u), diffusion-reaction (u, v), shallow water
      (h).
    - incompressible: `velocity` (N, T, X, Y, 2), `particles` (N, T, X, Y, 1), `force`
      (N, X, Y, 2), `t` (N, T): fields velocity_x, velocity_y, particles, force_x, force_y, the last
      two constant in time.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file has none of these layouts, is truncated, or its arrays do not fit one another.

    Notes
    -----
    Grid points are centres of cells: the domain is longer than the distance from the first to the
    last by one cell. The boundary is taken from the paper, because no file states it: periodic for
    1-D `tensor`, Dirichlet for Darcy and incompressible flow, Neumann for diffusion-reaction, open
    for shallow water, "wall" for diffusion-sorption (Dirichlet left, Cauchy right). Only the file
    name states that of compressible flow (`_periodic_`, `_trans_`); otherwise it is "unknown". A
    file that was not merged yet has a first axis of one entry, which is left out. `t-coordinate`
    has one time more than there are frames; the last one is left out. Incompressible files do not
    state their grid, so every length is 1.

    References
    ----------
    Takamoto et al., PDEBench, NeurIPS 2022, appendices D and E; the layouts are those written by
    pdebench/PDEBench: data_gen/data_gen_NLE/Data_Merge.py (arrays, Darcy), gen_diff_react.py,
    gen_diff_sorp.py and src/sim_radial_dam_break.py (seeds), src/data_io.py (incompressible).
    """

    format: ClassVar[str] = "PDEBench"

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        with open_hdf5(path) as file:
            self._kind = pdebench_layout(file)
            if self._kind is None:
                rule = f"{path} must be in one of PDEBench's layouts"
                raise ValueError(message(rule, sorted(file)[:8], "Check where it came from."))
            self._seeds = _seeds_of(file) if self._kind == "seeds" else []
            find = {"seeds": _of_seeds, "incompressible": _of_incompressible}
            layout, table, about = find.get(self._kind, _of_arrays)(path, file)
            numbers = {key: _number(value) for key, value in file.attrs.items()}
        known = {k: v for k, v in numbers.items() if v is not None and k != "latestIndex"}
        about |= {"parameters": known} if known else {}
        super().__init__(path, layout, {"layout": self._kind, **about}, table)

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        with open_hdf5(self.path) as file:
            yield partial(self._part, file)

    def _part(self, file: Any, name: str, index: Index) -> np.ndarray:
        data, expected = file[name], (self.n_times, *self.grid_shape)
        if self._seeds and data.shape[:-1] != expected:
            rule = f"`{name}` of {self.path} must have the shape {expected} of the first"
            raise ValueError(message(rule, data.shape[:-1], "Leave that sample out."))
        return part(data, index)

    def _window(
        self, read: Reader, stored: StoredField, samples: slice, times: slice, lone: bool
    ) -> np.ndarray:
        if not self._seeds:
            return super()._window(read, stored, samples, times, lone)
        index = stored.index(samples, times, cut=lone)[1:]  # each sample is an array of its own
        windows = [read(f"{seed}/data", index) for seed in self._seeds[samples]]
        if windows:
            return np.stack(windows)
        n_times = len(range(times.start, times.stop, times.step))
        components = () if lone else (len(self._table),)
        return np.empty((0, n_times, *self.grid_shape, *components), np.float32)


def pdebench_layout(file: Mapping[str, Any]) -> FileLayout | None:
    """Return the name of the layout of an open HDF5 file; None when it is no PDEBench file."""
    names = set(file)
    if {"tensor", "nu"} <= names:
        return "Darcy"
    if "x-coordinate" in names and names & {"tensor", *_FLOW}:
        return "arrays"
    if {"velocity", "particles", "t"} <= names:
        return "incompressible"
    first = min(names, default="")
    if first.isdigit() and "data" in file[first] and "grid" in file[first]:
        return "seeds"
    return None


Found = tuple[FieldLayout, dict[str, StoredField], dict[str, Any]]


def _of_arrays(path: Path, file: Any) -> Found:
    """Return the fields of the layouts `arrays` and `Darcy`."""
    steady = "nu" in file
    fields = ("nu", "tensor") if steady else tuple(n for n in ("tensor", *_FLOW) if n in file)
    merged = _is_merged(path, fields[-1], file)
    lead = () if merged else ("1",)
    shape = file[fields[-1]].shape[len(lead) :]
    if steady and shape[1] != 1:
        rule = f"`tensor` of {path} must have one frame beside `nu`"
        raise ValueError(message(rule, shape, "Check where it came from."))
    n_samples, n_times, grid_shape = shape[0], shape[1], tuple(shape[2:])
    space = tuple(_AXES[: len(grid_shape)])
    table: dict[str, StoredField] = {}
    for name in fields:
        in_time = name != "nu"
        expected = (n_samples, n_times, *grid_shape) if in_time else (n_samples, *grid_shape)
        _check_shape(path, name, file[name].shape[len(lead) :], expected)
        axes = (*lead, "sample", "time", *space) if in_time else (*lead, "sample", *space)
        place, is_complex = StoredField(name, axes), is_complex_type(file[name].dtype)
        table |= components_of(name, place, [""], (), is_complex=is_complex)
    extent = [_length(file.get(f"{axis}-coordinate"), n) for axis, n in zip(_AXES, grid_shape)]
    kind = _array_boundary(path, fields, len(grid_shape))
    layout = FieldLayout(
        fields=tuple(table),
        n_samples=n_samples,
        n_times=n_times,
        grid_shape=grid_shape,
        domain_extent=tuple(extent),
        boundary=(kind,) * len(grid_shape),
        times=None if steady else _times(file.get("t-coordinate"), n_times),
    )
    return layout, table, {"dtype": str(file[fields[-1]].dtype)}


def _is_merged(path: Path, name: str, file: Any) -> bool:
    """Return whether an array is (N, T, *grid) rather than (1, N, T, *grid) of an unmerged file.

    Raises
    ------
    ValueError
        When the sizes of the coordinates fit neither.
    """
    points = tuple(
        len(file[f"{axis}-coordinate"]) for axis in _AXES if f"{axis}-coordinate" in file
    )
    shape = file[name].shape
    if not points or shape[2:] == points:
        return True
    if shape[0] == 1 and shape[3:] == points:
        return False
    rule = (
        f"`{name}` of {path} must be (samples, times, *grid) with the grid {points} of its points"
    )
    raise ValueError(message(rule, shape, "Pass `axes` to say what its axes are."))


def _of_seeds(path: Path, file: Any) -> Found:
    seeds = _seeds_of(file)
    group = file[seeds[0]]
    n_times, *points, n_fields = group["data"].shape
    grid_shape = tuple(points)
    check_field_count(n_fields)
    about = (len(grid_shape), n_fields)
    labels = _NAMES.get(about, tuple(f"data_{i}" for i in range(n_fields)))
    table = {
        name: StoredField("data", ("sample", "time", *_AXES[: len(grid_shape)], "channel"), (i,))
        for i, name in enumerate(labels)
    }
    extent = [_length(group["grid"].get(axis), n) for axis, n in zip(_AXES, grid_shape)]
    layout = FieldLayout(
        fields=labels,
        n_samples=len(seeds),
        n_times=n_times,
        grid_shape=grid_shape,
        domain_extent=tuple(extent),
        boundary=(_SEED_BOUNDARY.get(about, "unknown"),) * len(grid_shape),
        times=_times(group["grid"].get("t"), n_times),
    )
    return layout, table, {"seeds": f"{seeds[0]} to {seeds[-1]}", "dtype": str(group["data"].dtype)}


def _seeds_of(file: Any) -> list[str]:
    """Return the names of the groups that hold one sample each; there may be other groups."""
    return sorted(name for name in file if name.isdigit())


def _of_incompressible(path: Path, file: Any) -> Found:
    n_samples, n_times, *points, n_components = file["velocity"].shape
    grid_shape = tuple(points)
    moving, still = (n_samples, n_times, *grid_shape), (n_samples, *grid_shape)
    table: dict[str, StoredField] = {}
    constant: tuple[str, ...] = ()
    for name, size in (("velocity", n_components), ("particles", 1), ("force", n_components)):
        if name not in file:
            continue
        in_time = name != "force"
        expected = (*(moving if in_time else still), size)
        _check_shape(path, name, file[name].shape, expected)
        labels = _AXES[:size] if size > 1 else [""]
        axes = ("sample", *(["time"] * in_time), *_AXES[: len(grid_shape)], "channel")
        is_complex = is_complex_type(file[name].dtype)
        place = StoredField(name, axes)
        found = components_of(name, place, labels, (size,), is_complex=is_complex)
        table |= found
        constant += () if in_time else tuple(found)
    times = part(file["t"], 0) if file["t"].ndim == 2 else file["t"]
    layout = FieldLayout(
        fields=tuple(table),
        n_samples=n_samples,
        n_times=n_times,
        grid_shape=grid_shape,
        domain_extent=(1.0,) * len(grid_shape),
        boundary=("dirichlet",) * len(grid_shape),
        times=_times(times, n_times),
        constant=constant,
    )
    return layout, table, {"dtype": str(file["velocity"].dtype)}


def _array_boundary(path: Path, fields: tuple[str, ...], n_dims: int) -> str:
    if "nu" in fields:
        return "dirichlet"
    if "tensor" in fields:
        return "periodic" if n_dims == 1 else "unknown"
    words = path.stem.lower().split("_")
    return "periodic" if "periodic" in words else "open" if "trans" in words else "unknown"


def _check_shape(path: Path, name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(got) != tuple(expected):
        rule = f"`{name}` of {path} must have the shape {tuple(expected)}"
        raise ValueError(message(rule, tuple(got), "Download the file again."))


def _length(centres: Any, n: int) -> float:
    """Return the length of an axis of n equal cells around these points, or 1 if it is unknown."""
    if centres is None or centres.shape != (n,) or n < 2:
        return 1.0
    ends = part(centres, slice(None, None, n - 1)).astype(np.float64)
    return float(f"{abs(ends[1] - ends[0]) * n / (n - 1):.6g}")  # they are stored in float32


def _times(stored: Any, n_times: int) -> tuple[float, ...] | None:
    """Return the first `n_times` times, because the t-coordinate has one more than the frames."""
    if stored is None or stored.shape[0] not in (n_times, n_times + 1):
        return None
    known = stored if isinstance(stored, np.ndarray) else part(stored, slice(n_times))
    return tuple(float(t) for t in known[:n_times])


def _number(value: Any) -> float | None:
    array = np.asarray(value)
    return float(array) if array.dtype.kind in "iuf" and array.size == 1 else None
