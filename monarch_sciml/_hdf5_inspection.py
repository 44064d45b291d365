"""Look through an HDF5 file that may be damaged or hostile; called in a process of its own."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_OBJECTS = 20_000
MOST_BYTES = 4_096
"""Of a header that is compared with others."""
ROWS = 1_000
"""Rows read at either end of data sets of texts and lists, which HDF5 keeps in a heap."""
LARGE = 2**28
RATIO = 2_000
"""Rows of 256 MiB or more, of values that take a two-thousandth or less, were never written."""


def look_through(path: Path) -> str:
    """Return a text on what is unsafe in a file, which is empty if nothing is.

    Every object is opened and every attribute is read if possible. Unreadable parts are left to the
    reader, whose error names them; this function finds parts that would cause crashes or endless
    loops. A data set of plain numbers is not opened if its header equals that of one before it.

    Returns
    -------
    A text on links or raw values in other folders, or on sizes that the file claims but does not
    have.
    """
    import h5py

    with (
        h5py.File(path, "r") as file,
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        standard = file.id.get_create_plist().get_sizes() == (8, 8)
        walk = _Walk(path, content if standard else b"", file.userblock_size)
        _look_at(h5py.h5g.open(file.id, b"/"), walk)
    return walk.found[0] if walk.found else ""


@dataclass
class _Walk:
    """What is known of a file, and what is wrong with it."""

    path: Path
    content: mmap.mmap | bytes
    base: int
    """Where in the content HDF5 counts from."""
    found: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Addresses of objects."""
    plain: dict[tuple[int, ...], set[bytes]] = field(default_factory=dict)
    """Headers of data sets of plain numbers, by the places of 8 bytes in which they may differ."""

    def is_known(self, address: int) -> bool:
        """Return whether the header of an object is that of a data set of plain numbers before it.

        The address of the values and the time may differ. Only headers of version 1 in one piece
        are compared, which HDF5 writes by default ("HDF5 File Format Specification", version 3.0,
        IV.A.1.a).
        """
        header = self._header(address)
        return any(_blank(header, places) in known for places, known in self.plain.items())

    def remember(self, address: int) -> None:
        """Note the header of a data set of plain numbers."""
        header = self._header(address)
        places = _places(header)
        if places is not None:
            self.plain.setdefault(places, set()).add(_blank(header, places))

    def _header(self, address: int) -> bytes:
        start = self.base + address
        if start + 16 > len(self.content) or self.content[start] != 1:
            return b""
        (size,) = _SIZE.unpack_from(self.content, start + 8)
        return self.content[start : start + 16 + min(size, MOST_BYTES)]


def _places(header: bytes) -> tuple[int, ...] | None:
    """Return where in a header are the address of the values and the time, if nowhere else."""
    places, place = [], 16
    while place + 10 <= len(header):
        kind, size = _MESSAGE.unpack_from(header, place)
        place += 8
        if kind == _CONTINUED or (kind == _LAYOUT and header[place] != 3):
            return None
        if kind == _LAYOUT and header[place + 1] in _ADDRESSES:
            places.append(place + _ADDRESSES[header[place + 1]])
        elif kind == _TIME:
            places.append(place)
        place += size
    return tuple(places) if len(header) > 16 else None


def _blank(header: bytes, places: tuple[int, ...]) -> bytes:
    changed = bytearray(header)
    for place in places:
        changed[place : place + 8] = bytes(8)
    return bytes(changed)


_SIZE, _MESSAGE = struct.Struct("<I"), struct.Struct("<HH")
_LAYOUT, _CONTINUED, _TIME = 8, 16, 18
"""Numbers of messages in a header: how values are stored (IV.A.2.i), its rest, the last change."""
_ADDRESSES = {1: 2, 2: 3}
"""Where a layout has the address of its values: in one piece, in blocks."""


def _look_at(group: Any, walk: _Walk) -> None:
    """Look at a group, of h5py's low level, and all that is in it."""
    import h5py

    low: Any = h5py  # its types leave out h5l and h5o

    if _read(h5py.h5a.get_num_attrs, group) != 0:
        _read(lambda: _read_attributes(h5py.Group(group)))
    for name, kind, place in _links(group):
        if walk.found or len(walk.seen) > MOST_OBJECTS:
            return
        if kind == low.h5l.TYPE_EXTERNAL:
            link = _read(group.links.get_val, name)
            if link is not None:
                other = os.fsdecode(link[0])
                _check_inside(other, walk, f"a link to {other}")
        if kind != low.h5l.TYPE_HARD or place in walk.seen:
            continue
        walk.seen.add(place)
        if walk.is_known(place):
            continue
        opened = _read(low.h5o.open, group, name)
        if isinstance(opened, h5py.h5g.GroupID):
            _look_at(opened, walk)
        elif isinstance(opened, h5py.h5d.DatasetID):
            if _read(_is_plain, opened):
                walk.remember(place)
                continue
            item = h5py.Dataset(opened)
            _read(_read_attributes, item)
            _look_at_values(item, walk)


def _links(group: Any) -> list[tuple[bytes, int, Any]]:
    """Return names and kinds of the links in a group, and addresses of what hard links mean."""
    links: list[tuple[bytes, int, Any]] = []
    note = lambda name, link: links.append((name, link.type, link.u))  # noqa: E731
    _read(lambda: group.links.iterate(note, info=True))
    return links


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


def _look_at_values(item: Any, walk: _Walk) -> None:
    import h5py

    stated = _read(item.id.get_create_plist)
    outside: list[str] = []
    if stated is not None and stated.get_layout() == h5py.h5d.VIRTUAL:
        outside += [str(source.file_name) for source in _read(item.virtual_sources) or ()]
    elif stated is not None and stated.get_external_count():
        outside += [str(entry[0]) for entry in _read(lambda: item.external) or ()]
    for name in outside:
        if name != ".":
            _check_inside(name, walk, f"values in {name}")
    stored = _read(item.id.get_storage_size)
    claimed = _read(lambda: item.size * item.id.get_type().get_size()) or 0
    row = claimed // max(1, _read(lambda: len(item)) or 1)  # the least that readers take
    if not outside and stored is not None and row > LARGE and claimed > RATIO * stored:
        walk.found.append(f"{claimed} bytes claimed for {item.name} and {stored} there")
    elif not walk.found and _in_heap(item):
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


def _check_inside(name: str, walk: _Walk, what: str) -> None:
    """Note a file outside the folder of this one."""
    folder = walk.path.resolve().parent
    other = (folder / os.fsdecode(name)).resolve()
    if not other.is_relative_to(folder):
        walk.found.append(what)


def _read(step: Any, *arguments: Any) -> Any:
    """Return what a step returns, or None when it raises.

    Raises
    ------
    MemoryError
        When a text or list has a length for which there is no memory. HDF5 calls it an object of
        the heap whose size does not match; the reader would need that memory to find out.
    """
    try:
        return step(*arguments)
    except MemoryError:
        raise
    except Exception as error:
        if any(words in str(error) for words in ("heap object size", "allocation failed")):
            raise MemoryError from error
        return None
