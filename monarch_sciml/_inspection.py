"""Call C libraries on untrusted files in a separate process, which may crash in place of this one.

HDF5, scipy's reader of .mat files and twixtools crash, or loop for ever, on some damaged files.
The first call forks a process that waits for more, so that a file costs some milliseconds; where
there is no fork (Windows), and inside loader processes, functions are called here.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from monarch_sciml._checks import message

SECONDS = 4
"""Seconds of computing (not of waiting for a disk) that a file of at most 40 MB may take."""
BYTES_A_SECOND = 10_000_000
"""Larger files have more time; slower than this reads no library."""
SPARE_MEMORY = 2**30
"""Bytes, 1 GiB, that the process may use beyond those of four times the file."""
_CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
"""Windows has no fork, and libraries of macOS may crash in a forked process."""


class _Helper:
    """A forked process that calls functions, and the connection to it."""

    def __init__(self) -> None:
        here, there = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which it does not use
            self.process = os.fork()
        if self.process == 0:
            here.close()
            _serve(there)
        there.close()
        self.connection, self.owner = here, os.getpid()

    def end(self) -> int:
        """End the process; return the signal that had ended it before, or 0."""
        self.connection.close()
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        with suppress(ChildProcessError):
            status = os.waitpid(self.process, 0)[1]
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return 0


_helpers: list[_Helper] = []
_serving: list[bool] = []
"""Not empty in the process that may crash, which calls functions itself."""


def call_apart(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """Return `function(path, *arguments)`, called in another process.

    Parameters
    ----------
    function
        A function of a module whose result can be pickled.
    path
        The file, whose size determines the limits of time and memory.
    *arguments
        Further arguments of the function.

    Raises
    ------
    ValueError
        When the library crashes on the file, or does not finish.
    Exception
        The error that the function raises.
    """
    if _serving or not _CAN_FORK or multiprocessing.parent_process() is not None:
        return function(path, *arguments)
    if _helpers and _helpers[0].owner != os.getpid():
        _helpers.clear()  # a fork of a fork: the process is that of the parent
    if not _helpers:
        _helpers.append(_Helper())
    try:
        # the other process may be in another folder
        _helpers[0].connection.send((function, path.absolute(), arguments))
        error, result = _helpers[0].connection.recv()
    except (EOFError, OSError):
        ended = _helpers.pop().end()
        rule = f"{path} must be a complete file"
        forever = ended in (getattr(signal, "SIGXCPU", None), signal.SIGKILL)
        got = "one that its library never finishes" if forever else "one that crashes its library"
        raise ValueError(message(rule, got, "Copy, download or export it again.")) from None
    except BaseException:  # interrupted: an answer may still come
        _helpers.pop().end()
        raise
    if error is not None:
        raise error
    return result


def _serve(connection: Connection) -> None:
    """Answer calls until the other end is closed."""
    _serving.append(True)
    signal.set_wakeup_fd(-1)
    for name in ("SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.disable()
    try:
        with open(os.devnull, "r+b") as nothing:  # what libraries print of a damaged file
            os.dup2(nothing.fileno(), 2)
        while True:
            function, path, arguments = connection.recv()
            try:
                _limit(path)
                answer = None, function(path, *arguments)
            except MemoryError:
                answer = ValueError(_too_large(path)), None
            except Exception as error:
                answer = error, None
            try:
                connection.send(answer)
            except (TypeError, AttributeError, ValueError):  # an exception that cannot be pickled
                connection.send((RuntimeError(str(answer[0])), None))
    finally:
        os._exit(0)


def _too_large(path: Path) -> str:
    rule = f"{path} must hold what it says it holds"
    return message(rule, "sizes beyond the memory for such a file", "Export it again.")


def _limit(path: Path) -> None:
    """Limit time and memory of the next call, within the limits of the user."""
    import resource

    import psutil

    def limit(kind: int, most: int) -> None:
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))

    size = path.stat().st_size if path.is_file() else 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    limit(resource.RLIMIT_CPU, spent + SECONDS + size // BYTES_A_SECOND)
    limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + SPARE_MEMORY + 8 * size)
