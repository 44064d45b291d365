"""Reference solvers: PDEs that generate data sets, conventional MRI reconstruction."""

from monarch_sciml.solvers.mri import CGSENSE, L1Wavelet
from monarch_sciml.solvers.navier_stokes import NavierStokes2d, fno_forcing, solve_navier_stokes
from monarch_sciml.solvers.random_fields import gaussian_random_field

__all__ = [
    "CGSENSE",
    "L1Wavelet",
    "NavierStokes2d",
    "fno_forcing",
    "gaussian_random_field",
    "solve_navier_stokes",
]
