"""The mathematics of Monarch matrices: pure functions on tensors."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.monarch.block_sizes import factorize as factorize
from monarch_sciml.monarch.dft import dft_factors as dft_factors
from monarch_sciml.monarch.dft import digit_reversal as digit_reversal
from monarch_sciml.monarch.mm_star import MMStarFactors as MMStarFactors
from monarch_sciml.monarch.mm_star import recover_mm_star as recover_mm_star
from monarch_sciml.monarch.product import multiply as multiply
from monarch_sciml.monarch.product import multiply_factors as multiply_factors
from monarch_sciml.monarch.product import to_dense as to_dense
from monarch_sciml.monarch.projection import project as project


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
