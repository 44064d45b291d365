"""The lock that lets only one job at a time train in a run directory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from monarch_sciml._checks import message
from monarch_sciml._files import writable_folder
from monarch_sciml.training.checkpoint import STATE, load_state, usable_checkpoint
from monarch_sciml.training.processes import from_main_process, is_main_process

LOCK = ".lock"
"""The file that is locked; it goes when the run ends, and means nothing when it stays."""
_NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)


class RunBusy(RuntimeError):
    """Error that another process is training in the run directory."""


@contextmanager
def run_lock(folder: str | Path, *, patience: float = 2.0) -> Iterator[None]:
    """Lock a run directory for all processes of one `torchrun` together.

    Parameters
    ----------
    folder
        The run directory, which is made when missing.
    patience
        Number of seconds to wait for another process.

    Raises
    ------
    RunBusy
        In every process of the job, when another job holds it.

    Notes
    -----
    The lock is one of the operating system, so a killed process leaves none behind. On file systems
    without locks (some network ones) nothing is locked.
    """
    folder = Path(folder)
    lock = _taken(folder / LOCK, patience) if is_main_process() else None
    try:
        if not from_main_process(lock is not None):
            rule = "one process at a time may train in a run directory"
            remedy = "Wait for it, or name another directory."
            raise RunBusy(message(rule, f"another at work in {folder}", remedy))
        yield
    finally:
        if lock is not None:
            with suppress(
                OSError
            ):  # Windows does not remove open files; a file that stays has no effect
                (folder / LOCK).unlink()  # while it is held: nobody else can hold it
            lock.release()


def remove_lock(folder: str | Path) -> None:
    """Remove the lock file that a killed process left in a run directory that is only read."""
    path = Path(folder) / LOCK
    with suppress(OSError):
        if is_main_process() and path.exists() and (lock := _taken(path, 0.0)) is not None:
            path.unlink()
            lock.release()


def is_finished(folder: str | Path, epochs: int) -> bool:
    """Return whether the training with its last checkpoint in `folder` has finished its epochs.

    A checkpoint of weights only, of a model that has nothing to learn, is finished.
    """
    try:
        path, _ = usable_checkpoint(folder)
        if path is None:
            return False
        if not (path / STATE).exists():
            return True
        return load_state(path)["progress"]["epoch"] >= epochs
    except FileNotFoundError:  # just being replaced: its run goes on
        return False


def _taken(path: Path, patience: float) -> FileLock | None:
    """Return the lock, held, or None when another process keeps it."""
    writable_folder(path.parent)
    lock = FileLock(path, timeout=patience, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except NotImplementedError:  # raised by filelock where there are no locks
        return lock
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return lock
