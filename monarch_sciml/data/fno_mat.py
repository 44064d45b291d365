"""The .mat files of the FNO paper, MATLAB 5 (scipy) and MATLAB 7.3 (HDF5, axes reversed).

Shapes: N samples, T times, then the grid. In MATLAB's order `a` is (N, *grid) and `u` is
(N, *grid, T) for trajectories or (N, *grid) for steady problems; HDF5 stores them reversed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.field_source import FieldLayout, FieldSource, reading

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
    A MATLAB 5 file is read whole at the first use (the format has no windows, at most 2 GB) and
    kept; a MATLAB 7.3 file is opened for each window.

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
        self._cache: dict[str, np.ndarray] = {}
        with reading(path):
            self._is_hdf5 = _is_hdf5(path)
            shapes = _shapes(path, self._is_hdf5)
        names, steady = _contents(path, shapes)
        shape = shapes[names[0]]
        grid_shape = shape[1:] if steady else shape[1:-1]
        n_times = 1 if steady else shape[-1]
        assumed = _assumed_boundary(names, steady, len(grid_shape))
        layout = FieldLayout(
            fields=names,
            n_samples=shape[0],
            n_times=n_times,
            grid_shape=grid_shape,
            domain_extent=domain_extent or (1.0,) * len(grid_shape),
            boundary=boundary or (assumed,) * len(grid_shape),
            times=None if steady else self._times(path, shapes, n_times),
        )
        kind = "MATLAB 7.3" if self._is_hdf5 else "MATLAB 5"
        super().__init__(path, layout, {"container": kind, "arrays": sorted(shapes)})
        self._steady = steady

    def _times(
        self, path: Path, shapes: dict[str, tuple[int, ...]], n_times: int
    ) -> tuple[float, ...] | None:
        if int(np.prod(shapes.get("t", (0,)))) != n_times:
            return None
        with reading(path):
            times = self._array(path, "t")[...]
        return tuple(float(t) for t in np.ravel(times))

    def _array(self, path: Path, name: str) -> np.ndarray:
        """One whole array in MATLAB's axis order, kept when the file is MATLAB 5."""
        if self._is_hdf5:
            import h5py

            with h5py.File(path, "r") as file:
                return np.asarray(file[name]).T
        if name not in self._cache:
            from scipy.io import loadmat

            self._cache[name] = loadmat(path, variable_names=[name])[name]
        return self._cache[name]

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        if self._is_hdf5:
            import h5py

            with h5py.File(self.path, "r") as file:
                stored: Any = file[field]
                middle = (slice(None),) * len(self.grid_shape)
                # steady: (*reversed grid, N); trajectories: (T, *reversed grid, N)
                index = (*middle, samples) if self._steady else (times, *middle, samples)
                window = np.asarray(stored[index]).T
        else:
            window = self._array(self.path, field)[samples]
            window = window if self._steady else window[..., times]
        values = torch.from_numpy(np.ascontiguousarray(_native(window)))
        if self._steady:
            return values[:, None][:, times].contiguous()  # (N, *grid) -> (N, 1, *grid)
        return values.movedim(-1, 1).contiguous()  # (N, *grid, T) -> (N, T, *grid)


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(512 + 8)
    return b"\x89HDF" in (start[:4], start[512:516])


def _shapes(path: Path, is_hdf5: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of the file's arrays in MATLAB's axis order."""
    if not is_hdf5:
        from scipy.io import whosmat

        return {name: tuple(shape) for name, shape, _ in whosmat(path)}
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {name: tuple(reversed(item.shape)) for name, item in arrays.items()}


def _contents(path: Path, shapes: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
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


def _native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, which is all that torch reads."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
