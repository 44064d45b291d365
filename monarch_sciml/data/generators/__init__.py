"""Generators of data sets, one file a problem, all on `monarch_sciml.data.generation`."""

from monarch_sciml.data.generators.navier_stokes import generate_navier_stokes

__all__ = ["generate_navier_stokes"]
