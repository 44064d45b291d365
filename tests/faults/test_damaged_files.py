"""Files of every format with some bytes changed: read, or refused in one line; nothing else.

`pytest` tries MONARCH_MUTANTS of them, 2,000; `make fuzz` 50,000, in pieces where MONARCH_SEED says
at which number to begin. A mutant fails when it ends the process, raises anything but one line,
takes more than 5 s of computing, or more memory than four times the file and 128 MiB.
"""

import importlib.util
import os
import random
import resource
import shutil
import signal
import time
import warnings
from collections import Counter
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

import pytest
from forking import fork

from monarch_sciml import _inspection

spec = importlib.util.spec_from_file_location("valid", Path(__file__).with_name("valid_files.py"))
valid = importlib.util.module_from_spec(spec)
spec.loader.exec_module(valid)

N_MUTANTS = int(os.environ.get("MONARCH_MUTANTS", "2000"))
SEED = int(os.environ.get("MONARCH_SEED", "0"))
ONLY = os.environ.get("MONARCH_FILES", "").split()
PIECES = 4
"""Tests that the mutants are divided into, to run beside each other (pytest -n)."""
LONGEST = 5.0
"""Seconds of computing."""
MOST = 2**27
"""Bytes beyond four times the file: what a library needs for any file."""

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="watches a forked process"),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures by /proc"),
]


def mutate(content, generator):
    """Return the bytes of a file with some changed, a part set to zero, or the end cut off."""
    changed = bytearray(content)
    kind = generator.random()
    if kind < 0.1:
        return bytes(changed[: generator.randrange(len(changed))])
    start = 0 if generator.random() < 0.3 else generator.randrange(len(changed))
    near = min(len(changed), start + 512)
    if kind < 0.15:
        changed[start:near] = bytes(near - start)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        place = generator.randrange(start, near)
        changed[place] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
    return bytes(changed)


class Memory:
    """The most memory that this process and the one that looks through files take at a time."""

    def __init__(self):
        self.processes = [os.getpid(), *(helper.process for helper in _inspection._helpers)]
        self.before = {}
        for process in self.processes:
            with suppress(OSError):
                Path(f"/proc/{process}/clear_refs").write_text("5")
                self.before[process] = self.bytes_of(process, "VmRSS")

    def bytes_of(self, process, name):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
        return 0

    def taken(self):
        found = 0
        for process, before in self.before.items():
            with suppress(OSError):  # it has ended
                found += max(0, self.bytes_of(process, "VmHWM") - before)
        return found


def judged(folder, name, size):
    """Return what is wrong with how a file is read; empty when nothing is."""
    memory, start = Memory(), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            valid.read(folder, name)
        wrong = ""
    except (ValueError, OSError) as error:
        lines = str(error).strip().splitlines()
        wrong = "" if len(lines) == 1 else f"{len(lines)} lines: {str(error)[:200]}"
        if any(word in str(error) for word in ("Error:", "object has no", "NoneType")):
            wrong = f"words of Python: {str(error)[-160:]}"
    except Exception as error:
        wrong = f"{type(error).__name__}: {str(error)[:160]}"
    if time.process_time() - start > LONGEST:
        return wrong or "slow"
    if memory.taken() > 4 * size + MOST:
        return wrong or f"{memory.taken() / 2**20:.0f} MiB"
    return wrong


def worker(folder, connection):
    """Judge the mutants that are asked for, in a process of its own."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    while True:
        name, part, seed = connection.recv()
        soft = int(time.process_time()) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        whole, path = (folder / place / part for place in ("whole", "mutants"))
        content = whole.read_bytes()
        path.write_bytes(mutate(content, random.Random(seed)))
        connection.send(judged(folder / "mutants", name, len(content)))
        path.write_bytes(content)


def start(folder):
    here, there = Pipe()
    process = fork()
    if process == 0:
        try:
            here.close()
            worker(folder, there)
        finally:
            os._exit(0)
    there.close()
    return process, here


@pytest.mark.parametrize("piece", range(PIECES))
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, piece):
    (tmp_path / "whole").mkdir()
    files = valid.write_all(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "mutants")
    for name in {name for name, _ in files}:  # whole ones are read
        valid.read(tmp_path / "mutants", name)
    files = [(name, part) for name, part in files if not ONLY or part in ONLY]
    tried, failed = Counter(), []
    process, connection = start(tmp_path)
    for number in range(SEED + piece, SEED + N_MUTANTS, PIECES):
        name, part = files[number // PIECES % len(files)]
        tried[part] += 1
        try:
            connection.send((name, part, number))
            if not connection.poll(120):  # it waits, which no limit of computing ends
                os.kill(process, signal.SIGKILL)
            wrong = connection.recv()
        except (EOFError, OSError):
            wrong = f"the process died: {os.waitpid(process, 0)[1]}"
            shutil.copy(tmp_path / "whole" / part, tmp_path / "mutants" / part)
            process, connection = start(tmp_path)
        if wrong:
            failed.append((part, number, wrong))
            print(part, number, wrong, flush=True)
    connection.close()
    os.waitpid(process, 0)
    for part, count in sorted(tried.items()):
        print(f"| {part} | {count} | {sum(entry[0] == part for entry in failed)} |")
    assert not failed, f"{len(failed)} of {N_MUTANTS}: {failed[:5]}"
