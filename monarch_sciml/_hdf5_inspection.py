"""Look through an HDF5 file that may be damaged or hostile; called in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

MOST_OBJECTS = 20_000
ROWS = 1_000
"""Rows read at either end of data sets of texts and lists, which HDF5 keeps in a heap."""
LARGE = 2**28
RATIO = 2_000
"""Rows of 256 MiB or more, of values that take a two-thousandth or less, were never written."""


def look_through(path: Path) -> str:
    """Return a text on what is unsafe in a file, which is empty if nothing is.

    Every object is opened and every attribute is read if possible. Unreadable parts are left to the
    reader, whose error names them; this function finds parts that would cause crashes or endless
    loops.

    Returns
    -------
    A text on links or raw values in other folders, or on sizes that the file claims but does not
    have.
    """
    import h5py

    found: list[str] = []
    with h5py.File(path, "r") as file:
        _look_at(file, path, found, set())
    return found[0] if found else ""


def _look_at(group: Any, path: Path, found: list[str], seen: set[Any]) -> None:
    import h5py

    _read(lambda: [group.attrs[name] for name in group.attrs])
    for name in _read(lambda: list(group)) or ():
        if found or len(seen) > MOST_OBJECTS:
            return
        link = _read(lambda name=name: group.get(name, getlink=True))
        if isinstance(link, h5py.ExternalLink):
            _check_inside(link.filename, path, f"a link to {link.filename}", found)
        if not isinstance(link, h5py.HardLink):
            continue
        item = _read(lambda name=name: group[name])
        key = None if item is None else _read(lambda item=item: hash(item))
        if item is None or key in seen:
            continue
        seen.add(key)
        if isinstance(item, h5py.Group):
            _look_at(item, path, found, seen)
        elif isinstance(item, h5py.Dataset):
            _read(lambda item=item: [item.attrs[name] for name in item.attrs])
            _read(lambda item=item: [(axis.label, len(axis)) for axis in item.dims])
            _look_at_values(item, path, found)


def _look_at_values(item: Any, path: Path, found: list[str]) -> None:
    outside = [str(entry[0]) for entry in _read(lambda: item.external) or ()]
    if _read(lambda: item.is_virtual):
        outside += [str(source.file_name) for source in item.virtual_sources()]
    for name in outside:
        if name != ".":
            _check_inside(name, path, f"values in {name}", found)
    stored = _read(item.id.get_storage_size)
    claimed = _read(lambda: int(item.size or 0) * item.dtype.itemsize) or 0
    row = claimed // max(1, _read(lambda: len(item)) or 1)  # the least that readers take
    if not outside and stored is not None and row > LARGE and claimed > RATIO * stored:
        found.append(f"{claimed} bytes claimed for {item.name} and {stored} there")
    elif not found and _in_heap(item):
        _read(lambda: item[:ROWS] if item.ndim else item[()])
        _read(lambda: item[-ROWS:] if item.ndim and len(item) > ROWS else None)


def _in_heap(item: Any) -> bool:
    """Return whether a data set has texts or lists of any length, on their own or in its rows."""
    dtype = _read(lambda: item.dtype)
    if dtype is None:
        return True
    return dtype.hasobject


def _check_inside(name: str, path: Path, what: str, found: list[str]) -> None:
    """Note a file outside the folder of this one."""
    folder = path.resolve().parent
    other = (folder / os.fsdecode(name)).resolve()
    if not other.is_relative_to(folder):
        found.append(what)


def _read(step: Any) -> Any:
    """Return what a step returns, or None when it raises."""
    try:
        return step()
    except MemoryError:
        raise
    except Exception:
        return None
