"""The free memory, and errors of one line when it is too little or a file claims too much."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from monarch_sciml._checks import message

_CGROUP = Path("/sys/fs/cgroup")
LARGE = 2**24
"""Bytes, 16 MiB, up to which an array may be claimed by a file of any size."""
RATIO = 2_000
"""Larger arrays in files of less than a two-thousandth of their size were never written.

Deflate, the densest compression in use, reaches 1:1032.
"""


def available_bytes() -> int:
    """Return the bytes this process could still use: of the machine or of its container."""
    limits = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError):
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            used = int((_CGROUP / "memory.current").read_text())
            limits.append(max(0, int(limit) - used))
    return min(limits)


def check_memory(what: str, needed: int, *, remedy: str) -> None:
    """Raise ValueError when `needed` bytes are more than are available.

    Parameters
    ----------
    what
        Purpose of the memory, with which the message begins.
    needed
        Number of bytes needed.
    remedy
        Remedy to state in the message.

    Raises
    ------
    ValueError
        When the system reports less free memory.
    """
    free = available_bytes()
    if needed > free:
        rule = f"{what} of {_size(needed)} must fit into memory"
        raise ValueError(message(rule, f"{_size(free)} free", remedy))


def check_array(path: Path | None, what: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an array before it is allocated, if its file cannot hold it or memory cannot.

    Parameters
    ----------
    path
        The file that claims it, or None where the size of a file says nothing.
    what
        Name of the array, for the message.
    shape
        Shape of what is about to be allocated.
    itemsize
        Bytes of one value.

    Raises
    ------
    ValueError
        When it is larger than 16 MiB and two thousand times the file, or than the free memory.
    """
    needed = math.prod(shape) * itemsize
    if needed <= LARGE:
        return
    if path is not None and path.is_file() and needed > RATIO * path.stat().st_size:
        rule = f"{path} must hold what it says it holds"
        got = f"{_size(path.stat().st_size)} for `{what}` of {_size(needed)}"
        raise ValueError(message(rule, got, "Ask for a whole file, or export it again."))
    where = "" if path is None else f" of {path}"
    remedy = "Read a smaller part at a time, or check the sizes in the file."
    check_memory(f"`{what}`{where}", needed, remedy=remedy)


def check_blocks(path: Path, what: str, shape: Sequence[int], chunks: Sequence[int]) -> None:
    """Refuse a part of an array in more blocks than its file can hold.

    HDF5 needs about 8 kB for every block that it reads, even if it was never written.

    Raises
    ------
    ValueError
        When there are more than 2,000 of them, and more than one for 8 bytes of the file.
    """
    count = math.prod(-(-n // block) for n, block in zip(shape, chunks))
    if count > max(RATIO, path.stat().st_size // 8):
        rule = f"{path} must hold what it says it holds"
        got = f"{_size(path.stat().st_size)} for {count} blocks of `{what}`"
        raise ValueError(message(rule, got, "Ask for a whole file, or export it again."))


@contextmanager
def scattered_reads(array: Any) -> Iterator[None]:
    """Read only the pages that are used of an array that is mapped from a file.

    Otherwise the system reads 128 kB for each of them.
    """
    mapped: Any = getattr(array, "_mmap", None)
    possible = hasattr(mapped, "madvise") and hasattr(mmap, "MADV_RANDOM")
    if possible:
        mapped.madvise(mmap.MADV_RANDOM)
    try:
        yield
    finally:
        if possible:
            mapped.madvise(mmap.MADV_NORMAL)


def part_shape(shape: Sequence[int], index: Any) -> tuple[int, ...]:
    """Return the shape of `array[index]`, for one slice or number or a tuple of them.

    Examples
    --------
    >>> part_shape((5, 6, 7), (slice(1, 3), 0))
    (2, 7)
    """
    given = index if isinstance(index, tuple) else (index,)
    taken = [len(range(*i.indices(n))) for i, n in zip(given, shape) if isinstance(i, slice)]
    return (*taken, *shape[len(given) :])


def _size(n_bytes: int) -> str:
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.1f} {unit}"
    return f"{n_bytes} bytes"
