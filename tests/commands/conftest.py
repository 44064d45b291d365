"""Scans and fields small enough to take no time; a command in two processes."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from waves import WAVES, write_waves

from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.sense_operator import SenseOperator

SHAPE = (40, 36)


def smooth_scan(seed=0, *, n_slices=2, n_coils=4, shape=SHAPE, noise=0.0):
    """A discs-and-waves object seen by smooth coils, exactly in the model of SENSE."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    angle = 2 * torch.pi * torch.arange(n_coils)[:, None, None] / n_coils
    distance = (x - 1.3 * angle.cos()) ** 2 + (y - 1.3 * angle.sin()) ** 2
    maps = torch.polar(torch.exp(-0.5 * distance), angle + 0.5 * x)
    maps = (maps / maps.abs().square().sum(0).sqrt()).expand(n_slices, -1, -1, -1).clone()
    waves = 1 + 0.3 * torch.sin(7 * x + torch.arange(n_slices)[:, None, None]) * torch.cos(5 * y)
    image = torch.polar(waves * (x**2 + y**2 < 0.7) * (seed + 1), 0.4 * y + 0 * waves)
    kspace = SenseOperator(torch.ones(shape), maps).forward(image)
    kspace = kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return Scan(kspace, coil_maps=maps, target=image, name="smooth")


@pytest.fixture
def make_scan():
    return smooth_scan


@pytest.fixture
def waves(tmp_path, monkeypatch):
    """Write waves.h5 into a new current folder; the configuration of a training on it."""
    monkeypatch.chdir(tmp_path)
    write_waves("waves.h5")
    return WAVES


def two_processes(arguments, *, program=("-m", "monarch_sciml")):
    """Run the command in two processes, as torchrun does; (status, stdout, stderr) of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
              "OMP_NUM_THREADS": "1"}  # fmt: skip
    if torch.accelerator.is_available():  # without a device nothing needs to be said
        common["ACCELERATE_USE_CPU"] = "true"
    started = [
        subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    return [(process.returncode, *output) for process, output in zip(started, outputs)]


@pytest.fixture
def launch():
    return two_processes
