"""Read scans of any known format one slice at a time, for data sets and commands."""

# Letters: s slices, c coils, H, W matrix of k-space.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from monarch_sciml._checks import message, one_of
from monarch_sciml.data.scans.plausible import check_coils
from monarch_sciml.data.scans.recognise import OPTIONS, read_scan
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import middle
from monarch_sciml.physics.noise import noise_level
from monarch_sciml.physics.sampling.base import IndexRange

SUFFIXES = (".h5", ".hdf5", ".mrd", ".cfl", ".npy", ".mat", ".dat")
"""Endings of the names of scan files, whose format is recognised by content."""

READER_OPTIONS = ("format", *OPTIONS)
"""Names that the options of a reader may have."""


@dataclass(frozen=True)
class ScanFile:
    """Describe the file of a scan before its samples are read.

    Attributes
    ----------
    path
        The file.
    shape
        (s, c, H, W) of its k-space.
    rows, columns
        First and one past the last row and column of k-space that were encoded.
    subject
        Identifier of the person scanned: the attribute `patient_id` of the file, otherwise its
        name.
    transformed
        Axes that are in image space already, like `Scan.transformed`.
    reader
        Options of `read_scan`, such as `axes` for .npy files.
    peak
        Offset of the peak of k-space from its centre in rows and columns, in the middle slice.
    noise
        Noise relative to the brightness of the middle slice (`noise_level`). None if it is not
        known.
    """

    path: Path
    shape: tuple[int, int, int, int]
    rows: IndexRange
    columns: IndexRange
    subject: str
    transformed: tuple[str, ...] = ()
    reader: Mapping[str, Any] = field(default_factory=dict)
    peak: tuple[int, int] = (0, 0)
    noise: float | None = None

    def read(self, index: int) -> Scan:
        """Return the scan of one slice and close the file.

        An empty slice, as at the end of some volumes, becomes a scan of zeros that counts as
        acquired everywhere, although `read_scan` refuses a scan of zeros.

        Raises
        ------
        ValueError
            When there is no such slice, it is damaged, or it holds NaN.
        """
        if not 0 <= index < self.shape[0]:
            rule = f"the slice of {self.path} must lie in 0..{self.shape[0] - 1}"
            raise ValueError(message(rule, index, "Pick a slice of the volume."))
        try:
            return read_scan(self.path, slices=slice(index, index + 1), **self.reader)
        except ValueError:
            scan = self._beside_another(index)
            if scan is None:
                raise
            return scan

    def _beside_another(self, index: int) -> Scan | None:
        """Return an empty slice, which `read_scan` reads only together with another slice."""
        other = self.shape[0] // 2  # `open_scan` found a signal there
        if index == other:
            return None
        step = abs(index - other)
        pair = slice(min(index, other), max(index, other) + 1, step)
        scan = read_scan(self.path, slices=pair, **self.reader)
        place = int(index > other)
        if bool(scan.kspace[place].any()):
            return None
        one = slice(place, place + 1)
        return replace(
            scan,
            kspace=scan.kspace[one],
            mask=torch.ones(scan.matrix, dtype=torch.bool),
            coil_maps=None if scan.coil_maps is None else scan.coil_maps[one],
            target=None if scan.target is None else scan.target[one],
            calibration_kspace=None,
        )


def open_scan(path: str | Path, reader: Mapping[str, Any] | None = None) -> ScanFile:
    """Describe the file of a scan from its header and the slice in the middle.

    Parameters
    ----------
    path
        A file of any format that `read_scan` knows.
    reader
        Options of `read_scan` except `slices`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is of no known format, truncated or not finite (the message names it), or an
        option is unknown.
    """
    path, options = Path(path), dict(reader or {})
    for name in options:
        one_of("reader", name, READER_OPTIONS)
    scan = read_scan(path, slices=middle, **options)
    check_coils(scan)
    header = scan.header
    shape = tuple(header.get("shape") or scan.kspace.shape)
    subject = header.get("attributes", {}).get("patient_id")
    return ScanFile(
        path,
        (shape[0], shape[1], shape[2], shape[3]),
        header.get("row_padding") or (0, shape[2]),
        header.get("padding") or (0, shape[3]),
        str(subject or path.name),
        tuple(scan.transformed),
        options,
        scan.peak,
        noise_level(scan.kspace),
    )


def scan_files(folder: str | Path, pattern: str = "*") -> list[Path]:
    """Return the files of scans in a folder, in the order of their names.

    Parameters
    ----------
    folder
        Folder to search, without its subfolders.
    pattern
        Pattern of names, such as `*.cfl` or `sub-0?_*`. Of the files that match, those that end in
        one of `SUFFIXES` and are not hidden are taken.

    Raises
    ------
    NotADirectoryError
        When `folder` is a file.
    FileNotFoundError
        When `folder` is missing or has no such file.
    """
    folder = Path(folder)
    if folder.is_file():
        rule = "the folder of scans must be a folder"
        raise NotADirectoryError(message(rule, f"the file {folder}", "Name its folder."))
    if not folder.is_dir():
        rule = "the folder of scans must exist"
        raise FileNotFoundError(message(rule, folder, "Check the path."))
    paths = sorted(
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        rule = f"{folder} must hold scans named {pattern} that end in {', '.join(SUFFIXES)}"
        raise FileNotFoundError(message(rule, "none", "Check the path and `pattern`."))
    return paths
