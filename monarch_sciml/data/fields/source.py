"""The interface of the readers of all file formats of PDE fields.

Letters: N samples, T times, F fields, then the grid: (N, T, F, *grid).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message, one_of
from monarch_sciml._memory import check_memory
from monarch_sciml._reading import reading

GRID_AXES = ("x", "y", "z")
MOST_FIELDS = 10_000
BOUNDARIES = ("periodic", "dirichlet", "neumann", "wall", "open", "unknown")


@dataclass(frozen=True)
class FieldLayout:
    """State the sizes and coordinates of a set of fields on a regular grid.

    `times` is None if the file does not state them; lengths and times are dimensionless. The fields
    in `constant` are the same in every frame (a forcing, a coefficient), and those in `inputs` are
    given rather than predicted, if the file states it. `axes` names the axes of the grid in the
    order in which they are stored, x, y, z by default; `coordinates` are their ascending points, or
    None if the file does not state them.
    """

    fields: tuple[str, ...]
    n_samples: int
    n_times: int
    grid_shape: tuple[int, ...]
    domain_extent: tuple[float, ...]
    boundary: tuple[str, ...]
    times: tuple[float, ...] | None = None
    constant: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    coordinates: tuple[tuple[float, ...] | None, ...] = ()

    def __post_init__(self) -> None:
        n_axes = len(self.grid_shape)
        object.__setattr__(self, "axes", self.axes or GRID_AXES[:n_axes])
        object.__setattr__(self, "coordinates", self.coordinates or (None,) * n_axes)
        for kind in self.boundary:
            one_of("boundary", kind, BOUNDARIES)
        n_dims = len(self.grid_shape)
        for name in ("domain_extent", "boundary", "axes", "coordinates"):
            value = getattr(self, name)
            if len(value) != n_dims:
                rule = f"`{name}` must have one entry for each of the {n_dims} grid axes"
                raise ValueError(message(rule, value, "Complete it."))
        if not all(map(math.isfinite, self.domain_extent)):
            rule = "`domain_extent` must be finite"
            raise ValueError(message(rule, self.domain_extent, "Correct it."))
        check_field_count(len(self.fields))
        if self.times is not None and len(self.times) != self.n_times:
            rule = f"`times` must have one entry for each of the {self.n_times} frames"
            raise ValueError(message(rule, len(self.times), "Complete it."))

    @property
    def varying(self) -> tuple[str, ...]:
        """The fields that change in time, or all fields if none does."""
        return tuple(name for name in self.fields if name not in self.constant) or self.fields

    @property
    def pair(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The default fields of input and target."""
        given = self.inputs or tuple(
            name for name in self.fields if _array_of(name) == _array_of(self.fields[0])
        )
        return given, tuple(name for name in self.fields if name not in given)

    @property
    def uneven(self) -> tuple[str, ...]:
        """The axes of the grid whose points are not equally spaced."""
        points = zip(self.axes, self.coordinates)
        return tuple(axis for axis, values in points if values and not evenly_spaced(values))

    @property
    def dt(self) -> float | None:
        """Time between frames; None for a single frame, unknown or uneven times."""
        if self.times is None or self.n_times < 2:
            return None
        steps = [b - a for a, b in pairwise(self.times)]
        even = max(steps) - min(steps) <= 1e-4 * abs(steps[0])
        return sum(steps) / len(steps) if even else None


def with_boundary(layout: FieldLayout, boundary: Sequence[str]) -> FieldLayout:
    """Return a layout with other conditions at the ends of the axes.

    A periodic axis is longer by one step than the distance from its first to its last point, where
    that distance was taken for its length.
    """
    changed = replace(layout, boundary=tuple(boundary))
    extent = list(changed.domain_extent)
    for axis, (kind, points) in enumerate(zip(changed.boundary, changed.coordinates)):
        span = points[-1] - points[0] if points else 0.0
        if kind == "periodic" and span > 0 and math.isclose(extent[axis], span, rel_tol=1e-6):
            extent[axis] = round(span * len(points or ()) / (len(points or ()) - 1), 9)
    return replace(changed, domain_extent=tuple(extent))


