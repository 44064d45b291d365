"""Every generator of fields, made small."""

import pytest

from monarch_sciml import data
from monarch_sciml.data import FieldFile
from monarch_sciml.data.generators import PROBLEMS

SMALL = {
    "navier_stokes": {"grid": 8, "t_end": 0.3, "n_times": 3, "dt": 0.05},
    "burgers_periodic": {
        "grid": 64,
        "n_modes": 16,
        "dt": 0.05,
        "n_times": 3,
        "viscosity": 0.1,
    },
    "burgers_neumann": {
        "grid": 48,
        "n_modes": 12,
        "dt": 0.02,
        "resolution": 17,
        "viscosity": 0.1,
        "n_times": 3,
    },
    "diffusion_reaction": {"grid": 8, "t_end": 0.5, "n_times": 3, "batch_size": 1},
    "wave": {"resolution": 9, "n_modes": 4, "n_times": 3},
    "advection_diffusion": {
        "grid": 24,
        "n_modes": 4,
        "resolution": 9,
        "n_times": 3,
        "diffusivity": 0.05,
    },
    "darcy": {"grid": 17, "resolution": 9},
    "heat_neumann": {"resolution": 17, "n_times": 4},
    "stokes_second": {"resolution": 17, "n_times": 4},
    "lid_driven_cavity": {"grid": 9, "highest_reynolds": 100.0},
    "shallow_water": {"grid": 16, "resolution": 8, "n_modes": 3, "t_end": 0.2, "n_times": 3},
    "darcy_sources": {"grid": 33, "resolution": 9},
    "wave_in_medium": {"grid": 32, "resolution": 9, "n_modes": 2, "t_end": 0.2, "n_times": 3},
}


@pytest.fixture(params=PROBLEMS)
def name(request):
    """Run the test with every problem that can be generated; a new one needs an entry in SMALL."""
    return request.param


@pytest.fixture(scope="session")
def make():
    """Make five samples by the generator of that name, or as the changes say."""

    def made(name, path, **changes):
        options = {"n_samples": 5, "batch_size": 2, "progress": False, **SMALL[name], **changes}
        return getattr(data, f"generate_{name}")(path, **options)

    return made


@pytest.fixture(scope="session")
def read():
    """Read the fields of these names, or all."""
    return lambda path, *fields: FieldFile(path).read(fields=fields or None)
