"""The HDF5 formats that scans are stored in, and how each is recognised."""

from __future__ import annotations

from typing import Any, Literal

from monarch_sciml._checks import message

Hdf5Format = Literal["fastmri", "ismrmrd", "skm-tea", "calgary-campinas"]


def acquisitions_of(file: Any) -> Any | None:
    """Return the first group of ISMRMRD raw data (`xml` and `data`) of an open file, or None."""
    import h5py

    for value in file.values():
        if isinstance(value, h5py.Group) and "xml" in value and "data" in value:
            return value
    return None


def format_of(file: Any) -> Hdf5Format:
    """Return the format of k-space that an open HDF5 file has, by its data sets.

    | format | how it is told |
    |---|---|
    | ismrmrd | a group with `xml` and `data`; a fastMRI file has `ismrmrd_header`, no such group |
    | skm-tea | `kspace` complex with five axes |
    | calgary-campinas | `kspace` real with four axes |
    | fastmri | `kspace` complex with three or four axes |

    Raises
    ------
    ValueError
        When it is none of them.
    """
    import h5py

    if acquisitions_of(file) is not None:
        return "ismrmrd"
    kspace = file.get("kspace")
    if not isinstance(kspace, h5py.Dataset):
        names = ", ".join(sorted(file)[:8]) or "nothing"
        rule = f"{file.filename} must hold the data set `kspace` of a fastMRI file"
        raise ValueError(message(rule, names, "Pass a file of k-space."))
    kinds: dict[tuple[str, int], Hdf5Format] = {
        ("c", 3): "fastmri",
        ("c", 4): "fastmri",
        ("c", 5): "skm-tea",
        ("f", 4): "calgary-campinas",
    }
    form = kinds.get((kspace.dtype.kind, kspace.ndim))
    if form is None:
        rule = (
            f"`kspace` of {file.filename} must be complex (slices, coils, H, W) or (slices, H, W)"
        )
        remedy = "Convert the file to fastMRI layout."
        raise ValueError(message(rule, f"{kspace.shape} {kspace.dtype}", remedy))
    return form


def expect_format(file: Any, expected: Hdf5Format) -> None:
    """Raise ValueError when an open file is of another format than the one a reader is for."""
    form = format_of(file)
    if form != expected:
        names = {
            "fastmri": "a fastMRI file",
            "ismrmrd": "an ISMRMRD (MRD) raw-data file",
            "skm-tea": "an SKM-TEA file",
            "calgary-campinas": "a Calgary-Campinas file",
        }
        rule = f"{file.filename} must be {names[expected]} for this reader"
        raise ValueError(message(rule, names[form], "Use `read_scan`, which tells them apart."))
