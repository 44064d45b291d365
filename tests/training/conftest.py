import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture(scope="session")
def tiny():
    """The module worker.py: tiny networks and data, and `run`."""
    spec = importlib.util.spec_from_file_location("training_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start_worker(*arguments, torchrun=()):
    """Start worker.py, by torchrun with these options if there are any."""
    command = [sys.executable]
    if torchrun:
        command += ["-m", "torch.distributed.run", *torchrun]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not torch.accelerator.is_available():  # without a device nothing needs to be said
        environment.pop("ACCELERATE_USE_CPU", None)
    return subprocess.Popen(
        [*command, str(WORKER), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """Wait for a process and keep what it wrote; one that hangs is ended."""
    try:
        _, process.errors = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # torchrun ends its children
        process.communicate()
        pytest.fail("the processes wait for each other")
    return process


@pytest.fixture(scope="session")
def program():
    """Run worker.py in processes of its own: `program("train", folder, ...)`, `processes=2`."""

    def start(*arguments, processes=1):
        options = ["--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
        return finish(start_worker(*arguments, torchrun=options))

    return start


@pytest.fixture(scope="session")
def two_nodes():
    """Run worker.py under two agents of torchrun that find each other by a port of this host."""

    def start(*arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=test",
                   f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]  # fmt: skip
        agents = [start_worker(*arguments, torchrun=options) for _ in range(2)]
        return [finish(agent) for agent in agents]

    return start


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Bits depend on the number of threads: the tests and worker.py use one; and the CPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
