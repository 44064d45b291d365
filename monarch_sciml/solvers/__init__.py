"""Reference solvers: PDEs that generate data sets, conventional MRI reconstruction."""

from monarch_sciml.solvers.cavity import LidDrivenCavity
from monarch_sciml.solvers.cosine_fields import cosine_random_field
from monarch_sciml.solvers.darcy import Darcy2d
from monarch_sciml.solvers.heat import heat_neumann
from monarch_sciml.solvers.mri import CGSENSE, L1Wavelet
from monarch_sciml.solvers.navier_stokes import NavierStokes2d, fno_forcing, solve_navier_stokes
from monarch_sciml.solvers.random_fields import gaussian_random_field
from monarch_sciml.solvers.stokes import stokes_second

__all__ = [
    "CGSENSE",
    "Darcy2d",
    "L1Wavelet",
    "LidDrivenCavity",
    "NavierStokes2d",
    "cosine_random_field",
    "fno_forcing",
    "gaussian_random_field",
    "heat_neumann",
    "solve_navier_stokes",
    "stokes_second",
]
