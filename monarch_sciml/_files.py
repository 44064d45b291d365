"""Write files whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from monarch_sciml._checks import message
from monarch_sciml._signals import check_stopped


def writable_folder(folder: str | Path) -> Path:
    """Return a folder, made where it is missing, in which files can be written.

    Raises
    ------
    OSError
        When they cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        rule = f"files must be writable in the folder {folder}"
        reason = (error.strerror or str(error)).lower()
        raise OSError(message(rule, repr(reason), "Name another folder.")) from error
    return folder


_FULL = ("ENOSPC", "EDQUOT", "EFBIG", "EIO")
_FORBIDDEN = ("EROFS", "EACCES", "EPERM")


def _texts(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.strerror(getattr(errno, name)) for name in names if hasattr(errno, name))


_REMEDIES = dict.fromkeys(
    _texts(_FULL), "Free space on the disk or name another, then repeat or resume."
) | dict.fromkeys(_texts(_FORBIDDEN), "Name a folder in which you may write, or change its rights.")
"""What a disk says when it takes no more, also within the longer texts of HDF5 and safetensors."""


def refusal(path: str | Path, error: BaseException) -> OSError | None:
    """Return one line about a file that could not be written, or None for another error."""
    cause = next((text for text in _REMEDIES if text in str(error)), None)
    if cause is None:
        return None
    return OSError(message(f"{path} must be writable", repr(cause), _REMEDIES[cause]))


@contextmanager
def whole_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The file has reached the disk before it is renamed. Hidden files of processes that were killed
    meanwhile are removed when the next process writes into the same folder.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false: nothing is touched.
    OSError
        When the file cannot be written, with one line that names it.
    """
    check_stopped()
    path = Path(path)
    if path.exists() and not overwrite:
        rule = "the output file must not exist yet"
        raise FileExistsError(message(rule, str(path), "Remove it, or pass another name."))
    part = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        part.unlink(
            missing_ok=True
        )  # otherwise the file that a link of this name points to would be overwritten
        yield part
        flush(part)
        os.replace(part, path)
        flush(path.parent)
    except Exception as error:  # HDF5 and safetensors raise other errors than OSError
        known = refusal(path, error)
        if known is None:
            raise
        raise known from error
    finally:
        with suppress(OSError):  # on a full disk the file does not exist
            part.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return the hidden name beside `path` for the file that this process is writing."""
    return path.with_name(f".{path.stem}.part{os.getpid()}-{_HOST}{path.suffix}")


_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_PART = re.compile(r"\..+\.part(\d+)(?:-([0-9a-f]{8}))?(?:\.\w+)*")
_STALE = 24 * 3600.0
"""Seconds after which the temporary file of a process on another machine is taken for left over."""
_searched: set[tuple[int, Path]] = set()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes have ended, once per folder.

    Processes on other machines are not visible, so their files are removed when they have not
    changed for a day.
    """
    key = (os.getpid(), folder.resolve())
    if key in _searched:
        return
    _searched.add(key)
    for path in folder.glob(".*.part*"):
        found = _PART.fullmatch(path.name)
        with suppress(OSError):
            if found and path.is_file() and _is_left(int(found[1]), found[2] or _HOST, path):
                path.unlink(missing_ok=True)


def _is_left(process: int, host: str, path: Path) -> bool:
    if host == _HOST and process != os.getpid():
        return not psutil.pid_exists(process)
    return host != _HOST and time.time() - path.stat().st_mtime > _STALE


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders, and a part may be a link to nowhere
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNFLUSHED:
            raise
    finally:
        os.close(descriptor)


_UNFLUSHED = (errno.EINVAL, errno.EROFS, errno.EBADF)
"""What systems say of files and folders that cannot be flushed."""


WHOLE_BYTES = 2**24
"""Files up to this size, 16 MiB, are read whole by `content_sum`."""
_BLOCKS, _BLOCK = 64, 2**16


def content_sum(path: Path) -> str:
    """Return a checksum of a file, the SHA-256 of its size and content.

    If a file has more than 16 MiB, only 64 blocks of 64 KiB are read, spread from the first to the
    last.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            digest.update(file.read())
        else:
            for number in range(_BLOCKS):
                file.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""
    with whole_file(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")
