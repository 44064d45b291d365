"""fastMRI's HDF5 layout, with one file per volume, which is opened and closed at every read."""

# Letters: s slices, c coils, H readout axis, W phase-encode axis, h, w matrix of the reference.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml.data.hdf5 import open_hdf5 as open_hdf5
from monarch_sciml.data.hdf5 import part, plain, tensor, writable_hdf5
from monarch_sciml.data.scans.formats.hdf5_kinds import expect_format
from monarch_sciml.data.scans.formats.ismrmrd_header import (
    minimal_header,
    padding_from_header,
    voxel_size_from_header,
)
from monarch_sciml.data.scans.scan import Scan, acquired_samples
from monarch_sciml.data.scans.slices import Slices, resolve
from monarch_sciml.physics.sense_operator import ifft2c, rss

REFERENCES = ("target", "reconstruction_rss", "reconstruction_esc")


def read_header(path: str | Path) -> dict[str, Any]:
    """Read everything but the arrays of a fastMRI file.

    Returns
    -------
    `format`, `dtype`, `shape` (s, c, H, W), `singlecoil`, `acquisition`, `padding` ((left, right)
    columns or None), `row_padding` and `transformed` (of a scan in hybrid space that
    `write_fastmri` wrote), `voxel_size` (slice, row, column) in mm or None, `reference` (name of
    the reference image or None), `reference_shape`, `has_mask`, `has_coil_maps`, `attributes`
    (those of the file, as plain Python values).

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated, foreign, or an ISMRMRD file.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        expect_format(file, "fastmri")
        return _header_of(file, file["kspace"])


def _header_of(file: Any, kspace: Any) -> dict[str, Any]:
    singlecoil = kspace.ndim == 3
    names = ("target", *(REFERENCES[:0:-1] if singlecoil else REFERENCES[1:]))
    reference = next((name for name in names if name in file), None)
    attributes = {name: plain(value) for name, value in file.attrs.items()}
    shape = tuple(kspace.shape)
    header = file.get("ismrmrd_header")
    padding = padding_from_header(_text(header)) if header is not None else None
    if padding is not None and not 0 <= padding[0] < padding[1] <= shape[-1]:
        padding = None  # the header is that of another matrix, as in cropped copies of a file
    voxel = voxel_size_from_header(_text(header), shape[-2:]) if header is not None else None
    return {
        "format": "fastMRI",
        "dtype": str(kspace.dtype),
        "shape": (shape[0], 1, *shape[1:]) if singlecoil else shape,
        "singlecoil": singlecoil,
        "acquisition": attributes.get("acquisition"),
        "padding": padding,
        "row_padding": _row_padding(attributes, shape[-2]),
        "transformed": _transformed(attributes),
        "voxel_size": voxel,
        "reference": reference,
        "reference_shape": tuple(file[reference].shape) if reference else None,
        "has_mask": "mask" in file,
        "has_coil_maps": "coil_maps" in file,
        "attributes": attributes,
    }


def _row_padding(attributes: dict[str, Any], height: int) -> tuple[int, int] | None:
    """Return the first and one past the last row that was encoded; None for all rows."""
    found = _listed(attributes, "row_padding")
    if found is None:
        return None
    if not (len(found) == 2 and all(isinstance(n, int) for n in found)):
        rule = "`row_padding` must be two whole numbers, the first and one past the last row"
        raise ValueError(message(rule, found, "Correct it, or leave it out."))
    first, last = found
    if not 0 <= first < last <= height:
        rule = f"`row_padding` must lie within the {height} rows"
        raise ValueError(message(rule, found, "Correct it, or leave it out."))
    return first, last


def _transformed(attributes: dict[str, Any]) -> tuple[str, ...]:
    """Return the axes that are in image space."""
    found = _listed(attributes, "transformed") or ()
    if any(name != "readout" for name in found):
        rule = "`transformed` may name the axis readout only"
        raise ValueError(message(rule, found, "Correct it, or leave it out."))
    return found


def _text(header: Any) -> str | bytes:
    """Return the XML of a data set of one text."""
    return part(header).reshape(-1)[0]


def _listed(attributes: dict[str, Any], name: str) -> tuple[Any, ...] | None:
    """Remove from the attributes a list that `write_fastmri` stored as JSON text; None without
    it.
    """
    text = attributes.get(name)
    if not (isinstance(text, str) and text.startswith("[")):
        return None
    return tuple(json.loads(attributes.pop(name)))


def read_fastmri(path: str | Path, *, slices: Slices = None) -> Scan:
    """Read a volume in fastMRI layout, multi-coil or single-coil, training or test.

    Single-coil k-space (s, H, W) becomes (s, 1, H, W). The mask is the file's `mask`, (W,),
    (H, W) or (s, H, W), within the samples that are not zero; the target is the first of `target`,
    `reconstruction_rss` and `reconstruction_esc` (single-coil: esc before rss) that the file has.

    Parameters
    ----------
    path
        The .h5 file.
    slices
        Slices to read, by default all.

    Returns
    -------
    Scan
        With the dictionary of `read_header` as its header. Not validated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated, foreign, or an ISMRMRD file; when the mask does not fit k-space.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        expect_format(file, "fastmri")
        dataset = file["kspace"]
        header = _header_of(file, dataset)
        pick = resolve(slices, len(dataset))
        kspace = tensor(part(dataset, pick))
        kspace = kspace[:, None] if dataset.ndim == 3 else kspace  # (s, H, W) -> (s, 1, H, W)
        mask = torch.from_numpy(part(file["mask"])) != 0 if "mask" in file else None
        coil_maps = tensor(part(file["coil_maps"], pick)) if header["has_coil_maps"] else None
        target = tensor(part(file[header["reference"]], pick)) if header["reference"] else None
    acquired = acquired_samples(kspace)
    if mask is not None:
        each = mask.shape == (header["shape"][0], *kspace.shape[-2:])
        mask = mask[pick] if each else mask
        if not each and mask.shape not in (kspace.shape[-1:], kspace.shape[-2:]):
            rule = f"`mask` of {path} must have shape (W,) or (H, W) = {tuple(kspace.shape[-2:])}"
            raise ValueError(message(rule, tuple(mask.shape), "Use the mask of the same file."))
        acquired = acquired & mask  # (s?, H, W) & ((W,) or (H, W))
    transformed = header["transformed"]
    return Scan(kspace, acquired, coil_maps, target, header, path.name, path, transformed)


