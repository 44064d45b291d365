"""Every generator gives the same bits with one and two threads, on grids where threads set in."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from monarch_sciml.data.generators import PROBLEMS

LARGE = {
    "navier_stokes": {"grid": 128, "t_end": 0.2, "dt": 0.05, "n_times": 2},
    "burgers_periodic": {"grid": 4096, "n_modes": 16, "dt": 0.05, "n_times": 3, "viscosity": 0.1},
    "burgers_neumann": {"grid": 384, "n_modes": 12, "dt": 0.02, "resolution": 17, "n_times": 3},
    "diffusion_reaction": {"grid": 128, "t_end": 0.5, "n_times": 3},
    "wave": {"resolution": 128, "n_modes": 32, "n_times": 5},
    "advection_diffusion": {"grid": 64, "resolution": 64, "n_times": 3},
    "darcy": {"grid": 129},
    "heat_neumann": {"resolution": 1024},
    "stokes_second": {"resolution": 1024},
    "lid_driven_cavity": {"grid": 33, "highest_reynolds": 100.0},
    "shallow_water": {"grid": 128, "t_end": 0.02},
    "darcy_sources": {"grid": 97},
    "wave_in_medium": {"grid": 128, "t_end": 0.05},
}
PROGRAM = """
import hashlib, json, sys, time
from monarch_sciml import data
from monarch_sciml.data import FieldFile
sums = {}
for name, options in json.loads(sys.argv[1]).items():
    getattr(data, f"generate_{name}")(
        f"{name}.h5", n_samples=2, batch_size=2, dtype="float64", progress=False, **options
    )
    sums[name] = hashlib.sha256(FieldFile(f"{name}.h5").read().numpy().tobytes()).hexdigest()
print(json.dumps(sums))
"""


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """The checksum of the fields of every generator, in a process of one and of two threads."""

    def generated(n_threads):
        folder = tmp_path_factory.mktemp(f"threads{n_threads}")
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(LARGE)],
            cwd=folder,
            env={**os.environ, **dict.fromkeys(names, str(n_threads))},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return generated(1), generated(2)


@pytest.mark.parametrize("name", PROBLEMS)
def test_threads_do_not_change_a_bit(sums, name):
    one, two = sums
    assert one[name] == two[name]
    assert len(one[name]) == hashlib.sha256().digest_size * 2
