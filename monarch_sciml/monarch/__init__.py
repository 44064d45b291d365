"""The mathematics of Monarch matrices: pure functions on tensors."""

from monarch_sciml.monarch._factorize import factorize as factorize
from monarch_sciml.monarch._fourier import dft_factors as dft_factors
from monarch_sciml.monarch._fourier import digit_reversal as digit_reversal
from monarch_sciml.monarch._product import multiply as multiply
from monarch_sciml.monarch._product import multiply_factors as multiply_factors
from monarch_sciml.monarch._product import to_dense as to_dense
from monarch_sciml.monarch._projection import project as project
from monarch_sciml.monarch._recovery import MMStarFactors as MMStarFactors
from monarch_sciml.monarch._recovery import recover_mm_star as recover_mm_star
