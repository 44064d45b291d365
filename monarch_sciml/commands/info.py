"""The `info` command, which describes a file."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from monarch_sciml._checks import message
from monarch_sciml._reading import file_start, open_hdf5
from monarch_sciml.data import describe_fields
from monarch_sciml.data.array_files import open_arrays, selected
from monarch_sciml.data.fields.axes import AXES as FIELD_AXES
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.recognise import FIELD_FORMATS, known_layout
from monarch_sciml.data.scans.axes import AXES as SCAN_AXES
from monarch_sciml.data.scans.axes import SYNONYMS
from monarch_sciml.data.scans.formats.bart import is_pair
from monarch_sciml.data.scans.formats.fastmri import read_header
from monarch_sciml.data.scans.formats.hdf5_kinds import acquisitions_of
from monarch_sciml.data.scans.read import describe_scan
from monarch_sciml.data.scans.recognise import KNOWN, recognise

FORMATS = f"fields ({FIELD_FORMATS}) or k-space ({KNOWN})"
ORIGIN = ("generator", "seed", "parameters", "drawn", "method")


def info(
    path: Path,
    *,
    axes: str | dict[str, str] | None = None,
    variable: str | None = None,
    contrast: int | None = None,
    sequence: Path | None = None,
    reference_scan: Path | None = None,
    fftshift: bool = False,
) -> str:
    """Describe a file of PDE fields or of the k-space of a scan, recognised by content.

    Parameters
    ----------
    path
        A file of fields or of k-space; for BART the .cfl, the .hdr or their common stem. Or a
        folder of files of fields that are one set, as the splits of The Well are.
    axes
        Names of the axes of arrays, in the order in which they are stored: of fields, out of
        sample, time, channel, x, y, z, for example "sample,time,x", for all arrays or for each by
        its name; of k-space, out of slice, coil, height, width; 1 for an axis of one entry.
    variable
        Name of the array to use, or of a struct or group, for example data.kspace.
    contrast
        Number of the contrast or echo of a scan, the first by default.
    sequence
        Pulseq file (.seq) that an ISMRMRD or twix file was measured with: it places the readouts.
    reference_scan
        ISMRMRD or twix file of the same sequence without phase encoding, which corrects EPI.
    fftshift
        Whether the zero frequency comes first in k-space of arrays and BART files.

    Returns
    -------
    One property a line: format, reading of the axes, sizes, grid and boundary and origin of fields;
    slices, coils, matrix, achieved acceleration, calibration size and reference of a scan.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is of no known format, truncated, or holds NaN where it is read.
    """
    path = Path(path)
    raw = {"contrast": contrast, "sequence": sequence, "reference_scan": reference_scan}
    raw["fftshift"] = fftshift or None
    scan = any(value is not None for value in raw.values())
    if scan or _kind(path, axes, variable) == "scan":
        names = {"axes": axes if isinstance(axes, str) else None, "variable": variable}
        found = _scan(path, names | raw)
    else:
        found = _fields(path, axes, variable)
    shown = {key: value for key, value in found.items() if value is not None}
    width = max(map(len, shown)) + 2
    return "\n".join(f"{key:<{width}}{_text(value)}" for key, value in shown.items())


Content = Literal["scan", "fields"]


def _kind(path: Path, axes: Axes | None, variable: str | None) -> Content:
    """Return whether a file holds a scan or fields; ValueError for anything else."""
    if axes is not None:
        scans = {*SCAN_AXES, *SYNONYMS} - {*FIELD_AXES}
        return "scan" if isinstance(axes, str) and scans & _names(axes) else "fields"
    if path.is_dir():
        return "fields"
    if is_pair(path):
        return "scan"
    start = file_start(path)
    kind = start.kind
    if kind == "hdf5":
        return _kind_of_hdf5(path)
    if kind in ("matlab 5", "matlab 7.3", "npy"):
        return _kind_of_arrays(path, variable)
    if kind not in ("unknown", "twix"):
        return "fields"
    with suppress(ValueError):
        recognise(path)
        return "scan"
    raise ValueError(message(f"{path} must hold {FORMATS}", start.description, "Convert it."))


def _names(axes: str) -> set[str]:
    return {name.strip() for name in axes.split(",")}


def _kind_of_hdf5(path: Path) -> Content:
    with open_hdf5(path) as file:
        scan = acquisitions_of(file) is not None or "kspace" in file
        names = sorted(file)
    if scan:
        return "scan"
    if known_layout(path) is None and not open_arrays(path).shapes:
        held = ", ".join(names[:8]) or "nothing"
        raise ValueError(message(f"{path} must hold {FORMATS}", held, "Check where it came from."))
    return "fields"


def _kind_of_arrays(path: Path, variable: str | None) -> Content:
    """Arrays are fields where they are read as such, or hold no complex numbers of k-space."""
    try:
        describe_fields(path, variable=variable)
    except ValueError:
        arrays = selected(open_arrays(path), variable)
        return "scan" if any(map(arrays.is_complex, arrays.shapes)) else "fields"
    return "fields"


def _fields(path: Path, axes: Axes | None, variable: str | None) -> dict[str, Any]:
    try:
        found = describe_fields(path, axes=axes, variable=variable)
    except ValueError as error:
        if not path.is_dir():
            raise
        raise ValueError(f"{error} Of scans name one file.") from error
    shape = tuple(found.pop("grid_shape"))
    first = {
        "file": found.pop("path"),
        "format": f"{found.pop('format')} (PDE fields)",
        "size": _size(found.pop("size_bytes")),
        "reading": _reading(found.pop("reading", None)),
        "fields": ", ".join(found.pop("fields")),
        "inputs": ", ".join(found.pop("inputs", ())) or None,
        "samples": found.pop("n_samples"),
        "frames": found.pop("n_times"),
        "time": _range(found.pop("time_range")),
        "dt": found.pop("dt"),
        "grid": _product(shape),
        "domain": _product(tuple(found.pop("domain_extent"))),
        "boundary": ", ".join(found.pop("boundary")),
        "dtype": found.pop("dtype", None),
    }
    notes = {f"note {i}": note for i, note in enumerate(found.pop("notes", ()), 1)}
    return {**first, **found, **notes}


def _reading(axes: dict[str, str] | None) -> str | None:
    """Return the meaning of each axis of each array."""
    return "; ".join(f"{name}: {names}" for name, names in axes.items()) if axes else None


def _scan(path: Path, reader: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in reader.items() if value is not None}
    found = describe_scan(path, **given)
    known = found["order_known"]
    accelerated = f"{found['acceleration']:.2f} (achieved)" if known else "not known"
    sampled = ", fully sampled" if known and found["fully_sampled"] else ""
    shown = {
        "file": str(path),
        "format": f"{found['format']} (k-space)",
        "slices": found["slices"],
        "coils": found["coils"],
        "matrix": _product(found["matrix"]),
        "acceleration": accelerated + sampled,
        "calibration": _calibration(found) if known else "not known",
        "contrasts": _several(found["contrasts"]),
        "repetitions": _several(found["repetitions"]),
        "image axes": _axes(found["transformed"]),
        "padding": _range(found["padding"]),
        "row padding": _range(found["row_padding"]),
        "voxel (mm)": _product(found["voxel_size"]) if known and found["voxel_size"] else None,
        "readouts": {k: n for k, n in (found["readouts"] or {}).items() if n} or None,
        "EPI phase": _phase(found["phase_correction"]),
        "reference": found["reference"] or "none",
        "coil maps": "stored" if found["coil_maps"] else "none",
        "masks": found["masks"],
        "acquisition": found["acquisition"],
        "dtype": found["dtype"],
    }
    if found["format"] in ("fastMRI", "M4Raw"):
        attributes = read_header(path)["attributes"]
        shown |= {key: attributes[key] for key in ORIGIN if key in attributes}
    return shown | {f"note {i}": note for i, note in enumerate(found["notes"], 1)}


def _calibration(found: dict[str, Any]) -> str:
    """Say how large the calibration region is, without and with lines that are for it alone."""
    own, joint = found["calibration"], found["separate_calibration"]
    return _product(own) + (f", {_product(joint)} with separate lines" if joint else "")


def _several(count: int) -> int | None:
    return count if count > 1 else None


def _axes(transformed: tuple[str, ...]) -> str | None:
    """Say which axes are in image space already, and what the slices are then."""
    return f"{', '.join(transformed)} (hybrid space: slices along it)" if transformed else None


def _product(sizes: tuple[float, ...]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _range(ends: Any) -> str | None:
    return None if ends is None else " to ".join(f"{end:g}" for end in ends)


def _size(n_bytes: int) -> str:
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.1f} {unit}"
    return f"{n_bytes} bytes"


def _text(value: Any) -> str:
    """Return a value on one line; a dictionary, also one in JSON, as name = value pairs."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, dict):
        return ", ".join(f"{key} = {entry}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _phase(phases: dict[int, tuple[float, float]] | None) -> str | None:
    """Return the correction of the slice in the middle, in words; None for no correction."""
    if not phases:
        return None
    constant, slope = phases[sorted(phases)[len(phases) // 2]]
    return f"{constant:.2f} rad and {slope:.3f} rad a pixel between lines, corrected"