class FieldSource(ABC):
    """Read windows of fields from a file, which is not kept open between two reads.

    Parameters
    ----------
    path
        The file.
    layout
        Sizes and coordinates of the fields.
    about
        Further information in the file (generator, parameters, seed), for `describe`.
    """

    format: ClassVar[str]

    def __init__(self, path: Path, layout: FieldLayout, about: dict[str, Any]) -> None:
        self.path, self.layout, self.about = path, layout, about

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields."""
        return self.layout.fields

    @property
    def n_samples(self) -> int:
        """Number of samples (trajectories)."""
        return self.layout.n_samples

    @property
    def n_times(self) -> int:
        """Number of frames of each sample; 1 for steady fields."""
        return self.layout.n_times

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Points along each axis of the grid."""
        return self.layout.grid_shape

    @property
    def domain_extent(self) -> tuple[float, ...]:
        """Length of the domain along each axis, dimensionless."""
        return self.layout.domain_extent

    @property
    def boundary(self) -> tuple[str, ...]:
        """Boundary condition along each axis, "unknown" if the file does not state it."""
        return self.layout.boundary

    @property
    def dt(self) -> float | None:
        """Time between frames, dimensionless; None if there is none."""
        return self.layout.dt

    def read(
        self,
        samples: slice = slice(None),
        times: slice = slice(None),
        fields: Sequence[str] | None = None,
    ) -> Tensor:
        """Read a window.

        Parameters
        ----------
        samples, times
            The samples and the frames to read, with steps ≥ 1.
        fields
            Names of the fields in the order of the result; all by default.

        Returns
        -------
        Fields (N, T, F, *grid), contiguous; floating point as stored, booleans and integers as
        float32.

        Raises
        ------
        ValueError
            When a field is unknown, a step is below 1, the file cannot be read, or a value is NaN
            or infinite.
        """
        samples = ascending("samples", samples, self.n_samples)
        times = ascending("times", times, self.n_times)
        names = self.fields if fields is None else tuple(fields)
        for name in names:
            one_of("fields", name, self.fields)
        self._check_memory(len(names), samples, times)
        with self._reading():
            loaded = list(self._load_all(names, samples, times))
        checked = [self._checked(*pair, samples) for pair in zip(names, loaded)]
        # F of (N, T, *grid) -> (N, T, F, *grid)
        return torch.stack(checked, dim=2).contiguous()

    def _reading(self) -> AbstractContextManager[None]:
        """Turn an error of a file library into one line that names the file."""
        return reading(self.path)

    def _check_memory(self, n_fields: int, samples: slice, times: slice) -> None:
        """Refuse a window that will not fit into memory, before it is read."""
        counts = (len(range(part.start, part.stop, part.step)) for part in (samples, times))
        values = math.prod((n_fields, *counts, *self.grid_shape))
        remedy = "Read fewer samples at once (in_memory: false), or check the sizes in the file."
        check_memory(f"the fields of {self.path}", 4 * values, remedy=remedy)

    def _load_all(self, fields: Sequence[str], samples: slice, times: slice) -> Iterable[Tensor]:
        """Read fields one after the other; formats that store them together override this."""
        return (self._load(name, samples, times) for name in fields)

    @abstractmethod
    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        """Read one field (N, T, *grid); both slices have start, stop and step set."""

    def _checked(self, name: str, values: Tensor, samples: slice) -> Tensor:
        if not (values.is_floating_point() or values.is_complex()):
            return values.to(torch.float32)
        bad = ~torch.isfinite(values).flatten(1)
        if bad.any():
            first = samples.start + samples.step * int(bad.any(dim=1).nonzero()[0])
            rule = f"`{name}` of {self.path} must be finite"
            got = f"{int(bad.sum())} NaN or infinite values, the first in sample {first}"
            raise ValueError(message(rule, got, "Leave that sample out, or write the file again."))
        return values

    def describe(self) -> dict[str, Any]:
        """Return a description of the file as plain values for display."""
        layout, times = self.layout, self.layout.times
        constant: dict[str, Any] = {"inputs": list(layout.inputs)} if layout.inputs else {}
        constant |= {"constant": list(layout.constant)} if layout.constant else {}
        return {
            "format": self.format,
            "path": str(self.path),
            "size_bytes": self.path.stat().st_size,
            "fields": list(layout.fields),
            **constant,
            "n_samples": layout.n_samples,
            "n_times": layout.n_times,
            "time_range": None if times is None else [times[0], times[-1]],
            "dt": layout.dt,
            "grid_shape": list(layout.grid_shape),
            "domain_extent": list(layout.domain_extent),
            "boundary": list(layout.boundary),
            **self.about,
        }


def check_field_count(count: int) -> None:
    """Refuse more fields than any set has, before their names are made."""
    if count > MOST_FIELDS:
        rule = f"a set may have at most {MOST_FIELDS} fields"
        raise ValueError(message(rule, count, "Split it, or check which axis the channels are."))


def _array_of(field: str) -> str:
    """Return the name of a field without its complex part and the number of its channel."""
    name = field.removesuffix(".real").removesuffix(".imag")
    array, _, channel = name.rpartition("_")
    return array if array and channel.isdigit() else name


def evenly_spaced(points: Sequence[float]) -> bool:
    """Return whether ascending points are equally spaced within 0.1 % and single precision."""
    steps = [b - a for a, b in pairwise(points)]
    rounding = 4 * 2**-24 * max(map(abs, points), default=0.0)
    return not steps or max(steps) - min(steps) <= 1e-3 * max(steps) + rounding


def ascending(name: str, window: slice, size: int) -> slice:
    """Return the slice with start, stop and step filled in; ValueError for a step below 1."""
    start, stop, step = window.indices(size)
    if step < 1:
        raise ValueError(message(f"`{name}` must have a step of at least 1", step, "Flip later."))
    return slice(start, max(start, stop), step)
