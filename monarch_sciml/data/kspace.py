"""Recognise a k-space file by its content, read it into a `Scan`, or describe it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from monarch_sciml._checks import existing_file, message, one_of
from monarch_sciml.data.array import read_array
from monarch_sciml.data.bart import pair_of, read_bart, read_dimensions
from monarch_sciml.data.fastmri import read_fastmri, read_header
from monarch_sciml.data.scan import Scan as Scan
from monarch_sciml.data.scan import acquired_samples as acquired_samples

ScanFormat = Literal["fastmri", "bart", "npy", "mat"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognise(path: str | Path) -> ScanFormat:
    """Return the format of a k-space file, from its first bytes.

    Parameters
    ----------
    path
        A file; for BART the .cfl, the .hdr or their common stem.

    Raises
    ------
    FileNotFoundError
        When there is no such file, or one half of a BART pair is missing.
    ValueError
        When the content is of none of the formats.
    """
    path = Path(path)
    header, data = pair_of(path)
    if path.suffix in (".cfl", ".hdr") or (not path.exists() and header.exists()):
        existing_file(path if path.suffix else data)
        existing_file(header)
        existing_file(data)
        return "bart"
    with existing_file(path).open("rb") as stream:
        start = stream.read(8)
    signatures: dict[bytes, ScanFormat] = {
        HDF5_SIGNATURE: "fastmri",
        b"\x93NUMPY": "npy",
        b"MATLAB": "mat",
    }
    for signature, form in signatures.items():
        if start.startswith(signature):
            return form
    rule = f"{path} must be a fastMRI .h5, BART .cfl/.hdr, .npy or .mat file"
    got = f"content that starts with {start!r}" if start else "an empty file"
    raise ValueError(message(rule, got, "Convert it, for example with BART."))


def read_scan(
    path: str | Path,
    *,
    format: ScanFormat | None = None,
    slices: slice | None = None,
    axes: str | None = None,
    variable: str | None = None,
) -> Scan:
    """Read a k-space file of any known format and check what it holds.

    Parameters
    ----------
    path
        A fastMRI .h5, BART .cfl/.hdr (either name, or the stem), .npy or .mat file.
    format
        Leave the recognition out and read the file as this format.
    slices
        Which slices to read; all by default.
    axes
        .npy and .mat only: names of the axes, for example "height,width,coil".
    variable
        .mat only: name of the array.

    Returns
    -------
    Scan
        The validated scan.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is foreign, truncated or an ISMRMRD file, when its k-space has NaN or only
        zeros, or shapes that do not fit; when `axes` or `variable` is given for another format.

    Notes
    -----
    k-space is taken as it is stored: centred, zero frequency at index N // 2. Nothing in a .npy,
    .mat or BART file says whether that is so, and it is NOT checked.
    """
    form = one_of("format", format, get_args(ScanFormat)) if format else recognise(path)
    if (axes or variable) and form not in ("npy", "mat"):
        rule = "`axes` and `variable` are for .npy and .mat files only"
        raise ValueError(message(rule, f"a {form} file", "Leave them out."))
    readers: dict[ScanFormat, Callable[[], Scan]] = {
        "fastmri": lambda: read_fastmri(path, slices=slices),
        "bart": lambda: read_bart(path, slices=slices),
        "npy": lambda: read_array(path, axes=axes, slices=slices),
        "mat": lambda: read_array(path, axes=axes, variable=variable, slices=slices),
    }
    return readers[form]().validate()


def describe_scan(
    path: str | Path, *, axes: str | None = None, variable: str | None = None
) -> dict[str, Any]:
    """Say what a k-space file is, reading one slice of it (BART, .npy, .mat: all).

    Parameters
    ----------
    path
        As for `read_scan`.
    axes, variable
        As for `read_scan`.

    Returns
    -------
    dict
        `file`, `format`, `slices`, `coils`, `matrix` (H, W), `dtype` (on disk), `acquisition`,
        `acceleration` (achieved, of the middle slice), `calibration`, `fully_sampled`,
        `padding`, `reference` (name and shape, or None), `coil_maps` (bool).

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_scan`; only the samples that are read are checked.
    """
    form = recognise(path)
    slices = None
    if form == "fastmri":
        middle = read_header(path)["shape"][0] // 2
        slices = slice(middle, middle + 1)
    elif form == "bart":
        read_dimensions(path)
    scan = read_scan(path, format=form, slices=slices, axes=axes, variable=variable)
    header = scan.header
    reference = header.get("reference")
    return {
        "file": scan.name,
        "format": header["format"],
        "slices": header["shape"][0] if "shape" in header else scan.n_slices,
        "coils": scan.n_coils,
        "matrix": scan.matrix,
        "dtype": header.get("dtype", "complex64"),
        "acquisition": header.get("acquisition"),
        "acceleration": round(scan.acceleration, 3),
        "calibration": scan.calibration,
        "fully_sampled": scan.fully_sampled,
        "padding": header.get("padding"),
        "reference": f"{reference} {header['reference_shape']}" if reference else None,
        "coil_maps": scan.coil_maps is not None,
    }