def read_slice(path: str | Path, index: int) -> Scan:
    """Read one slice of a volume in fastMRI layout, leaving the rest of the file on disk.

    Parameters
    ----------
    path
        The .h5 file.
    index
        Slice number, 0 to s - 1.

    Returns
    -------
    Scan
        A scan of one slice. Cost: the bytes of that slice; the file is closed again.

    Raises
    ------
    ValueError
        When the volume has no such slice, or when `read_fastmri` raises it.
    """
    scan = read_fastmri(path, slices=slice(index, index + 1))
    if scan.n_slices != 1 or index < 0:
        rule = f"the slice of {path} must lie in 0..{scan.header['shape'][0] - 1}"
        raise ValueError(message(rule, index, "Pick a slice of the volume."))
    return scan


def write_fastmri(
    path: str | Path,
    scan: Scan,
    *,
    reconstruction: torch.Tensor | None = None,
    attributes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a scan in fastMRI layout, whole or not at all.

    Data sets: `kspace` (s, c, H, W) complex64 and `ismrmrd_header`; `mask`, (W,) when the pattern
    is the same in every row, (H, W) otherwise, (s, H, W) where slices differ (which fastMRI's own
    readers do not know), when the scan is undersampled; `reconstruction_rss` float32 when it is
    fully sampled. Beyond fastMRI's own data sets, where the scan has them: `coil_maps`
    (s, c, H, W), `target` (s, h, w) complex, `reconstruction` (s, h, w). A scan in hybrid space has
    the attributes `transformed` and `row_padding`, by which `read_fastmri` recognises it.

    Parameters
    ----------
    path
        The .h5 file to write.
    scan
        The scan; its `header["acquisition"]` and `header["attributes"]` become attributes.
    reconstruction
        (s, h, w), real or complex image made from the scan, unit of `scan.target`.
    attributes
        Further attributes. Text and numbers are stored as they are, other values as JSON text.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When the scan is not valid.
    """
    scan.validate()
    arrays = _arrays_of(scan)
    if reconstruction is not None:
        arrays["reconstruction"] = reconstruction
    volume = arrays.get("reconstruction_rss")
    known = {"acquisition": scan.header.get("acquisition") or "UNKNOWN", "patient_id": scan.name}
    if volume is not None:
        known |= {"max": float(volume.max()), "norm": float(torch.linalg.vector_norm(volume))}
    else:
        known |= {"acceleration": scan.acceleration}
    known |= scan.header.get("attributes", {}) | (attributes or {})
    hybrid = {"transformed": scan.transformed, "row_padding": scan.header.get("row_padding")}
    known |= {name: list(value) for name, value in hybrid.items() if value}
    image = scan.kspace if scan.target is None else scan.target
    padding, voxel_size = (scan.header.get(name) for name in ("padding", "voxel_size"))
    xml = minimal_header(scan.matrix, (image.shape[-2], image.shape[-1]), padding, voxel_size)
    with whole_file(path, overwrite=overwrite) as part, writable_hdf5(part) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array.detach().cpu().resolve_conj().numpy())
        file.create_dataset("ismrmrd_header", data=xml)
        for name, value in known.items():
            plain = isinstance(value, str | int | float | bool)
            file.attrs[name] = value if plain else json.dumps(value)


def _arrays_of(scan: Scan) -> dict[str, torch.Tensor]:
    """Return the data sets of a scan by name."""
    single = scan.header.get("singlecoil", False) and scan.n_coils == 1
    arrays = {"kspace": scan.kspace[:, 0] if single else scan.kspace}
    if scan.fully_sampled:
        arrays["reconstruction_rss"] = rss(ifft2c(scan.kspace), dim=1)  # (s, c, H, W) -> (s, H, W)
    elif scan.mask.ndim == 3:
        arrays["mask"] = scan.mask
    else:
        columns = scan.mask.any(0)  # (H, W) -> (W,)
        arrays["mask"] = columns if bool((scan.mask == columns).all()) else scan.mask
    if scan.coil_maps is not None:
        arrays["coil_maps"] = scan.coil_maps
    if scan.target is not None:
        name = scan.header.get("reference") or "target"
        arrays["target" if scan.target.is_complex() else name] = scan.target
    return arrays
