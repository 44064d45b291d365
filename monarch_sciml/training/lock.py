"""One process at a time trains in a run directory; and what all processes of a job agree on."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monarch_sciml._checks import message
from monarch_sciml.training.checkpoint import STATE, WEIGHTS, find_checkpoint, load_state
from monarch_sciml.training.processes import from_main_process, is_main_process

LOCK = ".lock"
"""The file that is locked; it goes when the run ends, and means nothing when it stays."""
_NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)


class RunBusy(RuntimeError):
    """Another process is training in the run directory."""


@contextmanager
def run_lock(folder: str | Path, *, patience: float = 2.0) -> Iterator[None]:
    """Hold a run directory; all processes of one `torchrun` hold it together.

    Parameters
    ----------
    folder
        The run directory; it is made.
    patience
        Seconds to wait for another process.

    Raises
    ------
    RunBusy
        In every process of the job, when another job holds it.

    Notes
    -----
    An advisory lock of the operating system (flock), which a killed process cannot leave behind;
    where there is none (Windows, some network file systems) nothing is locked.
    """
    folder = Path(folder)
    file = _taken(folder / LOCK, patience) if is_main_process() else None
    try:
        if not from_main_process(file is not None):
            rule = "one process at a time may train in a run directory"
            remedy = "Wait for it, or name another directory."
            raise RunBusy(message(rule, f"another at work in {folder}", remedy))
        yield
    finally:
        if file is not None:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: nobody else can hold it
            os.close(file)


def is_finished(folder: str | Path, epochs: int) -> bool:
    """Return whether the training with its last checkpoint in `folder` has done its epochs.

    A checkpoint of weights only, of a model that has nothing to learn, is finished.
    """
    try:
        path = find_checkpoint(folder)
        if path is None:
            return False
        if not (path / STATE).exists():
            return (path / WEIGHTS).exists()
        return load_state(path)["progress"]["epoch"] >= epochs
    except FileNotFoundError:  # just being replaced: its run goes on
        return False


def _taken(path: Path, patience: float) -> int | None:
    """Return the descriptor of the locked file, or None when another process keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _locked(file) and _same(path, file):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if time.monotonic() > end:
            return None
        time.sleep(0.05)


def _locked(file: int) -> bool:
    """Lock an open file, or return False when another process has; True where no file can be."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _same(path: Path, file: int) -> bool:
    """Return whether the open file is still the one at the path: its holder may have removed it."""
    try:
        here, there = os.fstat(file), path.stat()
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
