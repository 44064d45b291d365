"""What tests of several packages share."""

import subprocess
import sys

import numpy as np
import pytest
import torch

HOLD = """
import fcntl, os, sys
os.makedirs(sys.argv[1], exist_ok=True)
file = os.open(sys.argv[1] + "/.lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("held", flush=True)
sys.stdin.read()
"""
"""What `run_lock` does, without the seconds that importing it takes."""


@pytest.fixture(scope="module")
def one_thread():
    """Let torch use one thread: its sums, and with them bits, depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def read_cfl():
    """Read a BART file by other code than the package's; the last of three axes or more first."""

    def read(path):
        sizes = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
        data = np.fromfile(path.with_suffix(".cfl"), np.complex64)
        data = data.reshape(sizes, order="F").squeeze()
        data = np.moveaxis(data, -1, 0) if data.ndim > 2 else data
        return torch.from_numpy(np.ascontiguousarray(data))

    return read


@pytest.fixture
def elsewhere():
    """Hold a run directory in a process of its own; returns the process."""
    started = []

    def hold(folder, program=HOLD):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
