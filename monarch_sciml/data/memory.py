"""The free memory, and an error of one line when it is too little."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

from monarch_sciml._checks import message

_CGROUP = Path("/sys/fs/cgroup")


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


def _size(n_bytes: int) -> str:
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.1f} {unit}"
    return f"{n_bytes} bytes"
