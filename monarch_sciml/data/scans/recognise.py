"""Recognise a k-space file by its content, read it into a `Scan`, or describe it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from monarch_sciml._checks import existing_file, message, one_of
from monarch_sciml._reading import FileKind, file_kind, start_of
from monarch_sciml.data.scans.formats.array import read_array
from monarch_sciml.data.scans.formats.bart import pair_of, read_bart
from monarch_sciml.data.scans.formats.calgary_campinas import read_calgary_campinas
from monarch_sciml.data.scans.formats.hdf5_kinds import hdf5_format
from monarch_sciml.data.scans.formats.m4raw import read_m4raw
from monarch_sciml.data.scans.formats.skm_tea import read_skm_tea
from monarch_sciml.data.scans.notes import gaps, suspicions
from monarch_sciml.data.scans.plausible import check_coils, check_domain
from monarch_sciml.data.scans.raw.ismrmrd import read_ismrmrd
from monarch_sciml.data.scans.raw.readouts import Repetition
from monarch_sciml.data.scans.raw.twix import read_twix
from monarch_sciml.data.scans.raw.twix_files import looks_like_twix
from monarch_sciml.data.scans.scan import Scan as Scan
from monarch_sciml.data.scans.scan import acquired_samples as acquired_samples
from monarch_sciml.data.scans.slices import Slices, middle

ScanFormat = Literal[
    "fastmri", "ismrmrd", "skm-tea", "calgary-campinas", "twix", "bart", "npy", "mat"
]
KNOWN = (
    "fastMRI, ISMRMRD, SKM-TEA or Calgary-Campinas .h5, Siemens twix .dat, BART .cfl/.hdr, "
    ".npy or .mat"
)
OPTIONS: dict[str, tuple[ScanFormat, ...]] = {
    "axes": ("npy", "mat"),
    "variable": ("npy", "mat"),
    "contrast": ("ismrmrd", "twix", "skm-tea", "npy", "mat", "bart"),
    "repetition": ("ismrmrd", "twix", "fastmri", "npy", "mat", "bart"),
    "prewhiten": ("ismrmrd", "twix"),
    "sequence": ("ismrmrd", "twix"),
    "reference_scan": ("ismrmrd", "twix"),
    "fftshift": ("npy", "mat", "bart"),
}
"""Which formats an option of `read_scan` is for."""
STORED: tuple[ScanFormat, ...] = ("npy", "mat", "bart", "fastmri")
"""Formats that any program may have written, images in the place of k-space too."""
WORDS = {"npy": ".npy", "mat": ".mat", "ismrmrd": "ISMRMRD", "skm-tea": "SKM-TEA", "bart": "BART"}
_ARRAYS: dict[FileKind, ScanFormat] = {"npy": "npy", "matlab 5": "mat", "matlab 7.3": "mat"}
PROBE = 2048
"""How many readouts `describe_scan` reads at most of ISMRMRD and twix files."""


def recognise(path: str | Path) -> ScanFormat:
    """Return the format of a k-space file, from its content.

    Parameters
    ----------
    path
        A file; for BART the .cfl, the .hdr or their common stem.

    Raises
    ------
    FileNotFoundError
        When there is no such file, or one half of a BART pair is missing.
    ValueError
        When the content is of none of the formats, or an HDF5 file is damaged.
    """
    path = Path(path)
    header, data = pair_of(path)
    if path.suffix in (".cfl", ".hdr") or (not path.exists() and header.exists()):
        existing_file(path if path.suffix else data)
        existing_file(header)
        existing_file(data)
        return "bart"
    kind = file_kind(path)
    if kind == "hdf5":
        return hdf5_format(path)
    if kind in _ARRAYS:
        return _ARRAYS[kind]
    with path.open("rb") as stream:
        if looks_like_twix(stream.read(64)):
            return "twix"
    rule = f"{path} must be a {KNOWN} file"
    raise ValueError(message(rule, start_of(path), "Convert it, for example with BART."))


def read_scan(
    path: str | Path,
    *,
    format: ScanFormat | None = None,
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
    form = one_of("format", format, get_args(ScanFormat)) if format else recognise(path)
    options = _options(
        form,
        {
            "axes": axes,
            "variable": variable,
            "contrast": contrast,
            "repetition": repetition,
            "prewhiten": prewhiten or None,
            "sequence": sequence,
            "reference_scan": reference_scan,
            "fftshift": fftshift or None,
        },
    )
    return _checked(form, _read(form, path, slices, options))


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
    form = recognise(path)
    given: dict[str, Any] = {"axes": axes, "variable": variable, "contrast": contrast}
    given |= {"sequence": sequence, "reference_scan": reference_scan}
    options = _options(form, given | {"fftshift": fftshift or None})
    if form in ("ismrmrd", "twix"):
        options["limit"] = PROBE
    scan = _checked(form, _read(form, path, middle, options))
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


def _read(form: ScanFormat, path: str | Path, slices: Slices, options: dict[str, Any]) -> Scan:
    """Read a file of a known format, adding the name of the file to errors that lack it."""
    if form == "fastmri":
        options = {"average": options.get("repetition") == "average"}
    readers: dict[ScanFormat, Callable[..., Scan]] = {
        "fastmri": read_m4raw,  # the same as read_fastmri but for the names of the series
        "ismrmrd": read_ismrmrd,
        "skm-tea": read_skm_tea,
        "calgary-campinas": read_calgary_campinas,
        "twix": read_twix,
        "bart": read_bart,
        "npy": read_array,
        "mat": read_array,
    }
    try:
        return readers[form](path, slices=slices, **options)
    except ValueError as error:
        if Path(path).name in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _options(form: ScanFormat, given: dict[str, Any]) -> dict[str, Any]:
    """Return the given options; ValueError for one that belongs to another format."""
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if form not in OPTIONS[name]:
            *others, last = (WORDS.get(known, known) for known in OPTIONS[name])
            words = f"{', '.join(others)} and {last}"
            rule = f"`{name}` is for {words} files only"
            raise ValueError(message(rule, f"a {form} file", "Leave it out."))
    if form == "fastmri" and options.get("repetition", "average") != "average":
        rule = "`repetition` of a fastMRI or M4Raw file must be 'average' or left out"
        got = repr(options["repetition"])
        raise ValueError(message(rule, got, "Read the file of that repetition instead."))
    return options


def _checked(form: ScanFormat, scan: Scan) -> Scan:
    """Return a valid scan with its notes."""
    scan.validate()
    if form in STORED:
        check_domain(scan)
    scan.notes.extend(suspicions(scan))
    return scan
