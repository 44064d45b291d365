"""Sampling masks in files, one for all slices or one for each."""

# Letters: s slices, H, W matrix of k-space.

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.data.scans.fitting import NamedArray, fitting_axes, in_order
from monarch_sciml.data.scans.formats.bart import pair_of, read_cfl

NAMES = ("mask", "masks", "sampling_mask", "pattern")


def read_mask(
    path: str | Path, shape: tuple[int, int, int], slices: range | None = None
) -> torch.Tensor:
    """Read a sampling mask, in which every value except zero means sampled.

    Parameters
    ----------
    path
        A .npy, .npz, .mat or HDF5 file (the array `mask`, or the only one), or a BART pair. Its
        array is (W,), (H,), (H, W) or (s, H, W), or in another order that follows from the sizes.
    shape
        (s, H, W) of the k-space in the file of the scan.
    slices
        The slices to return. By default all s slices.

    Returns
    -------
    (H, W), or (s, H, W) of the slices, bool.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is of another kind, or does not fit.
    """
    path = Path(path)
    n_slices, height, width = shape
    sizes = {"s": n_slices, "H": height, "W": width}
    if path.suffix in (".cfl", ".hdr") or (not path.exists() and pair_of(path)[0].exists()):
        array = read_cfl(path)
        found = fitting_axes(array.shape, sizes, ["s", "H", "W"])
        picked = array
    else:
        stored = NamedArray(path, NAMES)
        if not stored.name:
            rule = f"{path} must hold one array, or one named {NAMES[0]}"
            held = ", ".join(stored.held[:8]) or "nothing"
            raise ValueError(message(rule, held, f"Rename the mask to {NAMES[0]}."))
        array = stored
        found = fitting_axes(stored.shape, sizes, ["s", "H", "W"])
        picked = stored.window(found, slices) if found else None
    if found is None or picked is None or not {"H", "W"} & set(found):
        rule = f"the mask in {path} must fit k-space: (H, W) = {(height, width)} or (W,), or one "
        rule += f"of them for each of {n_slices} slices"
        raise ValueError(message(rule, tuple(array.shape), "Use the mask of this scan."))
    mask = in_order(picked, found, "sHW") != 0
    if slices is not None and len(mask) == n_slices and n_slices > 1 and array is picked:
        mask = mask[slices.start : slices.stop]
    mask = np.broadcast_to(mask, (len(mask), height, width)).copy()
    return torch.from_numpy(mask if "s" in found else mask[0])
