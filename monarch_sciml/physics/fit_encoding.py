"""Learn the encoding of a scanner from calibration scans of a known object.

Letters: s slices, c coils, H x W matrix (H readout, W phase encode), b bands, n = H or b H.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from monarch_sciml._checks import finite, message, positive_int, positive_number
from monarch_sciml.physics.images import ifft1c
from monarch_sciml.physics.readout_encoding import (
    ReadoutEncoding,
    band_weights,
)
from monarch_sciml.transforms import CorrectedTransform, FourierTransform, GivenTransform
from monarch_sciml.transforms.fit import ridge_matrix, set_change


@dataclass
class CalibrationSums:
    """Add up all that the closed form and the gradient need to know of calibration scans.

    Attributes
    ----------
    grid_shape
        Matrix (H, W).
    gram, cross
        Sums of u u^H and of d u^H for every column of the image, complex128 (W, H, H): u its H
        pixels in one coil, d the readout that was measured of it.
    energy
        Sum of |d|^2.
    equations
        Number of readouts of each column that saw any signal, (W,).
    n_slices
        Number of slices added.
    """

    grid_shape: tuple[int, int]
    gram: Tensor = field(init=False)
    cross: Tensor = field(init=False)
    energy: float = 0.0
    equations: Tensor = field(init=False)
    n_slices: int = 0

    def __post_init__(self) -> None:
        height, width = self.grid_shape
        self.gram = torch.zeros(width, height, height, dtype=torch.complex128)
        self.cross = torch.zeros_like(self.gram)
        self.equations = torch.zeros(width, dtype=torch.int64)

    def add(self, coil_images: Tensor, kspace: Tensor) -> None:
        """Add slices.

        Parameters
        ----------
        coil_images
            (..., c, H, W), complex: coil maps times the known object.
        kspace
            (..., c, H, W), the fully sampled k-space that was measured of them.

        Raises
        ------
        ValueError
            When the sizes differ, or a value is not finite.
        """
        if coil_images.shape != kspace.shape or tuple(kspace.shape[-2:]) != self.grid_shape:
            rule = "coil images and k-space must be of the matrix {} x {}".format(*self.grid_shape)
            got = f"{tuple(coil_images.shape)} and {tuple(kspace.shape)}"
            raise ValueError(message(rule, got, "Calibrate on scans of one matrix."))
        for name, values in (("coil_images", coil_images), ("kspace", kspace)):
            finite(name, values, remedy="Leave this slice out.")
        height, width = self.grid_shape
        images, readouts = (  # (..., c, H, W) -> (W, H, s c)
            x.to(torch.complex128).reshape(-1, height, width).permute(2, 1, 0)
            for x in (coil_images, ifft1c(kspace))
        )
        self.gram += images @ images.mH
        self.cross += readouts @ images.mH
        self.energy += float(readouts.abs().square().sum())
        self.equations += (images != 0).any(1).sum(-1)
        self.n_slices += kspace[..., 0, 0, 0].numel()

    def residual(self, matrices: Tensor) -> Tensor:
        """Return the share of |d|^2 that matrices (W, H, H) or (1, H, H) leave unexplained."""
        explained = (matrices @ self.gram.to(matrices) - 2 * self.cross.to(matrices)) * (
            matrices.conj()
        )
        return 1 + explained.real.sum() / self.energy


def fit_encoding(
    sums: CalibrationSums,
    *,
    n_bands: int | None = None,
    rank: int | None = 4,
    ridge: float = 1e-3,
    n_steps: int = 0,
    grid_blocks: int | None = None,
    mode_blocks: int | None = None,
) -> ReadoutEncoding:
    r"""Return the encoding that explains calibration scans best, near the Fourier transform.

    .. math:: \min_T \sum_{s, c, y} \lVert d_{scy} - E_y u_{scy} \rVert^2
              + λ \sum_b \lVert T_b - T_0 \rVert_F^2, \qquad E_y = \sum_b w_b(y) \, T_b

    with u the pixels of a column in a coil and d the readout measured of it. T_0 is the matrix that
    serves all columns best, itself found near the centred DFT. The closed form is then projected to
    corrections of the DFT whose slices have rank r, and `n_steps` of L-BFGS on the same sum of
    squares, without λ, make up for what the projection loses.

    Parameters
    ----------
    sums
        The calibration scans.
    n_bands
        Number of bands of columns b (`band_weights`): 1 for one matrix for all columns, W for a
        matrix for each, about a tenth of W where it varies slowly, which is the default.
    rank
        Rank r of the slices of a `CorrectedTransform`; None for dense matrices.
    ridge
        λ in units of the mean eigenvalue of the sum of u u^H.
    n_steps
        Steps of L-BFGS after the projection. Dense matrices need none.
    grid_blocks, mode_blocks
        Blocks of a `CorrectedTransform`.

    Raises
    ------
    ValueError
        When an option does not fit, the object is empty, or `ridge` is zero and there are fewer
        equations than unknowns.

    Examples
    --------
    >>> from monarch_sciml.physics import ReadoutErrors
    >>> images = torch.randn(40, 1, 16, 8, dtype=torch.complex64)
    >>> sums = CalibrationSums((16, 8))
    >>> sums.add(images, ReadoutErrors(delay=1.3).measure(images, (16, 8)))
    >>> encoding = fit_encoding(sums, n_bands=1, rank=None, ridge=1e-6)
    >>> bool(sums.residual(encoding.matrices()) < 1e-6)
    True
    """
    height, width = sums.grid_shape
    n_bands = max(1, round(width / 10)) if n_bands is None else positive_int("n_bands", n_bands)
    weights = band_weights(n_bands, width)
    ridge = positive_number("ridge", ridge, or_zero=True)
    if not sums.energy > 0 or not bool(sums.equations.any()):
        raise ValueError(message("the calibration object must not be empty", "zeros", "Check it."))
    if ridge == 0:
        check_equations(sums, n_bands)
    start = FourierTransform(height, centered=True).double()
    shared = _ridge(sums.gram.sum(0), sums.cross.sum(0), start.matrix().detach(), ridge)
    bands = _bands(sums, weights, shared, ridge)  # (b, H, H)
    if rank is None:
        single = [GivenTransform(band.to(torch.complex64)) for band in bands]
        return ReadoutEncoding(single, weights)
    lit = torch.einsum("bw,wii->bi", weights.double().square(), sums.gram.real)  # (b, H)
    lit = lit + 1e-8 * lit.max()  # a band beside the object
    transforms = []
    for band, power in zip(bands, lit):
        transform = CorrectedTransform(
            FourierTransform(height, centered=True), rank, grid_blocks, mode_blocks
        )
        set_change(transform, band - start.matrix().detach(), power.sqrt())
        transforms.append(transform)
    encoding = ReadoutEncoding(transforms, weights)
    if positive_int("n_steps", n_steps, minimum=0):
        _descend(encoding, sums, n_steps)
    return encoding.requires_grad_(False)


def check_equations(sums: CalibrationSums, n_bands: int) -> None:
    """Refuse calibration scans with fewer equations than unknowns, which need a ridge."""
    if (lack := missing_equations(sums, n_bands))[0]:
        rule = f"without a ridge, {n_bands} bands need {lack[1]} equations for each sample"
        got = f"{lack[1] - lack[0]} from {sums.n_slices} slices, {lack[0]} missing"
        remedy = "Calibrate on more slices, or set `ridge` above 0: it keeps the Fourier transform "
        remedy += "where no equation tells."
        raise ValueError(message(rule, got, remedy))


def missing_equations(sums: CalibrationSums, n_bands: int) -> tuple[int, int]:
    """Return how many equations a sample of the readout lacks, and how many it has to have.

    With a matrix for each column these are the numbers of the column that has the fewest.
    """
    height, width = sums.grid_shape
    if n_bands == width and width > 1:
        return max(0, height - int(sums.equations.min())), height
    return max(0, n_bands * height - int(sums.equations.sum())), n_bands * height


def _ridge(gram: Tensor, cross: Tensor, start: Tensor, ridge: float) -> Tensor:
    weight = ridge * float(gram.diagonal(dim1=-2, dim2=-1).real.mean())
    return ridge_matrix(gram, cross, start, weight)


def _bands(sums: CalibrationSums, weights: Tensor, shared: Tensor, ridge: float) -> Tensor:
    """Return the matrices of the bands (b, H, H), with T_0 the shared matrix (H, H)."""
    n_bands, height = len(weights), len(shared)
    if n_bands == 1:
        return shared[None]
    if n_bands == weights.shape[1]:
        return _ridge(sums.gram, sums.cross, shared, ridge)
    w = weights.to(sums.gram)
    gram = torch.einsum("aw,bw,wij->aibj", w, w, sums.gram)  # of stacked inputs w_b(y) u
    cross = torch.einsum("bw,wij->ibj", w, sums.cross)
    n = n_bands * height
    stacked = _ridge(gram.reshape(n, n), cross.reshape(height, n), shared.repeat(1, n_bands), ridge)
    return stacked.unflatten(1, (n_bands, height)).movedim(1, 0)


def _descend(encoding: ReadoutEncoding, sums: CalibrationSums, n_steps: int) -> None:
    """Lower the unexplained share of the calibration scans by L-BFGS."""
    optimiser = torch.optim.LBFGS(
        encoding.parameters(), max_iter=n_steps, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = sums.residual(encoding.matrices())
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
