"""Measure the peak memory of commands on data much larger than it; results.csv and table.md.

    python experiments/memory/measure.py [--only WORDS]  # of one row, which replaces that of before

The fields are constant and packed, so that 13 GB take some megabytes of the disk: HDF5 unpacks them
as they are read. The scan is not: 1 GB. Takes about five minutes on one core.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np

from monarch_sciml.evaluation.environment import environment

HERE = Path(__file__).parent
COMMAND = (sys.executable, "-m", "monarch_sciml")
SLICES, COILS, H, W = 35, 15, 640, 368


def constant_fields(path, n_samples, n_times, n):
    """A file in PDEBench's layout, every value 1."""
    size = 4 * n_samples * n_times * n * n
    if path.exists():
        return size
    with h5py.File(path, "w") as file:
        shape, chunks = (n_samples, n_times, n, n), (1, 1, n, n)
        tensor = file.create_dataset("tensor", shape, "f4", chunks=chunks, compression="gzip")
        frame = zlib.compress(np.ones((n, n), "f4").tobytes())
        for sample in range(n_samples):
            for time_ in range(n_times):
                tensor.id.write_direct_chunk((sample, time_, 0, 0), frame)
        file["x-coordinate"] = file["y-coordinate"] = np.arange(n) / n
        file["t-coordinate"] = 0.05 * np.arange(n_times + 1)
    return size


def volume(path, n_slices=SLICES, n_coils=COILS, height=H, width=W):
    """A volume in fastMRI's layout: noise that is strongest in the middle of k-space."""
    generator = np.random.default_rng(0)
    rows, columns = (abs(np.arange(n) - n // 2) for n in (height, width))
    decay = (1 / (1 + rows[:, None] + columns)).astype("f4")
    size = 8 * n_slices * n_coils * height * width
    if path.exists():
        return size
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        kspace = file.create_dataset("kspace", (n_slices, n_coils, height, width), "c8")
        for number in range(n_slices):
            parts = generator.standard_normal((n_coils, height, width, 2), "f4")
            kspace[number] = (parts * decay[..., None]).view("c8")[..., 0]
    return size


def peak_of(arguments, folder):
    """Run a command; its peak resident memory in bytes."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environ)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: status {os.waitstatus_to_exitcode(status)}")
    return 1024 * used.ru_maxrss


def fields(path, **options):
    values = {"path": path, "n_steps_in": 10, "n_steps_out": 10, **options}
    return [word for key, value in values.items() for word in (f"--data.{key}", str(value))]


def cases(folder):
    """Yield what is measured: name, bytes of the data, arguments."""
    yield "import of the package", 0, ["--help"]
    size = constant_fields(folder / "large.hdf5", 2500, 20, 256)
    network = "--network monarch_sciml.models.FNO --network.n_modes [4,4] --network.n_layers 1"
    network += " --network.hidden_channels 4 --budget.epochs 1 --budget.batch_size 20"
    network += " --objective monarch_sciml.training.RolloutObjective --options.progress false"
    module = ["--data", "monarch_sciml.data.TrajectoryModule"]
    sets = {"n_train": 100, "n_validation": 10, "n_test": 10, "subsample": 8}
    train = ["train", "-o", "run", *module, *fields("large.hdf5", **sets), *network.split()]
    yield "train, one epoch of 100 of 2,500 samples", size, train
    size = constant_fields(folder / "fine.hdf5", 20, 60, 512)
    fine = fields("fine.hdf5", n_steps_out=50, subsample=1, n_test=4)
    for batch_size in (1, 4):
        name = f"evaluate, 4 roll-outs of 50 steps at 512², {batch_size} at a time"
        yield name, size, ["evaluate", "run", *fine, "--batch_size", str(batch_size)]
    size = volume(folder / "large" / "scan.h5")
    name = f"{SLICES} slices, {COILS} coils, {H} x {W}"
    yield f"info, {name}", size, ["info", "large/scan.h5"]
    options = "--method zero_filled --acceleration 4 --coil_maps walsh --progress false"
    options += " --output image.h5 --overwrite true"
    yield f"reconstruct, {name}", size, ["reconstruct", "large/scan.h5", *options.split()]
    for number in range(3):
        small = volume(folder / "small" / f"{number}.h5", 4, COILS, 64, 64)
    network = "--network monarch_sciml.models.ReconstructionUNet --network.hidden_channels 8"
    network += " --objective monarch_sciml.training.ReconstructionObjective --budget.epochs 1"
    network += " --budget.batch_size 1 --options.progress false"
    module = ["--data", "monarch_sciml.data.ScanModule", "--data.folder", "small"]
    module += ["--data.coil_maps", "walsh", "--data.mask", "monarch_sciml.physics.PoissonDiscMask"]
    module += ["--data.mask.acceleration", "4", "--data.mask.calibration", "16"]
    sets = ["--data.n_train", "1", "--data.n_validation", "1", "--data.n_test", "1"]
    train = ["train", "-o", "scans", *module, *sets, *network.split()]
    yield "train on small scans", 3 * small, train
    large = ["evaluate", "scans", "--data.folder", "large", "--progress", "false"]
    yield f"evaluate a U-Net, {name}", size, large


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--only", default="")
    parser.add_argument("--scratch", type=Path, default=Path("runs/memory"))
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    head = ["command", "data (GB)", "peak memory (GB)"]
    results, rows = given.output / "results.csv", []
    if results.exists():
        with results.open(newline="") as stream:
            rows = list(csv.reader(stream))[1:]
    for name, size, arguments in cases(given.scratch):
        if given.only in name:
            peak = peak_of(arguments, given.scratch)
            row = [name, f"{size / 1e9:.2f}", f"{peak / 1e9:.2f}"]
            rows = [other for other in rows if other[0] != name] + [row]
            print(*row, sep=" | ", flush=True)
    with results.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    lines = [head, ["---"] * 3, *rows]
    table = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    about = json.dumps(environment(), indent=2, default=str)
    (given.output / "environment.json").write_text(about + "\n", encoding="utf-8")
    (given.output / "table.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
