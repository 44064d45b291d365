"""Kill commands, by SIGKILL, at chosen and random moments, and compare what the next start makes.

A command runs in a process forked from this one, which has imported everything: a kill costs a
tenth of a second. Chosen moments are calls to the file system; the process kills itself there.
"""

import csv
import importlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import h5py
import torch
import yaml
from forking import fork
from safetensors.torch import load_file
from waves import WAVES, write_waves

from monarch_sciml import cli
from monarch_sciml.cli import build_parser, main
from monarch_sciml.commands import reconstruct
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.evaluation import report

CALLS = ("os.replace", "os.fsync", "os.unlink", "Path.rename", "Path.mkdir", "shutil.rmtree")
"""Where a process may be told to kill itself: before the n-th of all these calls together."""
NETWORK = {"network": {"class_path": "monarch_sciml.models.FNO",
           "init_args": {"n_modes": [4], "hidden_channels": 2, "n_layers": 1}}}  # fmt: skip


def prepare(folder):
    """Write the data and the configurations that the commands need; import what they import."""
    for module in ("jinja2", "accelerate", "neuralop.models", "matplotlib.figure", "scipy.io"):
        importlib.import_module(module)
    parser = build_parser()
    cli.build_parser = lambda: parser  # built once: it takes as long as a training
    report.write_report, reconstruct.reconstruct  # noqa: B018 - their modules are loaded
    write_waves(folder / "waves.h5")
    common = {**WAVES, "budget": {"epochs": 3, "batch_size": 2}}
    (folder / "train.yaml").write_text(yaml.safe_dump({**common, **NETWORK}))
    networks = {"FNO": NETWORK, "small": NETWORK}
    compared = {**common, "networks": networks, "seeds": [0]}
    (folder / "compare.yaml").write_text(yaml.safe_dump(compared))
    (folder / "scans").mkdir()
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        kspace = torch.randn(1, 2, 24, 24, dtype=torch.complex64, generator=generator)
        maps = torch.ones(1, 2, 24, 24, dtype=torch.complex64) / 2**0.5
        scan = Scan(kspace, coil_maps=maps, name=f"scan_{seed}")
        write_fastmri(folder / "scans" / f"scan_{seed}.h5", scan)


COMMANDS = {
    "generate": ["generate", "burgers_periodic", "--output", "out.h5", "--n_samples", "6",
                 "--grid", "32", "--resolution", "16", "--n_modes", "4", "--viscosity", "0.1",
                 "--batch_size", "2", "--t_end", "0.02", "--n_times", "2", "--progress", "false",
                 "--exist_ok", "true"],
    "train": ["train", "--config", "train.yaml", "-o", "out", "--options.resume", "true"],
    "compare": ["compare", "--config", "compare.yaml", "--output", "out",
                "--options.resume", "true"],
    "reconstruct": ["reconstruct", "scans", "--method", "zero_filled", "--acceleration", "2",
                    "--calibration", "8", "--coil_maps", "stored", "--output", "out",
                    "--resume", "true",
                    "--progress", "false"],
}  # fmt: skip


def run_apart(arguments, *, at=None, after=None, count_in=None):
    """Run a command in a forked process; return its exit status, None when it was killed.

    `at`: the number of the call to the file system before which it kills itself; `after`: seconds
    until it is killed from outside; `count_in`: a file for the number of its calls.
    """
    process = fork()
    if process == 0:
        status = 3
        try:
            quiet = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(quiet, 1), os.dup2(quiet, 2)
            calls = counted_calls(at)
            status = main(arguments)
            if count_in is not None:
                count_in.write_text(str(calls["made"]))
        finally:
            os._exit(status)
    if after is not None:
        time.sleep(after)
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def counted_calls(at):
    """Count this process's calls to the file system, and kill it before the one of a number."""
    owners = {"os": os, "Path": Path, "shutil": shutil}
    calls = {"made": 0}

    def counted(function):
        def wrapper(*args, **kwargs):
            if calls["made"] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            calls["made"] += 1
            return function(*args, **kwargs)

        return wrapper

    for call in CALLS:
        owner, name = call.split(".")
        setattr(owners[owner], name, counted(getattr(owners[owner], name)))
    return calls


def results(folder):
    """Return everything of a result that must not depend on kills: path -> tensors or numbers."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            found[name] = load_file(path)
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                found[name] = {}
                file.visititems(
                    lambda key, item, found=found[name]: (
                        found.update({key: torch.from_numpy(item[()])})
                        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiuc"
                        else None
                    )
                )
        elif path.name in ("results.csv", "metrics.csv", "samples.csv"):
            with path.open(newline="") as stream:
                rows = list(csv.DictReader(stream))
            found[name] = [
                {k: v for k, v in row.items() if "second" not in k and k != "path"} for row in rows
            ]
        elif "previous" not in path.parts:
            found[name] = None
    return {k: v for k, v in found.items() if "previous/" not in k}


def differences(one, other):
    """Return the names of what differs between two results."""
    found = sorted(one.keys() ^ other.keys())
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if isinstance(a, dict):
            same = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        else:
            same = a == b
        found += [] if same else [name]
    return found


def killed_and_repeated(name, scratch, whole, generator, *, chosen):
    """Kill a command, some of them twice, start it again, and return what is wrong then."""
    target = scratch / ("result" if name == "generate" else "out")
    clear(name, scratch)
    kills = 1 + (generator.random() < 0.2)
    done = 0
    for _ in range(kills):
        if chosen:
            status = run_apart(COMMANDS[name], at=generator.randrange(whole["calls"]))
        else:
            status = run_apart(COMMANDS[name], after=generator.uniform(0, whole["seconds"]))
        done += status is None
    status = run_apart(COMMANDS[name])
    wrong = [] if status == 0 else [f"status {status}: {(scratch / 'said').read_text()[-300:]}"]
    wrong += differences(whole["results"], results(collected(name, scratch, target)))
    return done, wrong


def collected(name, scratch, target):
    """Return a folder of the results; that of `generate` is one file with what lies beside it."""
    if name == "generate":
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path in [*scratch.glob("out*"), *scratch.glob(".out*")]:
            if path.is_file():
                shutil.copy(path, target / path.name)
    return target


def uninterrupted(name, scratch):
    """Run a command to its end; its results, the time it took and its calls to the file system."""
    target = scratch / ("result" if name == "generate" else "out")
    start = time.perf_counter()
    assert run_apart(COMMANDS[name], count_in=scratch / "calls") == 0, name
    seconds = time.perf_counter() - start
    found = results(collected(name, scratch, target))
    clear(name, scratch)
    return {"results": found, "seconds": seconds, "calls": int((scratch / "calls").read_text())}


def clear(name, scratch):
    """Remove the results of a command and what it left."""
    shutil.rmtree(scratch / "out", ignore_errors=True)
    for path in [*scratch.glob("out*.h5"), *scratch.glob(".out*")]:
        path.unlink()


def campaign(name, scratch, n_kills, seed=0):
    """Kill a command n_kills times at either kind of moment; yield (kind, kills, wrong)."""
    generator = random.Random(seed)
    whole = uninterrupted(name, scratch)
    for chosen in (True, False):
        kills, tries, wrong = 0, 0, []
        while kills < n_kills and tries < 4 * n_kills + 8:
            done, found = killed_and_repeated(name, scratch, whole, generator, chosen=chosen)
            kills, tries = kills + done, tries + 1
            wrong += found
        clear(name, scratch)
        yield "chosen" if chosen else "random", kills, wrong
