import importlib.util
import os
import signal
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


@pytest.fixture(scope="session")
def program():
    """Run worker.py in processes of its own: `program("train", folder, ...)`, `processes=2`."""

    def start(*arguments, processes=1):
        command = [sys.executable]
        if processes > 1:
            command += [
                "-m",
                "torch.distributed.run",
                "--standalone",
                f"--nproc-per-node={processes}",
            ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if not torch.accelerator.is_available():  # without a device nothing needs to be said
            environment.pop("ACCELERATE_USE_CPU", None)
        process = subprocess.Popen(
            [*command, str(WORKER), *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, process.errors = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # torchrun ends its children
            process.communicate()
            pytest.fail("the processes wait for each other")
        return process

    return start


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Bits depend on the number of threads: the tests and worker.py use one; and the CPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
