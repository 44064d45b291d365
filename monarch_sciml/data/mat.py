"""The arrays of a .mat file, MATLAB 5 (scipy) and MATLAB 7.3 (HDF5, axes reversed)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml.data.hdf5 import HDF5_SIGNATURE
from monarch_sciml.data.reading import is_complex_type, reading


class MatArrays:
    """Read the arrays of a .mat file in MATLAB's order of axes, window by window.

    Parameters
    ----------
    path
        The file, with or without MATLAB's header of 512 bytes before HDF5.

    Attributes
    ----------
    shapes
        Shape of each array, in MATLAB's order of axes.
    container
        "MATLAB 5" or "MATLAB 7.3".

    Notes
    -----
    An array of MATLAB 5 is read whole when first needed (the format has no windows and at most
    2 GB a file) and kept; it does not travel to worker processes that are spawned. A MATLAB 7.3
    file is opened for each window and closed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, np.ndarray] = {}
        with reading(path):
            self._is_hdf5 = _is_hdf5(path)
            self.shapes = _hdf5_shapes(path) if self._is_hdf5 else _mat5_shapes(path)
        self.container = "MATLAB 7.3" if self._is_hdf5 else "MATLAB 5"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        if not self._is_hdf5:
            return self.window(name).dtype
        import h5py

        with reading(self.path), h5py.File(self.path, "r") as file:
            stored: Any = file[name]
            return stored.dtype

    def is_complex(self, name: str) -> bool:
        """Whether an array holds complex numbers."""
        return is_complex_type(self.dtype(name))

    def window(self, name: str, index: tuple[slice, ...] = ()) -> np.ndarray:
        """Read part of an array; `index` has one slice an axis, in MATLAB's order."""
        with reading(self.path):
            if not self._is_hdf5:
                return self._whole(name)[index]
            import h5py

            with h5py.File(self.path, "r") as file:
                stored: Any = file[name]
                return np.asarray(stored[tuple(reversed(index))]).T

    def _whole(self, name: str) -> np.ndarray:
        if name not in self._kept:
            from scipy.io import loadmat

            self._kept[name] = loadmat(self.path, variable_names=[name])[name]
        return self._kept[name]


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(512 + len(HDF5_SIGNATURE))
    return HDF5_SIGNATURE in (start[: len(HDF5_SIGNATURE)], start[512:])


def _mat5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from scipy.io import whosmat

    return {name: tuple(shape) for name, shape, _ in whosmat(path)}


def _hdf5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {name: tuple(reversed(item.shape)) for name, item in arrays.items()}
