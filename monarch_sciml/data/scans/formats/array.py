"""k-space in a NumPy .npy file or a MATLAB .mat file, with the axes that the user names."""

# Legend: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import existing_file, message
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
    path = existing_file(path)
    with path.open("rb") as stream:
        start = stream.read(128)
    array, form = (
        (_load_npy(path), "NumPy")
        if start.startswith(b"\x93NUMPY")
        else (_load_mat(path, variable, start), "MATLAB")
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


def _load_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _damaged(path, error) from error


def _load_mat(path: Path, variable: str | None, start: bytes) -> np.ndarray:
    if start.startswith(b"MATLAB 7.3"):
        arrays = _mat_hdf5(path)
    elif start.startswith(b"MATLAB 5.0"):
        arrays = _mat_5(path)
    else:
        rule = f"{path} must be a .npy or .mat file"
        raise ValueError(message(rule, repr(start[:10]), "Convert it to .npy, .cfl or fastMRI."))
    if variable is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if variable not in arrays:
        rule = f"`variable` must name one of the arrays of {path}: {', '.join(arrays) or 'none'}"
        raise ValueError(message(rule, repr(variable), "Pass `variable`."))
    return arrays[variable]


def _mat_5(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path)
    except Exception as error:  # loadmat raises almost anything on a damaged file
        raise _damaged(path, error) from error
    return {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "fciu" and value.size > 1
    }


def _mat_hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    arrays = {}
    try:
        with h5py.File(path, "r") as file:
            for name, value in file.items():
                if isinstance(value, h5py.Dataset) and value.ndim > 1:
                    array: Any = np.asarray(value)
                    if array.dtype.names == ("real", "imag"):
                        array = array["real"] + 1j * array["imag"]
                    arrays[name] = array.T  # MATLAB stores column-major: axes come reversed
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(path, error) from error
    return arrays


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(message(f"{path} must be a complete file", reason, "Copy it again."))
