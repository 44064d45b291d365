"""CG-SENSE, a conventional reconstruction to compare networks with.

Letters: B batch; M map sets; C coils; H, W image rows and columns. The class is called like a
reconstruction network but has no trainable parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.physics.conjugate_gradients import conjugate_gradients
from monarch_sciml.physics.sense_operator import (
    LinearTransform,
    SenseOperator,
    combine_map_sets,
    with_map_sets,
)

IMAGE_AXES = (-3, -2, -1)
"""Axes (M, H, W) of the images of one sample."""


class CGSENSE(Encoded, nn.Module):
    r"""Solve the regularised SENSE equations by conjugate gradients.

    .. math:: (A^H A + \lambda I) x = A^H y, \qquad A = \text{mask} \cdot F \cdot \text{coil maps}

    F is the centred FFT, or the encoding of a scanner after `set_encoding`.

    Parameters
    ----------
    grid_shape
        Image size (H, W) in pixels, an argument that all reconstruction methods have. The solver
        accepts k-space of any size.
    regularization
        Tikhonov weight lambda, relative to A^H A, whose norm is 1 for maps of unit norm; at
        least 0.
    n_iterations
        Largest number of iterations.
    tolerance
        The iteration of a sample stops when its residual is below `tolerance` times its right-hand
        side.

    Notes
    -----
    Every sample has its own step sizes and stops on its own. One iteration costs two FFTs per coil,
    only along the axes along which the mask varies. lambda = 0 is allowed; the iteration then
    regularises by its length.

    References
    ----------
    Pruessmann, Weiger, Boernert, Boesiger, "Advances in sensitivity encoding with arbitrary k-space
    trajectories", MRM 46 (2001). Equal to `bart pics -S -w1 -l2 -r LAMBDA` up to a global phase
    for even H and W; along odd axes the image of pics 0.8 is shifted by a pixel against the maps.

    Examples
    --------
    >>> maps = torch.full((1, 4, 6, 8), 0.5 + 0j)
    >>> image = torch.randn(1, 6, 8, dtype=torch.complex64)
    >>> kspace = SenseOperator(torch.ones(1, 6, 8), maps).forward(image)
    >>> solve = CGSENSE((6, 8), regularization=0.0)
    >>> torch.allclose(solve(kspace, torch.ones(1, 6, 8), maps), image, atol=1e-5)
    True
    """

    def __init__(
        self,
        grid_shape: tuple[int, ...],
        *,
        regularization: float = 0.01,
        n_iterations: int = 100,
        tolerance: float = 1e-6,
    ) -> None:
        super().__init__()
        self.grid_shape = image_grid(grid_shape)
        self.regularization = positive_number("regularization", regularization, or_zero=True)
        self.n_iterations = positive_int("n_iterations", n_iterations)
        self.tolerance = positive_number("tolerance", tolerance, or_zero=True)

    def forward(
        self, masked_kspace: torch.Tensor, mask: torch.Tensor, coil_maps: torch.Tensor
    ) -> torch.Tensor:
        """Return the image of every sample.

        Parameters
        ----------
        masked_kspace
            (..., C, H, W), complex centred k-space, any unit.
        mask
            (..., H, W), 1 where k-space was sampled, 0 elsewhere.
        coil_maps
            (..., C, H, W), complex coil sensitivities, dimensionless; with several map sets
            (..., M, C, H, W).

        Returns
        -------
        (..., H, W), complex image in the unit of k-space; the images of several map sets are solved
        for together and then combined (`combine_map_sets`).

        Raises
        ------
        ValueError
            When the sizes do not fit one another, or when k-space or maps are not finite.
        """
        physics = as_sense_operator(masked_kspace, mask, coil_maps, self.encoding)
        return combine_map_sets(self.solve_sets(physics, physics.adjoint(masked_kspace)))

    def solve_sets(self, physics: SenseOperator, b: torch.Tensor) -> torch.Tensor:
        """Return x (..., M, H, W) of (A^H A + lambda) x = b: the image of every map set.

        Parameters
        ----------
        physics
            A, with `map_sets=True`.
        b
            (..., M, H, W), complex right-hand side, any unit.
        """
        # a power of two, lest the squares of very small or large numbers vanish or overflow
        largest = b.detach().abs().amax(dim=IMAGE_AXES, keepdim=True)
        scale = torch.exp2(torch.frexp(largest).exponent.to(largest.dtype))
        x = conjugate_gradients(
            lambda x: physics.normal(x) + self.regularization * x,
            b / scale,
            n_iterations=self.n_iterations,
            tolerance=self.tolerance,
            dims=IMAGE_AXES,
        )
        return scale * x


def as_sense_operator(
    masked_kspace: torch.Tensor,
    mask: torch.Tensor,
    coil_maps: torch.Tensor,
    encoding: LinearTransform | None = None,
) -> SenseOperator:
    """Return the operator of (..., M, H, W) images, M = 1 for maps without an axis of sets.

    Raises
    ------
    ValueError
        When the sizes do not fit one another, or k-space or maps have NaN or infinity.
    """
    finite("masked_kspace", masked_kspace, remedy="Check the file and its scaling.")
    finite("coil_maps", coil_maps, remedy="Estimate them anew.")
    return SenseOperator(mask, with_map_sets(masked_kspace, coil_maps), encoding, map_sets=True)


def image_grid(grid_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the grid as (H, W)."""
    if len(grid_shape) != 2:
        rule = "`grid_shape` must be (H, W)"
        raise ValueError(message(rule, tuple(grid_shape), "Reconstruct slice by slice."))
    height, width = (positive_int("grid_shape", n) for n in grid_shape)
    return height, width
