"""Files of every format with some bytes changed: read, or refused in one line; nothing else.

`pytest` tries MONARCH_MUTANTS of them, 240; `make fuzz` 50,000. A mutant fails when it ends the
process, raises anything but one line, or takes more than 5 s of computing.
"""

import os
import random
import resource
import shutil
import time
import warnings
from collections import Counter
from multiprocessing import Pipe

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from monarch_sciml.commands.info import info
from monarch_sciml.data import open_fields
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan

N_MUTANTS = int(os.environ.get("MONARCH_MUTANTS", "240"))
SEED = int(os.environ.get("MONARCH_SEED", "0"))
LONGEST = 5.0

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="watches a forked process")


def write_all(folder):
    """Write a small valid file of each format; name -> path."""
    torch.manual_seed(SEED)
    layout = FieldLayout(
        fields=("u",), n_samples=3, n_times=2, grid_shape=(8,), domain_extent=(1.0,),
        boundary=("periodic",), times=(0.0, 0.5),
    )  # fmt: skip
    with FieldWriter(folder / "own.h5", layout, generator="t", parameters={}, seed=0) as writer:
        writer.write(0, torch.randn(3, 2, 1, 8))
    kspace = torch.randn(2, 2, 16, 16, dtype=torch.complex64)
    write_fastmri(folder / "scan.h5", Scan(kspace, name="scan"))
    u = np.random.default_rng(0).standard_normal((4, 5, 8)).astype("f4")
    with h5py.File(folder / "bench.hdf5", "w") as file:
        file["tensor"], file["x-coordinate"] = u, np.linspace(0, 1, 8)
        file["t-coordinate"] = np.linspace(0, 1, 6)
        file.attrs["note"] = "a text in the heap"
        file["names"] = ["one", "two"]
    scipy.io.savemat(folder / "v5.mat", {"a": u[:, 0], "u": u[:, 1]}, do_compression=False)
    scipy.io.savemat(folder / "packed.mat", {"a": u[:, 0], "u": u[:, 1]}, do_compression=True)
    torch.save({"x": torch.randn(4, 8), "y": torch.randn(4, 8)}, folder / "pair.pt")
    np.save(folder / "kspace.npy", kspace.numpy()[0])
    np.savez(folder / "pair.npz", x=u[:, 0], y=u[:, 1])
    return sorted(folder.iterdir())


def mutate(content, generator):
    """Return the bytes of a file with some changed, a part set to zero, or the end cut off."""
    changed = bytearray(content)
    kind = generator.random()
    if kind < 0.1:
        return bytes(changed[: generator.randrange(len(changed))])
    start = 0 if generator.random() < 0.3 else generator.randrange(len(changed))
    near = min(len(changed), start + 512)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        place = generator.randrange(start, near)
        changed[place] = generator.choice((0, 1, 127, 128, 255, generator.randrange(256)))
    return bytes(changed)


def read(path):
    """Read a file as `info` and a training do."""
    info(path)
    if path.suffix not in (".npy",) and path.stem != "scan":
        source = open_fields(path)
        source.read(slice(0, 1), slice(0, 1))


def judged(path):
    """Return what is wrong with how a file is read; empty when nothing is."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        wrong = ""
    except (ValueError, OSError) as error:
        lines = str(error).strip().splitlines()
        wrong = "" if len(lines) == 1 else f"{len(lines)} lines: {str(error)[:200]}"
        if any(word in str(error) for word in ("Error:", "object has no", "NoneType")):
            wrong = f"words of Python: {str(error)[-160:]}"
    except Exception as error:
        wrong = f"{type(error).__name__}: {str(error)[:160]}"
    return wrong or ("slow" if time.process_time() - start > LONGEST else "")


def worker(folder, connection):
    """Judge the mutants that are asked for, in a process of its own."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1), os.dup2(quiet, 2)
    soft = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    while True:
        name, seed = connection.recv()
        soft = int(time.process_time()) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        path = folder / "mutants" / name
        path.write_bytes(mutate((folder / "whole" / name).read_bytes(), random.Random(seed)))
        connection.send(judged(path))


def start(folder):
    here, there = Pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        try:
            here.close()
            worker(folder, there)
        finally:
            os._exit(0)
    there.close()
    return process, here


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    for name in ("whole", "mutants"):
        (tmp_path / name).mkdir()
    files = write_all(tmp_path / "whole")
    for path in files:  # whole ones are read
        shutil.copy(path, tmp_path / "mutants" / path.name)
        read(tmp_path / "mutants" / path.name)
    tried, failed = Counter(), []
    process, connection = start(tmp_path)
    for number in range(N_MUTANTS):
        path = files[number % len(files)]
        tried[path.name] += 1
        try:
            connection.send((path.name, SEED + number))
            wrong = connection.recv()
        except (EOFError, OSError):
            wrong = f"the process died: {os.waitpid(process, 0)[1]}"
            process, connection = start(tmp_path)
        if wrong:
            failed.append((path.name, SEED + number, wrong))
    connection.close()
    os.waitpid(process, 0)
    for name, count in sorted(tried.items()):
        bad = [entry for entry in failed if entry[0] == name]
        print(f"| {name} | {count} | {len(bad)} |", *bad[:3])
    assert not failed, f"{len(failed)} of {N_MUTANTS}: {failed[:5]}"
