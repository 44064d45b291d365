"""The formats of k-space files, which of them a file has, and the scans in a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from monarch_sciml._checks import message
from monarch_sciml._reading import FileKind, file_kind, file_start, open_hdf5
from monarch_sciml.data.scans.formats.array import read_array
from monarch_sciml.data.scans.formats.bart import check_pair, is_pair, read_bart
from monarch_sciml.data.scans.formats.calgary_campinas import read_calgary_campinas
from monarch_sciml.data.scans.formats.hdf5_kinds import format_of
from monarch_sciml.data.scans.formats.m4raw import read_m4raw
from monarch_sciml.data.scans.formats.skm_tea import read_skm_tea
from monarch_sciml.data.scans.raw.ismrmrd import read_ismrmrd
from monarch_sciml.data.scans.raw.twix import read_twix
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices

FormatName = Literal[
    "fastmri", "ismrmrd", "skm-tea", "calgary-campinas", "twix", "bart", "npy", "mat"
]
KNOWN = (
    "fastMRI, ISMRMRD, SKM-TEA or Calgary-Campinas .h5, Siemens twix .dat, BART .cfl/.hdr, "
    ".npy or .mat"
)
SUFFIXES = (".h5", ".hdf5", ".mrd", ".cfl", ".npy", ".mat", ".dat")
"""Endings of the names of scan files, whose format is recognised by content."""
_KINDS: dict[FileKind, FormatName] = {
    "npy": "npy",
    "matlab 5": "mat",
    "matlab 7.3": "mat",
    "twix": "twix",
}


@dataclass(frozen=True)
class ScanFormat:
    """Describe a format of k-space files.

    Attributes
    ----------
    name
        Name of the format.
    title
        Name of the format in error messages.
    reader
        Its reader: called with a path, `slices` and its options, it returns a scan that is not
        validated.
    options
        Names of the options that the reader has.
    free_form
        Whether any program may have written such files, images in the place of k-space too.
    raw
        Whether the files hold single readouts, of which `limit` reads those nearest the centre.
    """

    name: FormatName
    title: str
    reader: Callable[..., Scan]
    options: tuple[str, ...] = ()
    free_form: bool = False
    raw: bool = False


def _read_fastmri(path: str | Path, *, slices: Slices = None, repetition: Any = None) -> Scan:
    """Read a file in fastMRI's layout, which is of one repetition, or the mean of its series."""
    if repetition not in (None, "average"):
        rule = "`repetition` of a fastMRI or M4Raw file must be 'average' or left out"
        remedy = "Read the file of that repetition instead."
        raise ValueError(message(rule, repr(repetition), remedy))
    return read_m4raw(path, slices=slices, average=repetition == "average")


_SERIES = ("contrast", "repetition")
_RAW = (*_SERIES, "prewhiten", "sequence", "reference_scan")
_ARRAY = ("axes", "variable", *_SERIES, "fftshift")
FORMATS: dict[str, ScanFormat] = {
    form.name: form
    for form in (
        ScanFormat("ismrmrd", "ISMRMRD", read_ismrmrd, _RAW, raw=True),
        ScanFormat("twix", "twix", read_twix, _RAW, raw=True),
        ScanFormat("skm-tea", "SKM-TEA", read_skm_tea, ("contrast",)),
        ScanFormat("calgary-campinas", "Calgary-Campinas", read_calgary_campinas),
        ScanFormat("fastmri", "fastMRI", _read_fastmri, ("repetition",), free_form=True),
        ScanFormat("npy", ".npy", read_array, _ARRAY, free_form=True),
        ScanFormat("mat", ".mat", read_array, _ARRAY, free_form=True),
        ScanFormat("bart", "BART", read_bart, (*_SERIES, "fftshift"), free_form=True),
    )
}
"""The formats of k-space files by name."""
OPTIONS = tuple(dict.fromkeys(name for form in FORMATS.values() for name in form.options))
"""Names of the options of all readers."""


def recognise(path: str | Path) -> FormatName:
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
    if is_pair(path):
        check_pair(path)
        return "bart"
    start = file_start(path)
    if start.kind == "hdf5":
        with open_hdf5(path) as file:
            return format_of(file)
    if start.kind in _KINDS:
        return _KINDS[start.kind]
    rule = f"{path} must be a {KNOWN} file"
    raise ValueError(message(rule, start.description, "Convert it, for example with BART."))


def scans_in(
    paths: Sequence[Path], others: Collection[Path] = ()
) -> tuple[list[Path], dict[str, str]]:
    """Return the scans among files and in folders, and what else is in the folders.

    Parameters
    ----------
    paths
        Files, which are taken as they are, and folders, whose own folders are not looked into.
    others
        Resolved paths of files in the folders that are something else, such as a mask.

    Returns
    -------
    The scans, those of a folder in the order of their names, damaged ones included; and the reason
    for each other file that is not hidden, nor the header of a .cfl.

    Raises
    ------
    FileNotFoundError
        When a folder holds no scans.
    """
    scans: dict[Path, None] = {}
    skipped: dict[str, str] = {}
    for folder in paths:
        if not folder.is_dir():
            scans[folder] = None
            continue
        reasons = {p: _foreign(p) for p in sorted(folder.iterdir()) if _counts(p, others)}
        found = [path for path, reason in reasons.items() if reason is None]
        rest = {str(path): reason for path, reason in reasons.items() if reason is not None}
        if not found:
            rule = f"{folder} must hold scans that end in {', '.join(SUFFIXES)}"
            got = f"{len(rest)} other files" if rest else "no files"
            raise FileNotFoundError(message(rule, got, "Folders inside it are not looked into."))
        scans |= dict.fromkeys(found)
        skipped |= rest
    return list(scans), skipped


def _counts(path: Path, others: Collection[Path]) -> bool:
    """Return whether a file is one of its own: not hidden, nor the header that goes with a .cfl."""
    if path.is_dir() or path.name.startswith(".") or path.resolve() in others:
        return False
    return path.suffix != ".hdr" or not path.with_suffix(".cfl").exists()


def _foreign(path: Path) -> str | None:
    """Return the reason why a file is no scan; None for a scan, including a damaged one."""
    if path.suffix.lower() not in SUFFIXES:
        return "not the name of a scan"
    try:
        if not path.stat().st_size:
            return None  # cut off at the start
        if file_kind(path) == "hdf5":
            with open_hdf5(path):
                pass
    except (OSError, ValueError):
        return None
    try:
        recognise(path)
    except OSError:
        return None  # one half of a pair
    except ValueError as error:
        return str(error)
    return None
