"""The list of all problems from which data sets are generated.

`PROBLEMS` feeds the command line and the tests; `generate_NAME` is the function of a problem.
"""

from monarch_sciml.data.generators.advection_diffusion import AdvectionDiffusionProblem
from monarch_sciml.data.generators.burgers import BurgersNeumannProblem, BurgersPeriodicProblem
from monarch_sciml.data.generators.darcy import DarcyProblem
from monarch_sciml.data.generators.darcy_sources import DarcySourcesProblem
from monarch_sciml.data.generators.diffusion_reaction import DiffusionReactionProblem
from monarch_sciml.data.generators.heat_neumann import HeatNeumannProblem
from monarch_sciml.data.generators.lid_driven_cavity import LidDrivenCavityProblem
from monarch_sciml.data.generators.navier_stokes import NavierStokesProblem
from monarch_sciml.data.generators.problem import FieldProblem, generator
from monarch_sciml.data.generators.shallow_water import ShallowWaterProblem
from monarch_sciml.data.generators.stokes_second import StokesSecondProblem
from monarch_sciml.data.generators.wave import WaveProblem
from monarch_sciml.data.generators.wave_in_medium import WaveInMediumProblem

PROBLEMS: dict[str, type[FieldProblem]] = {
    problem.name: problem
    for problem in (
        NavierStokesProblem,
        BurgersPeriodicProblem,
        BurgersNeumannProblem,
        DiffusionReactionProblem,
        DarcyProblem,
        HeatNeumannProblem,
        StokesSecondProblem,
        WaveProblem,
        AdvectionDiffusionProblem,
        LidDrivenCavityProblem,
        WaveInMediumProblem,
        ShallowWaterProblem,
        DarcySourcesProblem,
    )
}
"""Name on the command line -> class, in the order of the help."""

generate_navier_stokes = generator(NavierStokesProblem)
generate_burgers_periodic = generator(BurgersPeriodicProblem)
generate_burgers_neumann = generator(BurgersNeumannProblem)
generate_diffusion_reaction = generator(DiffusionReactionProblem)
generate_darcy = generator(DarcyProblem)
generate_heat_neumann = generator(HeatNeumannProblem)
generate_stokes_second = generator(StokesSecondProblem)
generate_wave = generator(WaveProblem)
generate_advection_diffusion = generator(AdvectionDiffusionProblem)
generate_lid_driven_cavity = generator(LidDrivenCavityProblem)
generate_wave_in_medium = generator(WaveInMediumProblem)
generate_darcy_sources = generator(DarcySourcesProblem)
generate_shallow_water = generator(ShallowWaterProblem)

__all__ = [
    "PROBLEMS",
    "generate_advection_diffusion",
    "generate_burgers_neumann",
    "generate_burgers_periodic",
    "generate_darcy",
    "generate_darcy_sources",
    "generate_diffusion_reaction",
    "generate_heat_neumann",
    "generate_lid_driven_cavity",
    "generate_navier_stokes",
    "generate_shallow_water",
    "generate_stokes_second",
    "generate_wave",
    "generate_wave_in_medium",
]
