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

    low: Any = h5py  # its types leave out h5l and h5o

    _read(lambda: _read_attributes(group))
    for name in _read(lambda: list(group)) or ():
        if found or len(seen) > MOST_OBJECTS:
            return
        key = name.encode("utf-8", "surrogateescape")
        kind = _read(lambda key=key: group.id.links.get_info(key).type)
        if kind == low.h5l.TYPE_EXTERNAL:
            link = _read(lambda name=name: group.get(name, getlink=True))
            if link is not None:
                _check_inside(link.filename, path, f"a link to {link.filename}", found)
        if kind != low.h5l.TYPE_HARD:
            continue
        opened = _read(lambda key=key: low.h5o.open(group.id, key))
        place = None if opened is None else _read(lambda opened=opened: _address(opened))
        if place is None or place in seen:
            continue
        seen.add(place)
        if isinstance(opened, h5py.h5g.GroupID):
            _look_at(h5py.Group(opened), path, found, seen)
        elif isinstance(opened, h5py.h5d.DatasetID) and not _read(
            lambda opened=opened: _is_plain(opened)
        ):
            item = h5py.Dataset(opened)
            _read(lambda item=item: _read_attributes(item))
            _look_at_values(item, path, found)


def _address(opened: Any) -> int:
    import h5py

    low: Any = h5py
    return low.h5o.get_info(opened).addr


def _is_plain(dataset: Any) -> bool:
    """Return whether a data set has numbers in this file, few of them, and nothing else."""
    import h5py

    kind, stated = dataset.get_type(), dataset.get_create_plist()
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        return False
    if h5py.h5a.get_num_attrs(dataset) or stated.get_layout() == h5py.h5d.VIRTUAL:
        return False
    size = dataset.get_space().get_simple_extent_npoints() * kind.get_size()
    return size <= LARGE and not stated.get_external_count()


def _read_attributes(item: Any) -> None:
    """Read all attributes of a group or data set, and the names of its axes if it has any."""
    import h5py

    if not h5py.h5a.get_num_attrs(item.id):
        return
    for name in item.attrs:
        _read(lambda name=name: item.attrs[name])
    if isinstance(item, h5py.Dataset):
        _read(lambda: [(axis.label, len(axis)) for axis in item.dims])


def _look_at_values(item: Any, path: Path, found: list[str]) -> None:
    import h5py

    stated = _read(item.id.get_create_plist)
    outside: list[str] = []
    if stated is not None and stated.get_layout() == h5py.h5d.VIRTUAL:
        outside += [str(source.file_name) for source in _read(item.virtual_sources) or ()]
    elif stated is not None and stated.get_external_count():
        outside += [str(entry[0]) for entry in _read(lambda: item.external) or ()]
    for name in outside:
        if name != ".":
            _check_inside(name, path, f"values in {name}", found)
    stored = _read(item.id.get_storage_size)
    claimed = _read(lambda: item.size * item.id.get_type().get_size()) or 0
    row = claimed // max(1, _read(lambda: len(item)) or 1)  # the least that readers take
    if not outside and stored is not None and row > LARGE and claimed > RATIO * stored:
        found.append(f"{claimed} bytes claimed for {item.name} and {stored} there")
    elif not found and _in_heap(item):
        _read(lambda: item[:ROWS] if item.ndim else item[()])
        _read(lambda: item[-ROWS:] if item.ndim and len(item) > ROWS else None)


def _in_heap(item: Any) -> bool:
    """Return whether a data set has texts or lists of any length, on their own or in its rows."""
    import h5py

    kind = _read(lambda: item.id.get_type().get_class())
    if kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        return False
    dtype = _read(lambda: item.dtype)
    return dtype is None or dtype.hasobject


def _check_inside(name: str, path: Path, what: str, found: list[str]) -> None:
    """Note a file outside the folder of this one."""
    folder = path.resolve().parent
    other = (folder / os.fsdecode(name)).resolve()
    if not other.is_relative_to(folder):
        found.append(what)


def _read(step: Any) -> Any:
    """Return what a step returns, or None when it raises.

    Raises
    ------
    MemoryError
        When a text or list has a length for which there is no memory. HDF5 calls it an object of
        the heap whose size does not match; the reader would need that memory to find out.
    """
    try:
        return step()
    except MemoryError:
        raise
    except Exception as error:
        if any(words in str(error) for words in ("heap object size", "allocation failed")):
            raise MemoryError from error
        return None
