"""Coil maps from files, and where the maps of a data set come from."""

# Legend: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import finite, message
from monarch_sciml._files import whole_file
from monarch_sciml._reading import file_kind, load_npy, open_hdf5, start_of
from monarch_sciml.data.hdf5 import writable_hdf5
from monarch_sciml.data.scans.formats.bart import pair_of, read_cfl

DATASETS = ("coil_maps", "maps", "sensitivities")
_BART_COIL, _BART_MAPS, _BART_SLICE = 3, 4, 13


def read_coil_maps(
    path: str | Path,
    shape: Sequence[int],
    *,
    n_maps: int = 1,
    slices: range | None = None,
    dataset: str | None = None,
) -> torch.Tensor:
    """Read the coil maps of a scan from a file and check that they fit it.

    Parameters
    ----------
    path
        A BART .cfl/.hdr pair (`bart ecalib`), a .npy array, or an HDF5 file. Arrays are (c, H, W),
        (s, c, H, W), or with several map sets (M, c, H, W), (s, M, c, H, W). Maps of one slice
        serve all slices.
    shape
        (s, c, H, W) of the k-space.
    n_maps
        Number of map sets wanted; more of them in the file are left out.
    slices
        Numbers of the slices to read, one after the other; None for all.
    dataset
        Name of the data set in an HDF5 file; by default `coil_maps`, `maps` or `sensitivities`.

    Returns
    -------
    torch.Tensor
        (s, c, H, W), or (s, M, c, H, W) where `n_maps` is above 1; complex64, dimensionless, s the
        number of `slices`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is of another kind, truncated, not complex or not finite, or of another size.

    Notes
    -----
    The norm of the maps is NOT checked: `unit_norm_maps` brings it to one.
    """
    path = Path(path)
    maps = _load(path, n_maps, slices, dataset)  # (s or 1, M, c, H, W)
    n_slices, *rest = shape
    expected = (n_slices if slices is None else len(slices), n_maps, *rest)
    if maps.shape[0] == 1:
        maps = np.broadcast_to(maps, (expected[0], *maps.shape[1:]))
    if maps.shape[1] < n_maps or maps[:, :n_maps].shape != expected:
        rule = f"the coil maps in {path} must have (slices, sets, coils, H, W) = {expected}"
        raise ValueError(message(rule, maps.shape, "Use the maps of this scan."))
    found = torch.from_numpy(np.array(maps[:, :n_maps], dtype=np.complex64, order="C"))
    finite(f"the coil maps in {path}", found, remedy="Estimate them anew.")
    return found if n_maps > 1 else found[:, 0]


def write_coil_maps(path: str | Path, maps: torch.Tensor, settings: dict[str, Any]) -> None:
    """Write maps (s, c, H, W) or (s, M, c, H, W) as the data set `coil_maps` of an HDF5 file.

    `settings` is kept as the attribute of that name, JSON text. An existing file is replaced.
    """
    with whole_file(path, overwrite=True) as part, writable_hdf5(part) as file:
        file.create_dataset("coil_maps", data=maps.detach().cpu().resolve_conj().numpy())
        file.attrs["settings"] = json.dumps(settings)


def _load(path: Path, n_maps: int, slices: range | None, dataset: str | None) -> np.ndarray:
    """Return the maps in a file as (s or 1, M, c, H, W)."""
    header, _ = pair_of(path)
    if path.suffix in (".cfl", ".hdr") or (not path.exists() and header.exists()):
        return _pick(_ordered_bart(read_cfl(path), path), slices)
    kind = file_kind(path)
    if kind == "npy":
        return _ordered(load_npy(path), path, n_maps, slices)
    if kind == "hdf5":
        return _load_hdf5(path, n_maps, slices, dataset)
    rule = f"{path} must hold coil maps as .cfl, .npy or HDF5"
    raise ValueError(message(rule, start_of(path), "Convert it."))


def _load_hdf5(path: Path, n_maps: int, slices: range | None, dataset: str | None) -> np.ndarray:
    import h5py

    with open_hdf5(path) as file:
        names = DATASETS if dataset is None else (dataset,)
        name = next((name for name in names if isinstance(file.get(name), h5py.Dataset)), None)
        if name is None:
            rule = f"{path} must hold the data set {' or '.join(names)}"
            raise ValueError(message(rule, ", ".join(file) or "nothing", "Pass `dataset`."))
        return _ordered(file[name], path, n_maps, slices)


def _ordered(array: Any, path: Path, n_maps: int, slices: range | None) -> np.ndarray:
    """Return an array of 3 to 5 axes as (s or 1, M, c, H, W); only `slices` are read."""
    if array.dtype.kind != "c":
        rule = f"the coil maps in {path} must be complex"
        raise ValueError(message(rule, array.dtype, "Store sensitivities, not magnitudes."))
    if array.ndim == 3:
        return np.asarray(array)[None, None]
    if array.ndim == 4 and n_maps > 1:
        return np.asarray(array)[None]
    if array.ndim == 4:
        return _pick(array, slices)[:, None]
    if array.ndim == 5:
        return _pick(array, slices)
    rule = f"the coil maps in {path} must have 3 to 5 axes"
    raise ValueError(message(rule, array.shape, "Store them as (slices, sets, coils, H, W)."))


def _pick(array: Any, slices: range | None) -> np.ndarray:
    """Return some slices of the first axis, or all where there is but one."""
    if slices is None or array.shape[0] == 1:
        return np.asarray(array)
    return np.asarray(array[slices.start : slices.stop])


def _ordered_bart(array: np.ndarray, path: Path) -> np.ndarray:
    """Return the 16 axes of BART as (s, M, c, H, W)."""
    spatial = [axis for axis in (0, 1, 2) if array.shape[axis] > 1]
    kept = (_BART_SLICE, _BART_MAPS, _BART_COIL, *(spatial if len(spatial) == 2 else (0, 1)))
    rest = [axis for axis in range(array.ndim) if axis not in kept]
    if any(array.shape[axis] > 1 for axis in rest):
        rule = f"the coil maps in {path} must be those of 2-D slices"
        remedy = "Pick one entry with bart slice."
        raise ValueError(message(rule, f"sizes {array.shape}", remedy))
    return array.transpose(*kept, *rest)[(..., *[0] * len(rest))]
