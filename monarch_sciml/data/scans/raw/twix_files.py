"""Recognise Siemens raw-data files, open them by twixtools, and refuse damaged ones."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message, optional_package
from monarch_sciml._inspection import call_apart
from monarch_sciml._memory import check_array
from monarch_sciml._reading import cause_of, existing_file, looks_like_twix

LONGEST_END = 16384
"""Bytes that the end mark of a measurement has at most, with what follows it up to the next one."""
FIRST_MEASUREMENT = 8 + 64 * 152  # bytes of the table of contents of a VD, VE or XA file

LOOKED_THROUGH = 2**26
"""Files of at most 64 MiB are read once in another process before they are read in this one.

Of larger ones the protocol is, and `_check_steps` follows their readouts.
"""
ENDS, SYNCHRONISES = 1 << 0, 1 << 5
"""Flags of blocks that state their length, as others do not."""
READOUT_BYTES = 4096
"""Memory that twixtools needs for each readout, at most."""


def measurements_of(path: Path) -> list[dict[str, Any]]:
    """Return what twixtools makes of a file: a dictionary a measurement, with `hdr` and `mdb`.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When twixtools is not installed, the file has no suffix, is of another kind, truncated or
        damaged, or holds no readouts.
    """
    optional_package("twixtools", "reading Siemens raw data", "scanners")
    with existing_file(path).open("rb") as stream:
        start = stream.read(FIRST_MEASUREMENT)
    if not looks_like_twix(start):
        rule = f"{path} must be a Siemens raw-data file (twix)"
        raise ValueError(message(rule, f"content {start[:8]!r}", "Check where it came from."))
    if not path.suffix:  # twixtools would look for another file, with .dat appended
        rule = "a Siemens raw-data file must have a suffix"
        raise ValueError(message(rule, path.name, "Rename it to end in .dat."))
    _check_size(path, start)
    try:
        large = path.stat().st_size > LOOKED_THROUGH
        if large:
            _check_steps(path, start)
        call_apart(_look_through, path, not large)
        measurements = _read(path)
    except ValueError as error:
        if path.name in str(error):
            raise
        raise _damaged(path, error) from error
    except Exception as error:  # twixtools raises almost anything on a damaged file
        raise _damaged(path, error) from error
    for measurement in measurements:
        _take_end_mark(path, measurement)
    if not measurements or not measurements[-1]["mdb"]:
        rule = f"{path.name} must hold imaging readouts"
        raise ValueError(message(rule, "no readouts", "Export the scan again."))
    return measurements


def _read(path: Path, *, readouts: bool = True) -> list[dict[str, Any]]:
    import twixtools

    said = io.StringIO()  # twixtools prints even when told to be quiet
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows, where counts are damaged
        return twixtools.read_twix(
            str(path.resolve()),
            parse_data=readouts,
            parse_pmu=False,
            parse_geometry=False,
            verbose=False,
            keep_syncdata=False,
            keep_acqend=True,
        )


def _look_through(path: Path, readouts: bool) -> None:
    """Read a file whose damage may crash twixtools or let it loop; called in another process."""
    _read(path, readouts=readouts)


def _check_steps(path: Path, start: bytes) -> None:
    """Follow the readouts of a file as twixtools does, and refuse one that leads nowhere.

    Raises
    ------
    ValueError
        When a readout has no length, or there are more than memory holds.
    """
    first, count = struct.unpack_from("<II", start)
    old, size, n_readouts = first >= 10000, path.stat().st_size, 0  # VB: no table of contents
    spans = (
        [(0, size)]
        if old
        else [struct.unpack_from("<QQ", start, 16 + 152 * i) for i in range(count)]
    )
    flags_at, channel, block = (20, 128, 0) if old else (40, 32, 192)
    with path.open("rb") as stream:
        for offset, length in spans:
            stream.seek(offset)
            at = offset + int.from_bytes(stream.read(4), "little")
            while at + 128 < offset + (length or size - offset):
                stream.seek(at)
                head = stream.read(flags_at + 12)
                if len(head) < flags_at + 12:
                    raise _damaged(path, "readouts beyond its end")
                flags, samples, coils = struct.unpack_from("<QHH", head, flags_at)
                step = coils * (8 * samples + channel) + block
                if flags & (ENDS | SYNCHRONISES):
                    step = int.from_bytes(head[:4], "little") % 2**25
                if flags & ENDS:
                    break
                if not step:
                    raise _damaged(path, "a readout without length")
                at, n_readouts = at + step, n_readouts + 1
    check_array(path, "the readouts", (n_readouts,), READOUT_BYTES)


def _take_end_mark(path: Path, measurement: dict[str, Any]) -> None:
    """Remove the block that ends a measurement; refuse one that stops before its stated end."""
    blocks = measurement["mdb"]
    if not blocks or not blocks[-1].is_flag_set("ACQEND"):
        raise _damaged(path, "a measurement without its end mark")
    end = blocks.pop()
    entry = measurement.get("raidfile_hdr")
    if entry is None:  # VB: no table of contents
        return
    left = int(entry["off_"]) + int(entry["len_"]) - int(end.mem_pos)
    if left > LONGEST_END:
        raise _damaged(path, f"{left} bytes after the end mark of a measurement")


def _check_size(path: Path, start: bytes) -> None:
    """Refuse a file shorter than its table of contents says."""
    first, count = struct.unpack_from("<II", start)
    if first >= 10000:  # VB: no table of contents
        return
    size, end = path.stat().st_size, 0
    if len(start) == FIRST_MEASUREMENT:
        entries = (struct.unpack_from("<QQ", start, 8 + 152 * i + 8) for i in range(count))
        end = max(offset + length for offset, length in entries)
    if len(start) < FIRST_MEASUREMENT or size < end:
        raise _damaged(path, f"{size} bytes of {max(end, FIRST_MEASUREMENT)}")


def _damaged(path: Path, reason: object) -> ValueError:
    remedy = "The file is truncated or damaged: copy it again."
    return ValueError(message(f"{path} must be a complete twix file", cause_of(reason), remedy))
