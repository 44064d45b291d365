"""k-space in a NumPy .npy file or a MATLAB .mat file, in any order of axes."""

# Letters: t repetitions, e contrasts, s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml._memory import check_array
from monarch_sciml._reading import FileStart, file_start, load_npy
from monarch_sciml.data.mat import open_mat
from monarch_sciml.data.reading import ArrayFile, complex_values, is_complex_type
from monarch_sciml.data.scans.axes import AXES, PART, ScanReading, found_axes, named_axes
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.series import from_corner, picked
from monarch_sciml.data.scans.slices import Slices, resolve


def read_array(
    path: str | Path,
    *,
    axes: str | None = None,
    variable: str | None = None,
    slices: Slices = None,
    contrast: int | None = None,
    repetition: int | str | None = None,
    fftshift: bool = False,
) -> Scan:
    """Read k-space from a .npy or .mat file.

    Parameters
    ----------
    path
        The file. Its content, not its name, decides how it is read.
    axes
        Names of the array's axes in order, separated by commas, out of repetition, contrast, slice,
        coil, height, width and part (two: real and imaginary); `1` for an axis of length 1. By
        default they are found from the signal (`found_axes`).
    variable
        Name of the array in a .mat file, `data.kspace` inside a struct; needed when it holds more
        than one of complex numbers.
    slices
        Slices to read, by default all.
    contrast, repetition
        Number of the contrast and of the repetition, by default the first. The repetition may be
        "average" for the mean of all.
    fftshift
        Whether the zero frequency comes first, as in numpy.fft.fft2.

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
        array, or its order cannot be told.
    """
    path = Path(path)
    start = file_start(path)
    if start.kind == "npy":
        array, form = load_npy(path), "NumPy"
    else:
        array, form = _load_mat(path, start, variable), "MATLAB"
    dtype = str(array.dtype)
    array, reading = _complex(array, axes, path)
    if reading is None:
        reading = found_axes(array, path, corner=fftshift)
    whole = _ordered(array, reading.names)  # (t, e, s, c, H, W)
    header: dict[str, Any] = {
        "format": form,
        "shape": whole.shape[2:],
        "dtype": dtype,
        "attributes": {},
        "contrasts": whole.shape[1],
        "repetitions": whole.shape[0],
        "notes": [reading.note] if reading.note else [],
        "axes_guessed": ",".join(reading.names) if reading.guessed else None,
    }
    pick = resolve(slices, whole.shape[2])
    kspace = picked(whole[:, :, pick], path, contrast=contrast, repetition=repetition)
    check_array(path, "k-space", kspace.shape, kspace.itemsize)
    # a copy, so that only the slices that are used are read from a .npy file
    contiguous = np.array(kspace, np.complex64, order="C")
    found = torch.from_numpy(contiguous)
    found = from_corner(found) if fftshift else found
    return Scan(found, header=header, name=path.name, path=path)


def _complex(
    array: np.ndarray, axes: str | None, path: Path
) -> tuple[np.ndarray, ScanReading | None]:
    """Return an array of complex numbers, and its axes if they are given."""
    if array.dtype.kind == "c":
        return array, named_axes(axes, array.shape, path) if axes else None
    array = complex_values(array)
    reading = named_axes(axes, array.shape, path, parts=array.dtype.kind != "c") if axes else None
    if array.dtype.kind == "c":
        return array, reading
    place = reading.names.index(PART) if reading and PART in reading.names else -1
    pair = array.ndim > 2 and array.shape[place] == 2 and (not reading or PART in reading.names)
    if not (pair and array.dtype.kind == "f"):
        rule = f"{path} must hold complex k-space"
        got = f"{array.dtype} {array.shape}"
        remedy = f"Store k-space, not magnitudes; real and imaginary parts as an axis named {PART}."
        raise ValueError(message(rule, got, remedy))
    parts = np.moveaxis(array, place, -1)
    numbers = _pairs(parts, path)
    names = tuple(name for name in reading.names if name != PART) if reading else ()
    return numbers, ScanReading(names) if names else None


def _pairs(parts: np.ndarray, path: Path) -> np.ndarray:
    """Return the complex numbers whose two parts lie along the last axis, a view if possible."""
    if parts.strides[-1] == parts.itemsize and parts.itemsize in (4, 8):
        return parts.view(f"{parts.dtype.byteorder}c{2 * parts.itemsize}")[..., 0]
    check_array(path, "k-space", parts.shape, 8)
    return parts[..., 0] + 1j * parts[..., 1]


def _ordered(array: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return the array as (t, e, s, c, H, W)."""
    kept = [i for i, name in enumerate(names) if name != "1"]
    used = [names[i] for i in kept]
    array = array.reshape([array.shape[i] for i in kept])  # axes of length 1 are dropped
    order = [used.index(name) for name in AXES if name in used]
    missing = [i for i, name in enumerate(AXES) if name not in used]
    return np.expand_dims(array.transpose(order), tuple(missing))


def _load_mat(path: Path, start: FileStart, variable: str | None) -> np.ndarray:
    if not start.kind.startswith("matlab"):
        rule = f"{path} must be a .npy or .mat file"
        raise ValueError(message(rule, start.description, "Convert it to .npy, .cfl or fastMRI."))
    file = open_mat(path)
    name = _only_kspace(file) if variable is None else file.find(variable)
    return complex_values(file.window(name))


def _only_kspace(file: ArrayFile) -> str:
    """Return the name of the only complex array, or else of the only array."""
    names = [name for name, shape in file.shapes.items() if math.prod(shape) > 1]
    complex_ones = [name for name in names if is_complex_type(file.dtype(name))]
    found = complex_ones or names
    if len(found) == 1:
        return found[0]
    held = ", ".join(f"{name} {file.shapes[name]}" for name in found) or "none"
    rule = f"`variable` must name one of the arrays of {file.path}: {held}"
    remedy = f"Pass --variable {found[0]}, say." if found else "Save k-space as an array."
    raise ValueError(message(rule, "None", remedy))
