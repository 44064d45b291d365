"""Stop a command in order on Ctrl-C or a signal that ends a job, with one line and without loss.

Python raises KeyboardInterrupt wherever it happens to be, also where nobody hears it (in a
destructor, in a lock of `logging`), and a training goes on as if nothing had been. Here the signal
is remembered as well, and loops ask for it (`check_stopped`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
PATIENCE = 10.0
"""Seconds that a command may stay in compiled code (a read, a wait for other processes)."""


class _State:
    """The signal that this process has received, and whether Python has raised it."""

    received = ""
    deferred = False
    noticed = threading.Event()
    writer: socket.socket | None = None


def install() -> None:
    """Handle the signals from now on; the main thread of a program calls this once."""
    _State.received = ""
    _State.noticed.clear()
    reader, _State.writer = socket.socketpair()  # Windows has no pipes that do not block
    _State.writer.setblocking(False)
    signal.set_wakeup_fd(_State.writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    for number in _numbers():
        signal.signal(number, _stop)
    hook = sys.unraisablehook
    sys.unraisablehook = lambda error: None if _State.received else hook(error)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=leave_to_parent)


@contextmanager
def deferred() -> Iterator[None]:
    """Raise nothing in the middle of a step: the loop inside asks after each (`check_stopped`).

    A second signal does not wait for the step.
    """
    before, _State.deferred = _State.deferred, True
    try:
        yield
    finally:
        _State.deferred = before


def check_stopped() -> None:
    """Raise KeyboardInterrupt when the process has been told to stop."""
    if _State.received:
        raise KeyboardInterrupt(_State.received)


def received() -> str:
    """Return the name of the signal that told this process to stop; empty when none has."""
    return _State.received


def leave_to_parent() -> None:
    """Ignore the keys of a terminal in a process that is ended by the process that started it."""
    _State.received = ""
    signal.set_wakeup_fd(-1)
    for number in _numbers():
        ended = number == signal.SIGTERM
        signal.signal(number, signal.SIG_DFL if ended else signal.SIG_IGN)


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def _stop(number: int, _: FrameType | None) -> None:
    _State.noticed.set()
    again, _State.received = bool(_State.received), signal.Signals(number).name
    if again or not _State.deferred:
        raise KeyboardInterrupt(_State.received)


def _watch(reader: socket.socket) -> None:
    """End the process when its main thread does not come back from compiled code."""
    while True:
        numbers = reader.recv(1)
        if numbers and numbers[0] in _numbers() and not _State.noticed.wait(PATIENCE):
            name = signal.Signals(numbers[0]).name
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line(name).encode())
            os._exit(1)


def line(name: str) -> str:
    """Return the line about a command that was stopped by a signal."""
    by = "" if name in ("", "SIGINT") else f" by {name}"
    remedy = "Repeat the command, with --options.resume true where it has that option."
    return f"monarch-sciml: error: interrupted{by}. {remedy}\n"
