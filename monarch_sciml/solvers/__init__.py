"""Reference solvers of partial differential equations, which generate the data sets."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.solvers.advection_diffusion import AdvectionDiffusion
from monarch_sciml.solvers.burgers import BurgersNeumann, BurgersPeriodic
from monarch_sciml.solvers.cavity import LidDrivenCavity
from monarch_sciml.solvers.darcy import Darcy2d
from monarch_sciml.solvers.darcy_sources import DarcySources
from monarch_sciml.solvers.diffusion_reaction import DiffusionReaction2d
from monarch_sciml.solvers.heat import heat_neumann
from monarch_sciml.solvers.media import Medium
from monarch_sciml.solvers.navier_stokes import NavierStokes2d, fno_forcing, solve_navier_stokes
from monarch_sciml.solvers.random_fields import cosine_random_field, gaussian_random_field
from monarch_sciml.solvers.random_series import evaluate_series, random_sine_series
from monarch_sciml.solvers.shallow_water import ShallowWater
from monarch_sciml.solvers.stokes import stokes_second
from monarch_sciml.solvers.wave import solve_wave
from monarch_sciml.solvers.wave_in_medium import WaveInMedium

__all__ = [
    "AdvectionDiffusion",
    "BurgersNeumann",
    "BurgersPeriodic",
    "Darcy2d",
    "DarcySources",
    "DiffusionReaction2d",
    "LidDrivenCavity",
    "Medium",
    "NavierStokes2d",
    "ShallowWater",
    "WaveInMedium",
    "cosine_random_field",
    "evaluate_series",
    "fno_forcing",
    "gaussian_random_field",
    "heat_neumann",
    "random_sine_series",
    "solve_navier_stokes",
    "solve_wave",
    "stokes_second",
]


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
