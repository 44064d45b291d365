"""Write files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monarch_sciml._checks import message


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
