"""Fields stored as HDF5 arrays of (samples, times, grid, components), read window by window.

Shapes: N samples, T times, F fields, then the grid, then components: (N, T, *grid, C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._reading import open_hdf5
from monarch_sciml.data.fields.source import FieldLayout, FieldSource
from monarch_sciml.data.reading import is_complex_type, real_names, real_part


@dataclass(frozen=True)
class StoredField:
    """Say where a field is: the data set, which axes that has, which component of it.

    Attributes
    ----------
    dataset
        Path in the file.
    component
        Index into the axes after the grid; () where there are none.
    in_samples, in_time
        Whether the data set has that axis; a field without it is the same for every sample, frame.
    in_space
        The same for each axis of the grid.
    """

    dataset: str
    component: tuple[int, ...] = ()
    in_samples: bool = True
    in_time: bool = True
    in_space: tuple[bool, ...] = (True,)


class HDF5Fields(FieldSource):
    """Read fields from a table of what is stored where; the file is opened for each read alone.

    Only the window that is asked for is read, and it is read once, however many components of a
    data set are asked for.

    Parameters
    ----------
    path, layout, about
        As in `FieldSource`.
    table
        Where each field of the layout is; complex data sets have the fields `real_names` tells.
    """

    def __init__(
        self,
        path: Path,
        layout: FieldLayout,
        about: dict[str, Any],
        table: Mapping[str, StoredField],
    ) -> None:
        super().__init__(path, layout, about)
        self._table = dict(table)

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        return next(iter(self._load_all([field], samples, times)))

    def _load_all(self, fields: Sequence[str], samples: slice, times: slice) -> list[Tensor]:
        windows: dict[str, np.ndarray] = {}
        loaded = []
        with open_hdf5(self.path) as file:
            for name in fields:
                stored = self._table[name]
                wanted = [other for other in fields if self._table[other].dataset == stored.dataset]
                if stored.dataset not in windows:
                    # a lone component is cut out while reading; several share one read
                    cut = stored.component if len(wanted) == 1 else ()
                    windows[stored.dataset] = self._window(file, stored, samples, times, cut)
                window = windows[stored.dataset]
                if len(wanted) > 1 and stored.component:
                    window = window[(..., *stored.component)]
                loaded.append(self._full(name, window, samples, times))
        return loaded

    def _window(
        self, file: Any, stored: StoredField, samples: slice, times: slice, cut: tuple[int, ...]
    ) -> np.ndarray:
        """Read part of a data set with the axes it has, (N?, T?, *grid?, *components?)."""
        axes = [samples] * stored.in_samples + [times] * stored.in_time
        space = [slice(None)] * sum(stored.in_space)
        return np.asarray(file[stored.dataset][(*axes, *space, *cut)])

    def _full(self, name: str, window: np.ndarray, samples: slice, times: slice) -> Tensor:
        """Repeat a window (N?, T?, *grid?) along the axes it lacks: (N, T, *grid)."""
        stored, layout = self._table[name], self.layout
        present = (stored.in_samples, stored.in_time, *stored.in_space)
        lacking = tuple(axis for axis, there in enumerate(present) if not there)
        counts = [len(range(part.start, part.stop, part.step)) for part in (samples, times)]
        values = torch.from_numpy(real_part(np.expand_dims(window, lacking), name))
        return values.expand(*counts, *layout.grid_shape)


def components_of(
    name: str, dataset: Any, labels: Sequence[str], where: StoredField, n_axes: int
) -> dict[str, StoredField]:
    """Return the fields of a data set, one for each label and each part of a complex number.

    Parameters
    ----------
    name
        What the fields are called: `name`, `name_LABEL`, `name_LABEL.real`.
    dataset
        The HDF5 data set (N?, T?, *grid?, *components).
    labels
        Names of the components; [""] for a scalar without an axis of components.
    where
        The field without its component.
    n_axes
        Number of axes before the components.
    """
    shape = dataset.shape[n_axes:]
    is_complex = is_complex_type(dataset.dtype)
    fields = {}
    for flat, label in enumerate(labels):
        index = tuple(map(int, np.unravel_index(flat, shape))) if shape else ()
        place = StoredField(where.dataset, index, where.in_samples, where.in_time, where.in_space)
        full = f"{name}_{label}" if label else name
        fields |= dict.fromkeys(real_names(full, is_complex), place)
    return fields
