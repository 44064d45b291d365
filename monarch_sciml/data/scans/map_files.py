"""Read coil maps from files and write them."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import finite, message
from monarch_sciml._files import whole_file
from monarch_sciml.data.hdf5 import writable_hdf5
from monarch_sciml.data.scans.fitting import NamedArray, Sizes, fitting_axes, in_order
from monarch_sciml.data.scans.formats.bart import is_pair, read_cfl

DATASETS = ("coil_maps", "maps", "sensitivities", "S", "sens", "csm")
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
        A BART .cfl/.hdr pair (`bart ecalib`), or a .npy, .npz, .mat or HDF5 file. Arrays are (c, H,
        W), (s, c, H, W), or with several map sets (M, c, H, W), (s, M, c, H, W), or in another
        order that follows from their sizes, such as (H, W, c). Maps of one slice serve all slices.
    shape
        (s, c, H, W) of the k-space.
    n_maps
        Number of map sets to read. Further sets in the file are left out.
    slices
        Numbers of the slices to read, which must be consecutive. None reads all.
    dataset
        Name of the array; by default `coil_maps`, `maps`, `sensitivities`, `S`, `sens` or `csm`, or
        the only one of the file.

    Returns
    -------
    (s, c, H, W), or (s, M, c, H, W) where `n_maps` is above 1; complex64, dimensionless, s the
    number of `slices`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of another kind or truncated, or the maps are not complex, not finite or of
        another size.

    Notes
    -----
    The norm of the maps is NOT checked: `unit_norm_maps` brings it to one.
    """
    path = Path(path)
    n_slices, n_coils, height, width = shape
    sizes = {"s": n_slices, "M": n_maps, "c": n_coils, "H": height, "W": width}
    stored, found, maps = _load(path, sizes, slices, dataset)
    if maps is None or found is None:
        expected = (n_slices, n_maps, n_coils, height, width)
        rule = f"the coil maps in {path} must have (slices, sets, coils, H, W) = {expected}"
        raise ValueError(message(rule, stored, "Use the maps of this scan."))
    if maps.dtype.kind != "c":
        rule = f"the coil maps in {path} must be complex"
        raise ValueError(message(rule, maps.dtype, "Store sensitivities, not magnitudes."))
    maps = in_order(maps, found, "sMcHW")[:, :n_maps]
    count = n_slices if slices is None else len(slices)
    maps = np.broadcast_to(maps, (count, *maps.shape[1:]))
    ready = torch.from_numpy(np.array(maps, dtype=np.complex64, order="C"))
    finite(f"the coil maps in {path}", ready, remedy="Estimate them anew.")
    return ready if n_maps > 1 else ready[:, 0]


def write_coil_maps(path: str | Path, maps: torch.Tensor, settings: dict[str, Any]) -> None:
    """Write maps (s, c, H, W) or (s, M, c, H, W) as the data set `coil_maps` of an HDF5 file.

    `settings` is stored as JSON text in the attribute of that name. An existing file is replaced.
    """
    with whole_file(path, overwrite=True) as part, writable_hdf5(part) as file:
        file.create_dataset("coil_maps", data=maps.detach().cpu().resolve_conj().numpy())
        file.attrs["settings"] = json.dumps(settings)


def _load(
    path: Path, sizes: Sizes, slices: range | None, dataset: str | None
) -> tuple[tuple[int, ...], list[str] | None, np.ndarray | None]:
    """Return the shape of the array of a file, the letters of its axes, and some of its slices."""
    optional = ["s"] if sizes["M"] > 1 else ["M", "s"]
    if is_pair(path):
        array = _ordered_bart(read_cfl(path), path)  # (s, M, c, H, W)
        fits = all(a == 1 for a in array.shape[:1]) or array.shape[0] == sizes["s"]
        fits &= array.shape[1] >= sizes["M"]
        fits &= array.shape[2:] == tuple(sizes[letter] for letter in "cHW")
        picked = array if slices is None or len(array) == 1 else array[slices.start : slices.stop]
        return array.shape, list("sMcHW") if fits else None, picked if fits else None
    file = NamedArray(path, DATASETS, dataset)
    if not file.name:
        names = " or ".join(DATASETS)
        rule = f"{path} must hold the data set {names}"
        raise ValueError(message(rule, ", ".join(file.held) or "nothing", "Rename it so."))
    found = fitting_axes(file.shape, sizes, optional)
    return file.shape, found, None if found is None else file.window(found, slices)


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
