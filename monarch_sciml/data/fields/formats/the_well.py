"""The Well's HDF5 files: scalar, vector and tensor fields on a grid.

Letters: N trajectories, T times, then the grid of D axes, then D or D x D components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._reading import open_hdf5, part
from monarch_sciml.data.fields.formats.table import (
    StoredField,
    TableFields,
    components_of,
)
from monarch_sciml.data.fields.source import FieldLayout, check_field_count
from monarch_sciml.data.reading import is_complex_type

_ORDERS = ("t0_fields", "t1_fields", "t2_fields")
_KINDS = ("wall", "open", "periodic")


class TheWellFile(TableFields):
    """Read a file of The Well (Ohana et al., 2024).

    The fields are those of `t0_fields` (scalars, by their name), of `t1_fields` (vectors, with one
    field for each component: velocity_x, velocity_y) and of `t2_fields` (tensors: D_xx, D_xy, ...),
    in the file's order. A field without `time_varying` is repeated in every frame, one without
    `sample_varying` in every trajectory, and one without `dim_varying` along that axis.

    Parameters
    ----------
    path
        The file, one of those of a split.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind or truncated, or its arrays do not fit its `dimensions`.

    Notes
    -----
    The boundary of an axis is "wall" if either end is one, else "open" if either end is, else
    "periodic". It is "open" if the file states none, as in The Well's own reader. A condition on
    several axes counts as a wall if the whole side is one, and as open or periodic if any part of
    the side is. The length of a periodic axis includes its last cell. Times that differ between
    trajectories are left out (`dt` is None). Scalars are parameters in `describe`, no fields.

    References
    ----------
    Ohana et al., The Well, NeurIPS 2024, appendix; PolymathicAI/the_well: docs/data_format.md, and
    the_well/data/datasets.py for names of components and boundaries.
    """

    format: ClassVar[str] = "The Well"

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        with open_hdf5(path) as file:
            if not is_the_well(file):
                rule = f"{path} must hold `dimensions` and `t0_fields`, `t1_fields` or `t2_fields`"
                raise ValueError(message(rule, sorted(file)[:8], "Check where it came from."))
            dims = [_text(name) for name in file["dimensions"].attrs["spatial_dims"]]
            check_field_count(len(dims) ** 2)
            grid_shape = tuple(int(file["dimensions"][name].shape[-1]) for name in dims)
            n_samples = int(file.attrs["n_trajectories"])
            n_times = int(file["dimensions/time"].shape[-1])
            table = dict(_fields(path, file, dims, (n_samples, n_times, *grid_shape)))
            boundary = tuple(_boundary(file, name) for name in dims)
            extent = [_length(file["dimensions"][d], kind) for d, kind in zip(dims, boundary)]
            layout = FieldLayout(
                fields=tuple(table),
                n_samples=n_samples,
                n_times=n_times,
                grid_shape=grid_shape,
                domain_extent=tuple(extent),
                boundary=boundary,
                times=_times(file["dimensions/time"]),
                constant=tuple(name for name, stored in table.items() if "time" not in stored.axes),
            )
            about = {
                "dataset": _text(file.attrs.get("dataset_name", "unnamed")),
                "grid_type": _text(file.attrs.get("grid_type", "unknown")),
                "axes": dims,
                "parameters": _parameters(file),
            }
        super().__init__(path, layout, about, table)


def is_the_well(file: Mapping[str, Any]) -> bool:
    """Return whether an open HDF5 file has the groups of The Well."""
    return "dimensions" in file and any(order in file for order in _ORDERS)


def _fields(
    path: Path, file: Any, dims: list[str], sizes: tuple[int, ...]
) -> Iterator[tuple[str, StoredField]]:
    """Return name and place of every component of every field; `sizes` is (N, T, *grid)."""
    for rank, order in enumerate(_ORDERS):
        group = file.get(order, {})
        labels = ["".join(axes) for axes in product(dims, repeat=rank)]
        for name in map(_text, group.attrs["field_names"] if group else ()):
            if name not in group:
                rule = f"`{order}` of {path} must hold its `field_names`"
                raise ValueError(message(rule, f"no {name}", "Download the file again."))
            dataset = group[name]
            attrs = dataset.attrs
            in_space = tuple(map(bool, attrs.get("dim_varying", [True] * len(dims))))
            there = (bool(attrs["sample_varying"]), bool(attrs["time_varying"]), *in_space)
            expected = tuple(size for size, varies in zip(sizes, there) if varies)
            shape, n_axes = dataset.shape, len(expected)
            # the components of a tensor are stored as (D, D), or as (D²,)
            n_components = int(np.prod(shape[n_axes:], dtype=int))
            if shape[:n_axes] != expected or n_components != len(labels):
                rule = f"`{order}/{name}` of {path} must have the shape {expected}"
                got = f"{shape} with {len(labels)} components a point"
                raise ValueError(message(rule, got, "Download the file again."))
            axes = tuple(a for a, varies in zip(("sample", "time", *"xyz"), there) if varies)
            components = shape[n_axes:]
            place = StoredField(f"{order}/{name}", (*axes, *["channel"] * len(components)))
            is_complex = is_complex_type(dataset.dtype)
            yield from components_of(name, place, labels, components, is_complex=is_complex).items()


def _boundary(file: Any, axis: str) -> str:
    """Return the condition along an axis, the less regular one if its two ends differ."""
    ends = {0: "open", -1: "open"}
    for condition in file.get("boundary_conditions", {}).values():
        attrs = condition.attrs
        named = attrs["associated_dims"]
        named = [_text(named)] if isinstance(named, str | bytes) else [_text(d) for d in named]
        kind = _text(attrs["bc_type"]).lower()
        if axis not in named or kind not in _KINDS:
            continue
        for end in ends:
            if len(named) == 1 or _covers(condition, named.index(axis), len(named), end, kind):
                ends[end] = kind
    return min(ends.values(), key=_KINDS.index)


def _covers(condition: Any, axis: int, n_axes: int, end: int, kind: str) -> bool:
    """Return whether a condition on several axes holds at one end of an axis."""
    mask = condition["mask"]
    # masks may begin with axes of samples and times: take the first of each
    index: list[Any] = [0] * (mask.ndim - n_axes) + [slice(None)] * n_axes
    index[mask.ndim - n_axes + axis] = mask.shape[mask.ndim - n_axes + axis] - 1 if end else 0
    side = part(mask, tuple(index)).astype(bool)
    return bool(side.all() if kind == "wall" else side.any())


def _length(points: Any, kind: str) -> float:
    """Return the length of an axis in the unit of its points, with the last cell if it is
    periodic.
    """
    row = part(points, (0,) * (points.ndim - 1)).astype(np.float64)
    if len(row) < 2:
        return 1.0
    span = abs(row[-1] - row[0])
    return float(f"{span * len(row) / (len(row) - 1) if kind == 'periodic' else span:.6g}")


def _times(stored: Any) -> tuple[float, ...] | None:
    """Return the times of all trajectories; None when they differ."""
    rows = np.atleast_2d(part(stored))
    alike = np.allclose(rows, rows[:1], rtol=1e-6, atol=0)
    return tuple(float(t) for t in rows[0]) if alike else None


def _parameters(file: Any) -> dict[str, Any]:
    """Return the simulation parameters of the file, and its scalars with one value."""
    names = map(_text, file.attrs.get("simulation_parameters", ()))
    found = {name: np.asarray(file.attrs[name]) for name in names if name in file.attrs}
    for name, scalar in file.get("scalars", {}).items():
        if scalar.size == 1:
            found.setdefault(name, part(scalar))
    return {
        k: float(v.reshape(())) for k, v in found.items() if v.size == 1 and v.dtype.kind in "biuf"
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
