"""How much memory is free, and a refusal in one line when that is too little."""

from __future__ import annotations

from pathlib import Path

from monarch_sciml._checks import message

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Return the bytes this process could still use: of the machine or of its container.

    None where the system does not say (it is asked as Linux is).
    """
    limits = []
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(1024 * int(line.split()[1]))
        if (_CGROUP / "memory.max").exists():
            limit = (_CGROUP / "memory.max").read_text().strip()
            if limit != "max":
                used = int((_CGROUP / "memory.current").read_text())
                limits.append(max(0, int(limit) - used))
    except (OSError, ValueError, IndexError):
        return None
    return min(limits, default=None)


def check_memory(what: str, needed: int, *, remedy: str) -> None:
    """Raise ValueError when `needed` bytes are more than are available.

    Parameters
    ----------
    what
        What they are for, as it begins the message.
    needed
        Bytes.
    remedy
        What to do instead.

    Raises
    ------
    ValueError
        When the system says that there is less.
    """
    free = available_bytes()
    if free is not None and needed > free:
        rule = f"{what} of {_size(needed)} must fit into memory"
        raise ValueError(message(rule, f"{_size(free)} free", remedy))


def _size(n_bytes: int) -> str:
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.1f} {unit}"
    return f"{n_bytes} bytes"
