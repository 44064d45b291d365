"""Time readers with and without the look through a file in another process; results/reading.md.

    python experiments/speed/reading.py
    python experiments/speed/reading.py many_seeds.hdf5 large_gzip.hdf5  # prints these rows only

In one process, in turn: a file of each format is opened and its first sample or slice is read, with
the look-through and without it. Times are those of the processor, of both processes together, which
other programs on the machine disturb little. The first file of a process also pays for starting the
other one.
"""

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import scipy.io
import torch

from monarch_sciml import _inspection, _reading
from monarch_sciml.data import open_fields, read_scan
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.evaluation.environment import environment

ROOT = Path(__file__).parents[2]
ROUNDS = 15
U = np.random.default_rng(0).standard_normal((40, 20, 128, 128)).astype("f4")  # 52 MB


def valid_files():
    """The writers of small files of every format that the tests use."""
    place = ROOT / "tests" / "faults" / "valid_files.py"
    spec = importlib.util.spec_from_file_location("valid_files", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def large_files(folder):
    """Write larger files; name -> function that reads the first part of one."""

    def first(path):
        open_fields(path).read(slice(0, 1), slice(0, 1))

    def first_slice(path):
        read_scan(path, slices=slice(0, 1))

    with h5py.File(folder / "large_bench.hdf5", "w") as file:
        file["tensor"] = U
        file["x-coordinate"] = file["y-coordinate"] = np.arange(128.0)
        file["t-coordinate"] = np.arange(21.0)
    with h5py.File(folder / "large_gzip.hdf5", "w") as file:
        file.create_dataset("tensor", data=U, chunks=(1, 1, 128, 128), compression=1)
        file["x-coordinate"] = file["y-coordinate"] = np.arange(128.0)
        file["t-coordinate"] = np.arange(21.0)
    with h5py.File(folder / "many_seeds.hdf5", "w") as file:
        for number in range(1000):
            file[f"{number:04d}/data"] = U[0, :5, :16, :16, None]
            file[f"{number:04d}/grid/x"] = file[f"{number:04d}/grid/y"] = np.arange(16.0)
            file[f"{number:04d}/grid/t"] = np.arange(5.0)
    scipy.io.savemat(folder / "large_v5.mat", {"a": U[:, 0], "u": U[:, 1]})
    kspace = torch.randn(16, 8, 256, 256, dtype=torch.complex64)  # 67 MB
    write_fastmri(folder / "large_scan.h5", Scan(kspace, name="scan"))
    valid = valid_files()
    with h5py.File(folder / "large_mrd.h5", "w") as file:
        rows = np.tile(valid.ismrmrd_rows(), 256)  # 4,096 readouts of 16 slices
        rows["head"]["idx"]["repetition"] = np.arange(len(rows)) // 16
        file["dataset/data"] = rows
        file["dataset/xml"] = np.array([valid.HEADER], h5py.string_dtype())
    fields = ("large_bench.hdf5", "large_gzip.hdf5", "many_seeds.hdf5", "large_v5.mat")
    found = {name: (lambda path=folder / name: first(path)) for name in fields}
    for name in ("large_scan.h5", "large_mrd.h5"):
        found[name] = lambda path=folder / name: first_slice(path)
    return found


def cpu_time():
    """Seconds that this process and the one beside it have computed."""
    places = [Path(f"/proc/{helper.process}/schedstat") for helper in _inspection._helpers]
    beside = sum(int(place.read_text().split()[0]) for place in places)  # nanoseconds
    return time.process_time() + 1e-9 * beside


def timed(read, *, apart):
    """Seconds that a file takes to be opened and read."""
    _reading._inspected.clear()
    before = _reading._inspect, list(_inspection._serving)
    if not apart:
        _reading._inspect = lambda path: None
        _inspection._serving.append(True)  # functions are called in this process
    try:
        start = cpu_time()
        read()
        return cpu_time() - start
    finally:
        _reading._inspect = before[0]
        _inspection._serving[:] = before[1]


def main(only=()):
    valid, rows = valid_files(), []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = dict.fromkeys(name for name, _ in valid.write_all(folder) if name != "run")
        readers = {name: (lambda name=name: valid.read(folder, name)) for name in names}
        readers |= large_files(folder)
        for name, read in readers.items():
            if only and name not in only:
                continue
            timed(read, apart=True), timed(read, apart=False)  # imports
            pairs = [(timed(read, apart=True), timed(read, apart=False)) for _ in range(ROUNDS)]
            more = [1e3 * (a - b) for a, b in pairs]
            low, middle, high = statistics.quantiles(more, n=4)
            without = 1e3 * statistics.median(b for _, b in pairs)
            size = sum(p.stat().st_size for p in [folder / name, *(folder / name).rglob("*")])
            rows.append([name, f"{size / 1e6:.3g}", f"{without:.1f}", f"{middle:.1f}",
                         f"{low:.1f} to {high:.1f}"])  # fmt: skip
            print(*rows[-1], sep=" | ", flush=True)
        if only:
            return
        started = []
        for _ in range(ROUNDS):
            while _inspection._helpers:
                _inspection._helpers.pop().end()
            with_start = timed(readers["scan.h5"], apart=True)
            started.append(1e3 * (with_start - timed(readers["scan.h5"], apart=True)))
    low, middle, high = statistics.quantiles(started, n=4)
    rows.append(["start of the other process", "", "", f"{middle:.1f}", f"{low:.1f} to {high:.1f}"])
    head = ["file", "MB", "read without (ms)", "look-through (ms)", "quartiles"]
    text = "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * 5, *rows))
    results = Path(__file__).parent / "results"
    (results / "reading.md").write_text(text, encoding="utf-8")
    about = json.dumps(environment(), indent=2, default=str)
    (results / "reading.json").write_text(about + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
