"""The arrays of NetCDF files and Zarr stores, with the names of their axes, through xarray."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._memory import check_array, part_shape
from monarch_sciml._reading import file_kind, open_hdf5, reading
from monarch_sciml.data.reading import ArrayFile, Index, is_number_type

_ENGINES = {"netcdf 3": "scipy", "hdf5": "h5netcdf", "zarr": "zarr"}


class DatasetArrays(ArrayFile):
    """Read windows of the variables of a NetCDF file (3 or 4) or a Zarr store.

    Scale factors, offsets and missing values are applied by the CF conventions. Times stay the
    stored numbers.

    Parameters
    ----------
    path
        The file, or the folder of the store.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When xarray is not installed.
    ValueError
        When it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        kind = file_kind(path)
        self.container = "Zarr" if kind == "zarr" else "NetCDF"
        self._engine = _ENGINES[kind]
        with reading(path):
            self._check_coordinates()
        with reading(path), self._open() as dataset:
            held = {str(n): v for n, v in dataset.variables.items() if is_number_type(v.dtype)}
            self.shapes = {name: tuple(variable.shape) for name, variable in held.items()}
            self.dims = {name: tuple(map(str, variable.dims)) for name, variable in held.items()}
            self._types = {name: variable.dtype for name, variable in held.items()}

    def _check_coordinates(self) -> None:
        """Check the sizes of vectors, which xarray reads whole as soon as it opens a file."""
        with ExitStack() as stack:
            if self._engine == "h5netcdf":
                held = stack.enter_context(open_hdf5(self.path)).values()
            elif self._engine == "zarr":
                import zarr

                check_store(self.path)

                held = [item for _, item in zarr.open_group(self.path, mode="r").arrays()]
            else:  # mapped into memory
                held = []
            for item in held:
                if len(getattr(item, "shape", ())) == 1:
                    check_array(self.path, str(item.name), item.shape, item.dtype.itemsize)

    def _open(self) -> Any:
        try:
            import xarray
        except ImportError as error:
            rule = f"{self.path} is a {self.container} file, which xarray reads"
            remedy = "Install it: pip install 'monarch_sciml[netcdf]'."
            raise ImportError(message(rule, "no xarray", remedy)) from error
        options: dict[str, Any] = {"consolidated": False} if self._engine == "zarr" else {}
        return xarray.open_dataset(
            self.path, engine=self._engine, decode_times=False, cache=False, **options
        )

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array."""
        return self._types[name]

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        wanted = part_shape(self.shapes[name], index)
        check_array(self.path, name, wanted, self._types[name].itemsize)
        with reading(self.path), self._open() as dataset:
            return np.asarray(dataset.variables[name][index])


def check_store(folder: Path) -> None:
    """Refuse a Zarr store that would run code, or whose values lie in other folders.

    Raises
    ------
    ValueError
        When an array of it is packed by pickle, or it holds a link out of the store.
    """
    inside = folder.resolve()
    for above, _, names in os.walk(folder, followlinks=True):
        place = Path(above).resolve()
        places = [place, *(Path(above, name) for name in names if Path(above, name).is_symlink())]
        outside = [str(p) for p in places if not p.resolve().is_relative_to(inside)]
        packed = [n for n in names if n in _METADATA and _PICKLED.search((place / n).read_text())]
        if outside or packed:
            rule = f"{folder} must hold its own values, and no code"
            got = (
                f"a link out of it, {outside[0]}"
                if outside
                else f"arrays packed by pickle ({packed[0]})"
            )
            raise ValueError(message(rule, got, "Ask for a whole store, or export it again."))


_METADATA = ("zarr.json", ".zarray", ".zmetadata")
_PICKLED = re.compile(r'"(?:id|name)"\s*:\s*"(?:numcodecs\.)?pickle"')
"""The one codec that runs code when values are read."""


def is_netcdf4(path: Path) -> bool:
    """Return whether an HDF5 file was written as NetCDF 4."""
    with open_hdf5(path) as file:
        if "_NCProperties" in file.attrs:
            return True
        return any("_Netcdf4Dimid" in item.attrs for item in file.values())
