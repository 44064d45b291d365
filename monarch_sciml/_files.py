"""Write files whole or not at all."""

from __future__ import annotations

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


@contextmanager
def whole_file(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false: nothing is touched.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        rule = "the output file must not exist yet"
        raise FileExistsError(message(rule, str(path), "Remove it, or pass another name."))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
