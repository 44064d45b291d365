"""k-space in a NumPy .npy file or a MATLAB .mat file, with the axes that the user names."""

# Legend: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml._reading import FileKind, file_kind, load_npy, start_of
from monarch_sciml.data.mat import open_mat
from monarch_sciml.data.reading import complex_values
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices, resolve

AXES = ("slice", "coil", "height", "width")
DEFAULT_AXES = {2: AXES[2:], 3: AXES[1:], 4: AXES}
LARGEST_COIL_COUNT = 128


def read_array(
    path: str | Path,
    *,
    axes: str | None = None,
    variable: str | None = None,
    slices: Slices = None,
) -> Scan:
    """Read k-space from a .npy or .mat file.

    Parameters
    ----------
    path
        The file. Its content, not its name, decides how it is read.
    axes
        Names of the array's axes in order, separated by commas, out of slice, coil, height, width;
        `1` for an axis of length 1. By default height,width or coil,height,width or
        slice,coil,height,width.
    variable
        Name of the array in a .mat file; needed when it holds more than one.
    slices
        Which slices to keep; all by default.

    Returns
    -------
    Scan
        (s, c, H, W). Not validated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is neither .npy nor .mat, truncated, not complex, when `axes` does not fit the
        array, or when the default axes would mean more than 128 coils.
    """
    path = Path(path)
    kind = file_kind(path)
    array, form = (
        (load_npy(path), "NumPy") if kind == "npy" else (_load_mat(path, kind, variable), "MATLAB")
    )
    if array.dtype.kind != "c":
        rule = f"{path} must hold complex k-space"
        raise ValueError(message(rule, array.dtype, "Store k-space, not a magnitude image."))
    kspace = _ordered(array, axes, path)
    header = {"format": form, "shape": kspace.shape, "dtype": str(array.dtype), "attributes": {}}
    # a copy: of a .npy file only the slices that are read leave the disk
    contiguous = np.array(kspace[resolve(slices, len(kspace))], np.complex64, order="C")
    return Scan(torch.from_numpy(contiguous), header=header, name=path.name, path=path)


def _ordered(array: np.ndarray, axes: str | None, path: Path) -> np.ndarray:
    """Return the array as (s, c, H, W)."""
    remedy = f"Pass `axes`, for example {','.join(AXES[1:])}."
    names = [name.strip() for name in axes.split(",")] if axes else DEFAULT_AXES.get(array.ndim)
    if names is None:
        rule = f"{path} must have 2, 3 or 4 axes unless `axes` is given"
        raise ValueError(message(rule, f"shape {array.shape}", remedy))
    used = [name for name in names if name != "1"]
    fits = len(names) == array.ndim and len(set(used)) == len(used) and set(used) <= {*AXES}
    singles = all(size == 1 for name, size in zip(names, array.shape) if name == "1")
    if not (fits and singles and {*AXES[2:]} <= {*used}):
        rule = f"`axes` must name each axis of the array of shape {array.shape} once"
        raise ValueError(message(rule, repr(axes), remedy))
    if axes is None and array.ndim > 2 and array.shape[-3] > LARGEST_COIL_COUNT:
        rule = f"{path} must have at most {LARGEST_COIL_COUNT} coils along axis -3"
        raise ValueError(message(rule, f"shape {array.shape}", remedy))
    kept = [i for i, name in enumerate(names) if name != "1"]
    array = array.reshape([array.shape[i] for i in kept])  # axes of length 1 are dropped
    order = [used.index(name) for name in AXES if name in used]
    missing = [i for i, name in enumerate(AXES) if name not in used]
    return np.expand_dims(array.transpose(order), tuple(missing))


def _load_mat(path: Path, kind: FileKind, variable: str | None) -> np.ndarray:
    if not kind.startswith("matlab"):
        rule = f"{path} must be a .npy or .mat file"
        raise ValueError(message(rule, start_of(path), "Convert it to .npy, .cfl or fastMRI."))
    file = open_mat(path)
    names = [name for name, shape in file.shapes.items() if math.prod(shape) > 1]
    if variable is None:
        if len(names) != 1:
            held = ", ".join(names) or "none"
            rule = f"`variable` must name one of the arrays of {path}: {held}"
            raise ValueError(message(rule, variable, "Pass `variable`."))
        variable = names[0]
    return complex_values(file.window(file.find(variable)))
