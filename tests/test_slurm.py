"""The scripts of docs/slurm.md run, with stand-ins for srun and scontrol on this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from waves import SMALL_FNO, WAVES, write_waves

import monarch_sciml

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "slurm.md").read_text(encoding="utf-8")
SCRIPTS = {
    re.search("--job-name=(.*)", script)[1]: script
    for script in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
}


@pytest.fixture
def job(tmp_path):
    """Start a script of the page in a folder with data and configurations: `job(name, **slurm)`."""
    write_waves(tmp_path / "waves.h5")
    networks = {name: {"network": SMALL_FNO} for name in ("FNO", "Monarch-NO")}
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump({**WAVES, "networks": networks}))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({**WAVES, "network": SMALL_FNO}))
    (tmp_path / "bin").mkdir()
    programs = {
        "srun": 'exec "$@"',
        "scontrol": "echo 127.0.0.1",
        "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
        "monarch-sciml": f'exec "{sys.executable}" -m monarch_sciml "$@"',
    }
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def start(name, **variables):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            script = SCRIPTS[name].replace(":29500", f":{probe.getsockname()[1]}")
        return subprocess.Popen(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]),
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "SLURM_JOB_ID": "7",
                "SLURM_NNODES": "1",
                "SLURM_JOB_NODELIST": "here",
                **{key: str(value) for key, value in variables.items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return start


def ended(process):
    """Wait for a job; its status and what it said."""
    said = process.communicate(timeout=200)[0]
    return process.returncode, said


def test_every_script_of_the_page_is_tried():
    assert set(SCRIPTS) == {"monarch", "sweep", "rates"}


def test_a_requeued_job_of_two_processes_goes_on(job, tmp_path):
    """SIGTERM ends it between two epochs, as before the end of the time; the next start ends it."""
    (tmp_path / "train.yaml").write_text(
        yaml.safe_dump({**WAVES, "network": SMALL_FNO, "budget": {"epochs": 12, "batch_size": 2}})
    )
    first = job("monarch", SLURM_GPUS_ON_NODE=2)
    metrics = tmp_path / "runs" / "cluster" / "metrics.csv"
    patience = time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert time.monotonic() < patience and first.poll() is None, first.communicate()
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGTERM)
    status, said = ended(first)
    assert status != 0 and "monarch-sciml: error: interrupted by SIGTERM" in said, said
    done = len(metrics.read_text().splitlines()) - 1
    assert 2 <= done < 12
    status, said = ended(job("monarch", SLURM_GPUS_ON_NODE=2))
    assert status == 0, said
    assert len(metrics.read_text().splitlines()) == 13


def test_the_parts_of_an_array_make_one_table(job, tmp_path):
    for task in (0, 3):
        status, said = ended(job("sweep", SLURM_ARRAY_TASK_ID=task))
        assert status == 0, said
    rows = monarch_sciml.load_results(tmp_path / "runs" / "table")
    assert [(row["network"], row["seed"]) for row in rows] == [("FNO", 0), ("Monarch-NO", 1)]


def test_rates_are_swept_without_a_file_to_edit(job, tmp_path):
    status, said = ended(job("rates", SLURM_ARRAY_TASK_ID=1))
    assert status == 0, said
    rows = (tmp_path / "runs/rates/3e-3/FNO/seed-0/metrics.csv").read_text().splitlines()
    first = dict(zip(rows[0].split(","), rows[1].split(",")))
    assert float(first["learning_rate_weights"]) == 3e-3


@pytest.mark.skipif(find_spec("submitit") is None, reason="needs the extra jobs")
def test_the_job_engine_runs_the_sweep_in_local_processes(job, tmp_path):
    """The block of the page as it stands, in a process of its own."""
    block = next(b for b in re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL) if "submitit" in b)
    run = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[0, 0, 0, 0]"
    assert len(monarch_sciml.load_results(tmp_path / "runs" / "table")) == 4
