"""What `reconstruct` says of a scan beside its numbers: what was chosen, what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from monarch_sciml.data.scan import Scan


def choices(read: Scan, reader: Mapping[str, Any]) -> list[str]:
    """Say what was taken of a file that holds more than one image.

    Parameters
    ----------
    read
        The scan as its file gives it.
    reader
        Options of `read_scan` that the user gave.
    """
    notes = []
    if read.calibration_kspace is not None:
        notes.append("separate calibration lines fill in for missing imaging lines")
    for name in ("contrast", "repetition"):
        count = read.header.get(f"{name}s", 1)
        if count > 1 and name not in reader:
            # the files of a series are repetitions of which any may have been named
            which = "one" if read.header["format"] == "fastMRI" else "the first"
            notes.append(f"{which} of {count} {name}s was read: see --{name}")
    return notes


@contextmanager
def notes_in_errors(notes: Sequence[str]) -> Iterator[None]:
    """Add to a ValueError what looked wrong with the scan beforehand: likely its cause."""
    said = "; ".join(notes)
    try:
        yield
    except ValueError as error:
        if not said:
            raise
        raise ValueError(f"{error} Note: {said}.") from error
