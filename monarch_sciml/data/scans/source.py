"""A k-space file, recognised once and read slice by slice, for data sets and commands."""

# Letters: s slices, c coils, H, W matrix of k-space.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from monarch_sciml._checks import message, one_of
from monarch_sciml.data.scans.notes import suspicions
from monarch_sciml.data.scans.plausible import check_coils, check_domain
from monarch_sciml.data.scans.recognise import (
    FORMATS,
    OPTIONS,
    SUFFIXES,
    ScanFormat,
    recognise,
)
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.slices import Slices, middle
from monarch_sciml.physics.sampling.base import IndexRange

READER_OPTIONS = ("format", *OPTIONS)
"""Names that the options of a reader may have."""


@dataclass(frozen=True)
class ScanFacts:
    """Describe a scan by the header of its file and its middle slice.

    Attributes
    ----------
    shape
        (s, c, H, W) of its k-space.
    rows, columns
        First and one past the last row and column of k-space that were encoded.
    subject
        Identifier of the person scanned: the attribute `patient_id` of the file, otherwise its
        name.
    peak
        Offset of the peak of k-space from its centre in rows and columns, in the middle slice.
    noise
        Noise relative to the brightness of the middle slice (`noise_level`). None if it is not
        known.
    """

    shape: tuple[int, int, int, int]
    rows: IndexRange
    columns: IndexRange
    subject: str
    peak: tuple[int, int] = (0, 0)
    noise: float | None = None


@dataclass(frozen=True)
class ScanFile:
    """A k-space file whose format is recognised, with the options of its reader.

    Whatever needs the file takes this object in place of the path. The file is closed after each
    read, so that processes can share the object.

    Attributes
    ----------
    path
        The file.
    format
        Its format.
    options
        The options of its reader, such as `axes` for .npy files.
    """

    path: Path
    format: ScanFormat
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def recognised(
        cls, path: str | Path, reader: Mapping[str, Any], *, foreign: bool = False
    ) -> ScanFile:
        """Return a file after its format is recognised by its content, unless `reader` names it.

        Parameters
        ----------
        path
            A file of any format that `read_scan` knows.
        reader
            Options of `read_scan` except `slices`.
        foreign
            Whether options that the reader of this format does not have are left out. Otherwise
            they are refused.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is of no known format, or an option is unknown or refused.
        """
        options = {
            key: value for key, value in reader.items() if not (value is None or value is False)
        }
        for name in options:
            one_of("reader", name, READER_OPTIONS)
        name = options.pop("format", None)
        form = FORMATS[one_of("format", name, tuple(FORMATS)) if name else recognise(path)]
        taken = {name: value for name, value in options.items() if name in form.options}
        if not foreign and len(taken) < len(options):
            name = next(name for name in options if name not in taken)
            *others, last = (known.title for known in FORMATS.values() if name in known.options)
            rule = f"`{name}` is for {', '.join(others)} and {last} files only"
            raise ValueError(message(rule, f"a {form.name} file", "Leave it out."))
        return cls(Path(path), form, taken)

    @property
    def size(self) -> int:
        """Size of the file in bytes; 0 where the path is the stem of several files."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read(self, slices: Slices = None, *, limit: int | None = None) -> Scan:
        """Read slices of the scan, all by default, and check their content.

        Parameters
        ----------
        slices
            Slices to read.
        limit
            Largest number of readouts that are read of a file of single readouts.

        Returns
        -------
        Scan
            The validated scan. Its `notes` name likely mistakes such as a dead coil.

        Raises
        ------
        ValueError
            When the file is truncated, its k-space has NaN or only zeros, or shapes do not fit.
        """
        options = self.options if limit is None else {**self.options, "limit": limit}
        try:
            scan = self.format.reader(self.path, slices=slices, **options)
        except ValueError as error:
            if self.path.name in str(error):
                raise
            raise ValueError(f"{self.path}: {error}") from error
        scan.validate()
        if self.format.free_form:
            check_domain(scan)
        scan.notes.extend(suspicions(scan))
        return scan

    @cached_property
    def facts(self) -> ScanFacts:
        """Facts of the scan, for which its middle slice is read at the first use.

        Raises
        ------
        EmptyScanError
            When the slice holds zeros only, as `read_slice` accepts at the end of a volume.
        ValueError
            When the slice cannot be read, or the coils show different objects.
        """
        scan = self.read(middle)
        check_coils(scan)
        header = scan.header
        shape = tuple(header.get("shape") or scan.kspace.shape)
        subject = header.get("attributes", {}).get("patient_id")
        return ScanFacts(
            (shape[0], shape[1], shape[2], shape[3]),
            header.get("row_padding") or (0, shape[2]),
            header.get("padding") or (0, shape[3]),
            str(subject or self.path.name),
            scan.peak,
            scan.noise,
        )

    def read_slice(self, index: int) -> Scan:
        """Return the scan of one slice.

        An empty slice, as at the end of some volumes, becomes a scan of zeros that counts as
        acquired everywhere, although `read` refuses a scan of zeros.

        Raises
        ------
        ValueError
            When there is no such slice, it is damaged, or it holds NaN.
        """
        n_slices = self.facts.shape[0]
        if not 0 <= index < n_slices:
            rule = f"the slice of {self.path} must lie in 0..{n_slices - 1}"
            raise ValueError(message(rule, index, "Pick a slice of the volume."))
        try:
            return self.read(slice(index, index + 1))
        except ValueError:
            scan = self._beside_another(index)
            if scan is None:
                raise
            return scan

    def _beside_another(self, index: int) -> Scan | None:
        """Return an empty slice, which can only be read together with another slice."""
        other = self.facts.shape[0] // 2  # there is a signal there
        if index == other:
            return None
        step = abs(index - other)
        scan = self.read(slice(min(index, other), max(index, other) + 1, step))
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
    """Recognise a k-space file, and check its header and the slice in the middle.

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
    file = ScanFile.recognised(path, reader or {})
    file.facts  # noqa: B018 - read now, so that a bad file is refused here
    return file


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
