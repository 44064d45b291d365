"""Read windows of fields by means of a table of the places where they are stored.

Letters: N samples, T times, F fields, then the grid, then components: (N, T, F, *grid).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._reading import open_hdf5, part
from monarch_sciml.data.fields.source import FieldLayout, FieldSource
from monarch_sciml.data.reading import Reader, real_names, real_part


@dataclass(frozen=True)
class StoredField:
    """Describe the place of a field: its array, the meaning of the axes, and its component.

    Attributes
    ----------
    array
        Name of the array.
    axes
        Meaning of each axis of the array, in order: "sample", "time", an axis of the grid, "1" for
        an axis of one entry, or "channel". A field without an axis of samples, times or the grid is
        constant along that axis.
    component
        Index along each "channel" axis.
    """

    array: str
    axes: tuple[str, ...]
    component: tuple[int, ...] = ()

    def index(self, samples: slice, times: slice, *, cut: bool) -> tuple[slice | int, ...]:
        """Return the index of a window of the array; with `cut` that of one component alone."""
        windows = {"sample": samples, "time": times}
        components = iter(self.component)
        index: list[slice | int] = []
        for axis in self.axes:
            if axis == "channel":
                index.append(next(components) if cut else slice(None))
            else:
                index.append(0 if axis == "1" else windows.get(axis, slice(None)))
        return tuple(index)

    def pick(self) -> tuple[slice | int, ...]:
        """Return the index of the component in a window that was not cut."""
        components = iter(self.component)
        kept = (axis for axis in self.axes if axis != "1")
        return tuple(next(components) if axis == "channel" else slice(None) for axis in kept)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The axes of one component."""
        return tuple(axis for axis in self.axes if axis not in ("1", "channel"))


class TableFields(FieldSource):
    """Read fields by a table of their places in a file, which is opened anew for each read.

    Only the requested window is read, and only once for all requested components of an array.

    Parameters
    ----------
    path, layout, about
        The arguments of `FieldSource` with the same meaning.
    table
        Place of each field of the layout. The fields of complex arrays have the names that
        `real_names` returns.
    flipped
        Axes along which the arrays are stored backwards.
    """

    def __init__(
        self,
        path: Path,
        layout: FieldLayout,
        about: dict[str, Any],
        table: Mapping[str, StoredField],
        *,
        flipped: Sequence[str] = (),
    ) -> None:
        super().__init__(path, layout, about)
        self._table, self._flipped = dict(table), tuple(flipped)

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        """Open the HDF5 file and yield a function that reads a window of one of its arrays."""
        with open_hdf5(self.path) as file:
            yield lambda name, index: part(file[name], index)

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        return next(iter(self._load_all([field], samples, times)))

    def _load_all(self, fields: Sequence[str], samples: slice, times: slice) -> list[Tensor]:
        windows: dict[str, np.ndarray] = {}
        loaded = []
        arrays = Counter(self._table[name].array for name in fields)
        stored_times = _mirrored(times, self.n_times) if "time" in self._flipped else times
        with self._opened() as read:
            for name in fields:
                stored = self._table[name]
                lone = arrays[stored.array] == 1  # its component is cut out while reading
                if stored.array not in windows:
                    windows[stored.array] = self._window(read, stored, samples, stored_times, lone)
                window = windows[stored.array]
                if not lone and stored.component:
                    window = window[stored.pick()]
                loaded.append(self._full(name, window, samples, times))
        return loaded

    def _window(
        self, read: Reader, stored: StoredField, samples: slice, times: slice, lone: bool
    ) -> np.ndarray:
        """Read part of an array in its own axes, only the component if a single field is
        requested.
        """
        return read(stored.array, stored.index(samples, times, cut=lone))

    def _full(self, name: str, window: np.ndarray, samples: slice, times: slice) -> Tensor:
        """Bring the axes of one component into the order (N, T, *grid), repeating it along missing
        ones.
        """
        kept, layout = self._table[name].kept, self.layout
        order = ("sample", "time", *layout.axes)
        if kept != order:
            window = window.transpose([kept.index(axis) for axis in order if axis in kept])
            lacking = tuple(place for place, axis in enumerate(order) if axis not in kept)
            window = np.expand_dims(window, lacking)
        turned = tuple(order.index(axis) for axis in self._flipped if axis in kept)
        if turned:
            window = np.flip(window, turned).copy()
        counts = [len(range(part.start, part.stop, part.step)) for part in (samples, times)]
        values = torch.from_numpy(real_part(window, name))
        return values.expand(*counts, *layout.grid_shape)


def _mirrored(window: slice, size: int) -> slice:
    """Return the entries of an axis that is stored backwards, from the last requested to the
    first.
    """
    wanted = range(window.start, window.stop, window.step)
    if not wanted:
        return slice(0, 0, 1)
    return slice(size - 1 - wanted[-1], size - wanted[0], window.step)


def components_of(
    name: str,
    stored: StoredField,
    labels: Sequence[str],
    shape: Sequence[int],
    *,
    is_complex: bool,
) -> dict[str, StoredField]:
    """Return the fields of an array, one for each label and each part of a complex number.

    Parameters
    ----------
    name
        First part of the names of the fields: `name`, `name_LABEL`, `name_LABEL.real`.
    stored
        Place of the array, without a component.
    labels
        Names of the components; [""] for a scalar without an axis of components.
    shape
        Sizes of the "channel" axes.
    is_complex
        Whether the values are complex.
    """
    fields = {}
    for flat, label in enumerate(labels):
        index = tuple(map(int, np.unravel_index(flat, tuple(shape)))) if shape else ()
        full = f"{name}_{label}" if label else name
        place = replace(stored, component=index)
        fields |= dict.fromkeys(real_names(full, is_complex), place)
    return fields
