"""Write files whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monarch_sciml._checks import message


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


_REFUSALS = [
    os.strerror(getattr(errno, name))
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS")
    if hasattr(errno, name)
]
"""What a disk says when it takes no more, also within the longer texts of HDF5 and safetensors."""


@contextmanager
def whole_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false: nothing is touched.
    OSError
        When the disk refuses the file: one line that names it.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        rule = "the output file must not exist yet"
        raise FileExistsError(message(rule, str(path), "Remove it, or pass another name."))
    part = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except Exception as error:  # HDF5 and safetensors raise others than OSError
        cause = next((text for text in _REFUSALS if text in str(error)), None)
        if cause is None:
            raise
        remedy = "Free space on the disk or name another, then repeat or resume."
        raise OSError(message(f"{path} must be writable", repr(cause), remedy)) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all."""
    with whole_file(path, overwrite=True) as part:
        part.write_text(text, encoding="utf-8")
