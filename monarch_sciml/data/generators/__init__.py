"""Generators of data sets, one function a problem, all on `monarch_sciml.data.generate`."""

from monarch_sciml.data.generators.advection_diffusion import generate_advection_diffusion
from monarch_sciml.data.generators.burgers import (
    generate_burgers_neumann,
    generate_burgers_periodic,
)
from monarch_sciml.data.generators.darcy import generate_darcy
from monarch_sciml.data.generators.diffusion_reaction import generate_diffusion_reaction
from monarch_sciml.data.generators.heat_neumann import generate_heat_neumann
from monarch_sciml.data.generators.lid_driven_cavity import generate_lid_driven_cavity
from monarch_sciml.data.generators.navier_stokes import generate_navier_stokes
from monarch_sciml.data.generators.problem import generator
from monarch_sciml.data.generators.stokes_second import generate_stokes_second
from monarch_sciml.data.generators.wave import generate_wave
from monarch_sciml.data.generators.wave_in_medium import WaveInMediumProblem

generate_wave_in_medium = generator(WaveInMediumProblem)

__all__ = [
    "generate_advection_diffusion",
    "generate_burgers_neumann",
    "generate_burgers_periodic",
    "generate_darcy",
    "generate_diffusion_reaction",
    "generate_heat_neumann",
    "generate_lid_driven_cavity",
    "generate_navier_stokes",
    "generate_stokes_second",
    "generate_wave",
    "generate_wave_in_medium",
]
