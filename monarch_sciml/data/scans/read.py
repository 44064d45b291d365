"""Read a k-space file of any known format into a `Scan`, or describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monarch_sciml.data.scans.notes import gaps
from monarch_sciml.data.scans.plausible import check_coils
from monarch_sciml.data.scans.raw.readouts import Repetition
from monarch_sciml.data.scans.recognise import FormatName
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices, middle
from monarch_sciml.data.scans.source import ScanFile

PROBE = 2048
"""How many readouts `describe_scan` reads at most of ISMRMRD and twix files."""


def read_scan(
    path: str | Path,
    *,
    format: FormatName | None = None,
    slices: Slices = None,
    axes: str | None = None,
    variable: str | None = None,
    contrast: int | None = None,
    repetition: Repetition | None = None,
    prewhiten: bool = False,
    sequence: str | Path | None = None,
    reference_scan: str | Path | None = None,
    fftshift: bool = False,
) -> Scan:
    """Read a k-space file of any known format and check its content.

    Parameters
    ----------
    path
        A fastMRI, M4Raw, ISMRMRD, SKM-TEA or Calgary-Campinas .h5, Siemens .dat, BART .cfl/.hdr
        (either name, or the stem), .npy or .mat file.
    format
        Format of the file. By default it is recognised by its content.
    slices
        Slices to read, by default all.
    axes
        Names of the axes of a .npy or .mat file, for example "height,width,coil".
    variable
        Name of the array in a .mat file, such as "data.kspace" inside a struct.
    contrast
        Number of the contrast or echo, by default the first. fastMRI files have only one.
    repetition
        Number of the repetition, by default the first, or "average" for the mean of all. For M4Raw
        the mean is over the files of the series.
    prewhiten
        Whether to whiten the noise of the coils by the noise readouts of an ISMRMRD or twix file.
    sequence
        The Pulseq file (.seq) that was measured, for an ISMRMRD or twix file. Its trajectory gives
        the place of every readout.
    reference_scan
        A file of the same sequence without phase encoding, for an ISMRMRD or twix file. It gives
        the phase between the lines of EPI that run forwards and backwards.
    fftshift
        Whether the zero frequency comes first, as in numpy.fft.fft2, in a .npy, .mat or BART file.

    Returns
    -------
    Scan
        The validated scan. Its `notes` name likely mistakes such as a dead coil.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of an unknown format or truncated, when its k-space has NaN or only zeros,
        when shapes do not fit, or when an option is given that belongs to another format.

    Notes
    -----
    k-space of .npy, .mat and BART files must be centred, with the zero frequency at index N // 2.
    Arrays that look like images are refused, and a line of `notes` warns of axes that look swapped.
    """
    reader = {
        "format": format,
        "axes": axes,
        "variable": variable,
        "contrast": contrast,
        "repetition": repetition,
        "prewhiten": prewhiten,
        "sequence": sequence,
        "reference_scan": reference_scan,
        "fftshift": fftshift,
    }
    return ScanFile.recognised(path, reader).read(slices)


def describe_scan(
    path: str | Path,
    *,
    axes: str | None = None,
    variable: str | None = None,
    contrast: int | None = None,
    sequence: str | Path | None = None,
    reference_scan: str | Path | None = None,
    fftshift: bool = False,
) -> dict[str, Any]:
    """Describe a k-space file, reading one slice of it (all of a .mat file).

    Parameters
    ----------
    path
        The arguments of `read_scan` with the same meaning.
    axes, variable, contrast, sequence, reference_scan, fftshift
        The arguments of `read_scan` with the same meaning.

    Returns
    -------
    `file`, `format`, `slices`, `coils`, `matrix` (H, W), `dtype` (on disk), `acquisition`,
    `contrasts`, `repetitions`, `acceleration` (achieved, of the middle slice), `calibration`,
    `fully_sampled`, `padding`, `row_padding`, `transformed` (axes in image space already),
    `separate_calibration` (size of the calibration region with the lines beside the image, or None
    without such), `readouts` (how many of each kind), `voxel_size`, `phase_correction` (by slice,
    of EPI), `reference` (name and shape, or None), `coil_maps` (bool), `masks` (names of stored
    ones), `notes`.

    Raises
    ------
    FileNotFoundError, ValueError
        When `read_scan` raises one of these, but only the samples that are read are checked.

    Notes
    -----
    In ISMRMRD and twix files the headers of all readouts and the samples of at most 2048 readouts
    are read.
    """
    reader = {
        "axes": axes,
        "variable": variable,
        "contrast": contrast,
        "sequence": sequence,
        "reference_scan": reference_scan,
        "fftshift": fftshift,
    }
    file = ScanFile.recognised(path, reader)
    scan = file.read(middle, limit=PROBE if file.format.raw else None)
    check_coils(scan)
    header, missing = scan.header, gaps(scan)
    separate = scan.calibration_kspace is not None
    reference = header.get("reference")
    return {
        "file": scan.name,
        "format": header["format"],
        "slices": header["shape"][0],
        "coils": scan.n_coils,
        "matrix": scan.matrix,
        "dtype": header["dtype"],
        "acquisition": header.get("acquisition"),
        "contrasts": header.get("contrasts", 1),
        "repetitions": header.get("repetitions", 1),
        "acceleration": round(scan.acceleration, 3),
        "calibration": scan.calibration,
        "fully_sampled": scan.fully_sampled,
        "order_known": header.get("order_known", True),
        "padding": header.get("padding"),
        "row_padding": header.get("row_padding"),
        "transformed": scan.transformed,
        "separate_calibration": scan.with_calibration().calibration if separate else None,
        "readouts": header.get("readouts"),
        "voxel_size": header.get("voxel_size"),
        "phase_correction": header.get("phase_correction"),
        "reference": f"{reference} {header['reference_shape']}" if reference else None,
        "coil_maps": scan.coil_maps is not None,
        "masks": header.get("masks") or None,
        "notes": [*scan.notes, *([missing] if missing else [])],
    }
