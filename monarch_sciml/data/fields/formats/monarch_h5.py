"""The file format of this package for generated fields, self-describing HDF5, and its reader.

Layout, version 1:

    /                        attributes `format`, `format_version`, `fields`, `units`, `boundary`,
                             `domain_extent`, `dt`, `grid`, `generator`, `parameters` (JSON),
                             `seed`, `package_version`; text as UTF-8 of fixed length; `constant`
                             names the fields that are the same in every frame, `inputs` those that
                             are given and `axes` the axes of the grid, where they are not x, y, z
    /fields/NAME             (N, T, *grid), float32 or float64, attribute `units`
    /coordinates/time        (T,), NaN where not known; /coordinates/x, y, z: the grid points
                             along each axis
    /completed               (N,), 1 where a sample is written

Letters: N samples, T times, F fields, then the grid. Everything is dimensionless. The grid points
of a periodic axis leave out its end, those of another include it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml._reading import open_hdf5, part
from monarch_sciml.data.fields.source import GRID_AXES, FieldLayout, FieldSource

FORMAT = "monarch_sciml/fields"
VERSION = 1


class FieldFile(FieldSource):
    """Read a file of generated fields.

    The file is opened for each read and closed again: workers of a DataLoader may be forked, and
    only the window asked for is held in memory.

    Parameters
    ----------
    path
        A file written by `FieldWriter`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind or a later version, truncated, or unfinished.
    """

    format: ClassVar[str] = FORMAT

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        with open_hdf5(path) as file:
            attributes = plain_attributes(file)
            _check_attributes(path, attributes)
            names = tuple(json.loads(attributes["fields"]))
            shape = file["fields"][names[0]].shape
            axes = tuple(json.loads(attributes.get("axes", "[]"))) or GRID_AXES[: len(shape) - 2]
            n_missing = int((part(file["completed"]) == 0).sum())
            layout = FieldLayout(
                fields=names,
                n_samples=shape[0],
                n_times=shape[1],
                grid_shape=tuple(shape[2:]),
                domain_extent=tuple(float(x) for x in attributes["domain_extent"]),
                boundary=tuple(json.loads(attributes["boundary"])),
                times=_known(part(file["coordinates/time"]).tolist()),
                constant=tuple(json.loads(attributes.get("constant", "[]"))),
                inputs=tuple(json.loads(attributes.get("inputs", "[]"))),
                axes=axes,
                coordinates=tuple(tuple(part(file["coordinates"][axis]).tolist()) for axis in axes),
            )
            about = {key: attributes[key] for key in ("generator", "package_version")}
            about |= {"seed": int(attributes["seed"]), "dtype": str(file["fields"][names[0]].dtype)}
            about["parameters"] = json.loads(attributes["parameters"])
        if n_missing:
            rule = f"{path} must hold all its {shape[0]} samples"
            raise ValueError(message(rule, f"{n_missing} unwritten", "Finish generating it."))
        super().__init__(path, layout, about)

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        with open_hdf5(self.path) as file:
            return torch.from_numpy(part(file["fields"][field], (samples, times)))


def _known(times: list[float]) -> tuple[float, ...] | None:
    """Return the times of the frames; None if they are unknown, which is stored as NaN."""
    return None if any(map(math.isnan, times)) else tuple(times)


def plain_attributes(file: Any) -> dict[str, Any]:
    """Attributes of an open HDF5 file or group, strings of fixed length as text."""
    attributes = dict(file.attrs)
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}


def _check_attributes(path: Path, attributes: dict[str, Any]) -> None:
    if attributes.get("format") != FORMAT:
        rule = f"{path} must be a file of fields written by monarch_sciml"
        got = f"HDF5 with attributes {sorted(attributes)[:5]}"
        raise ValueError(message(rule, got, "Make one with `monarch-sciml generate`."))
    if int(attributes["format_version"]) > VERSION:
        rule = f"{path} must be of format version {VERSION} or earlier"
        raise ValueError(message(rule, int(attributes["format_version"]), "Update monarch_sciml."))
