"""Write files of generated fields in batches, and resume them after the process was killed.

Letters: N samples, T times, F fields, then the grid.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml import __version__
from monarch_sciml._checks import message
from monarch_sciml._files import refusal, remove_leftovers, temporary_path
from monarch_sciml.data.fields.formats.monarch_h5 import FORMAT, VERSION, plain_attributes
from monarch_sciml.data.fields.source import GRID_AXES, FieldLayout
from monarch_sciml.data.hdf5 import writable_hdf5


class FieldWriter:
    """Write a file of fields batch by batch; an interrupted run continues where it stopped.

    The samples are written to a hidden file beside `path`, whose space is reserved at once. When
    all samples are written, it is renamed to `path`. If the process is killed, the same call later
    finds the samples already written.

    Parameters
    ----------
    path
        The file to make.
    layout
        Sizes and coordinates.
    generator, parameters, seed
        Name, JSON values and number that determine the samples. An unfinished file made with other
        values is refused.
    dtype
        Type of the stored values, torch.float32 or torch.float64.
    overwrite
        Whether to replace an existing file.
    coordinates
        Grid points along each axis. By default they reach from 0 to the extent of the domain, which
        is left out on a periodic axis.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When an unfinished file of other parameters is there, or another process writes it.
    OSError
        When the disk has no room for the whole file.

    Notes
    -----
    Values are stored contiguously, uncompressed. A batch changes raw data only, never the metadata,
    so that a process killed at any moment leaves a valid file; the mark of a sample is written
    after its values have reached the disk. They are written directly to their places in the file
    instead of through HDF5, which reports a failed write too late.
    """

    def __init__(
        self,
        path: str | Path,
        layout: FieldLayout,
        *,
        generator: str,
        parameters: Mapping[str, Any],
        seed: int,
        dtype: torch.dtype = torch.float32,
        overwrite: bool = False,
        coordinates: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.path, self.layout, self.dtype = Path(path), layout, dtype
        if self.path.exists() and not overwrite:
            rule = "the output file must not exist yet"
            raise FileExistsError(message(rule, str(path), "Remove it, or pass another name."))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        attributes = _attributes(layout, generator, parameters, seed)
        if not self.part.exists():
            _create(self.part, layout, attributes, dtype, coordinates or _grid_points(layout))
        self._file = _open_part(self.part, layout, attributes, dtype)  # open: it holds the lock
        self._marks: np.ndarray = self._file["completed"][()]

    @property
    def missing(self) -> list[range]:
        """The samples not yet written, as unbroken ranges in order."""
        return runs(self._marks == 0)

    def write(self, start: int, values: Tensor) -> None:
        """Write samples `start`, `start` + 1, ...

        Parameters
        ----------
        start
            Index of the first sample.
        values
            Fields (n, T, F, *grid), on any device.

        Raises
        ------
        ValueError
            When the shape does not fit, or a value is NaN, infinite or too large for the type.
        OSError
            When the data cannot be written. Samples written before are kept.
        """
        layout, stop = self.layout, start + len(values)
        expected = (layout.n_times, len(layout.fields), *layout.grid_shape)
        if tuple(values.shape[1:]) != expected or not 0 <= start < stop <= layout.n_samples:
            rule = f"`values` must have shape (n, {', '.join(map(str, expected))})"
            got = f"{tuple(values.shape)} for samples from {start} of {layout.n_samples}"
            raise ValueError(message(rule, got, "Write what the layout declares."))
        if not torch.isfinite(values).all():
            rule = "`values` must be finite"
            raise ValueError(message(rule, "NaN or infinity", "Take smaller steps."))
        cast = values.detach().cpu().to(self.dtype)
        if cast.dtype != values.dtype and not torch.isfinite(cast).all():
            rule = f"the values must fit {str(self.dtype).removeprefix('torch.')}"
            got = f"{float(values.abs().max()):.3g}"
            raise ValueError(message(rule, got, "Pass dtype float64, or scale the data."))
        array = cast.numpy()
        fields = [self._file["fields"][name] for name in layout.fields]
        marks = np.ones(stop - start, dtype=np.uint8)
        try:
            self._store(start, [(field, array[:, :, i]) for i, field in enumerate(fields)])
            self._store(start, [(self._file["completed"], marks)])
        except OSError as error:
            rule = f"{self.part} must be writable"
            remedy = "Free space on the disk and repeat the command: it goes on where it stopped."
            raise OSError(message(rule, str(error).splitlines()[0][:160], remedy)) from error
        self._marks[start:stop] = 1

    def _store(self, start: int, data: Sequence[tuple[Any, np.ndarray]]) -> None:
        """Put arrays into contiguous data sets, from their entry `start` on, and onto the disk."""
        with self.part.open("r+b") as stream:
            for stored, array in data:
                entry = stored.dtype.itemsize * math.prod(stored.shape[1:])  # bytes
                stream.seek(stored.id.get_offset() + start * entry)
                stream.write(np.ascontiguousarray(array).data)
            stream.flush()
            os.fsync(stream.fileno())

    def __enter__(self) -> FieldWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        n_missing = sum(len(gap) for gap in self.missing)
        self._file.close()
        if kind is None and not n_missing:
            os.replace(self.part, self.path)
        elif n_missing == self.layout.n_samples:
            self.part.unlink(missing_ok=True)


def _attributes(
    layout: FieldLayout, generator: str, parameters: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    n_axes = len(layout.grid_shape)
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "fields": json.dumps(layout.fields),
        "grid": "any" if layout.uneven else "uniform",
        "units": "dimensionless",
        "boundary": json.dumps(layout.boundary),
        "domain_extent": np.array(layout.domain_extent, dtype=np.float64),
        **({"constant": json.dumps(layout.constant)} if layout.constant else {}),
        **({"inputs": json.dumps(layout.inputs)} if layout.inputs else {}),
        **({"axes": json.dumps(layout.axes)} if layout.axes != GRID_AXES[:n_axes] else {}),
        "dt": np.nan if layout.dt is None else layout.dt,
        "generator": generator,
        "parameters": json.dumps(parameters, sort_keys=True),
        "seed": seed,
        "package_version": __version__,
    }


def _grid_points(layout: FieldLayout) -> list[np.ndarray]:
    axes = zip(layout.grid_shape, layout.domain_extent, layout.boundary)
    return [np.linspace(0.0, extent, n, endpoint=kind != "periodic") for n, extent, kind in axes]


def _create(
    part: Path,
    layout: FieldLayout,
    attributes: dict[str, Any],
    dtype: torch.dtype,
    grid_points: Sequence[np.ndarray],
) -> None:
    """Create a file with all its space reserved and no sample written, or no file at all."""
    import h5py

    remove_leftovers(part.parent)
    fresh = temporary_path(part)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # the same samples make the same bytes
    shape = (layout.n_samples, layout.n_times, *layout.grid_shape)
    try:
        with writable_hdf5(fresh) as file:
            for key, value in attributes.items():
                file.attrs[key] = _stored(value)
            coordinates, fields = file.create_group("coordinates"), file.create_group("fields")
            unknown = [np.nan] * layout.n_times if layout.n_times > 1 else [0.0]
            times = layout.times or unknown
            coordinates.create_dataset("time", data=np.array(times, dtype=np.float64))
            for axis, points in zip(layout.axes, grid_points):
                coordinates.create_dataset(axis, data=np.asarray(points, dtype=np.float64))
            file.create_dataset("completed", data=np.zeros(layout.n_samples, dtype=np.uint8))
            stored = h5py.h5t.py_create(_numpy_type(dtype))
            for name in layout.fields:
                space = h5py.h5s.create_simple(shape)
                h5py.h5d.create(fields.id, name.encode(), stored, space, creation)
                fields[name].attrs["units"] = _stored("dimensionless")
        with fresh.open("r+b") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, fresh.stat().st_size)
            os.fsync(stream.fileno())
        os.replace(fresh, part)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise refusal(part.parent, error) or error from error
        size = np.prod(shape, dtype=np.int64) * len(layout.fields) * dtype.itemsize
        rule = f"the disk must have room for {size / 2**20:.0f} MiB at {part.parent}"
        raise OSError(message(rule, str(error).splitlines()[0][:160], "Free space.")) from error
    finally:
        fresh.unlink(missing_ok=True)


def _open_part(
    part: Path, layout: FieldLayout, attributes: dict[str, Any], dtype: torch.dtype
) -> Any:
    """Open an unfinished file for writing after checking that it is of the same problem."""
    import h5py

    file: Any
    try:
        file = h5py.File(part, "r+")
    except OSError as error:
        rule = f"the unfinished file {part} must be readable and free"
        cause = str(error).splitlines()[0][:160]
        raise ValueError(message(rule, cause, "End the other process, or remove it.")) from error
    found = plain_attributes(file)
    shape = (layout.n_samples, layout.n_times, *layout.grid_shape)
    odd = [key for key, value in attributes.items() if not _equal(found.get(key), value)]
    for name in layout.fields if not odd else ():
        stored = file["fields"][name]
        if stored.shape != shape or stored.dtype != _numpy_type(dtype):
            odd.append("shape")
    if odd:
        file.close()
        rule = f"the unfinished file {part} must be of the same problem"
        remedy = "Repeat the earlier command, or remove that file."
        raise ValueError(message(rule, f"another `{odd[0]}`", remedy))
    return file


def runs(marks: np.ndarray, start: int = 0) -> list[range]:
    """Return the unbroken runs of true `marks` (N,) from index `start` on."""
    padded = np.concatenate([[False], marks[start:], [False]]).astype(np.int8)
    changes = start + np.flatnonzero(np.diff(padded))
    return [range(int(a), int(b)) for a, b in zip(changes[::2], changes[1::2])]


def _equal(first: Any, second: Any) -> bool:
    if first is None:
        return False
    if isinstance(second, str):
        return first == second
    return bool(np.array_equal(np.asarray(first), np.asarray(second), equal_nan=True))


def _stored(value: Any) -> Any:
    """Return text as a string of fixed length, which HDF5 stores in the header of the object."""
    return np.bytes_(value.encode()) if isinstance(value, str) else value


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(str(dtype).removeprefix("torch."))
