"""The coil maps and the reference image of a scan with a learned encoding."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.encoding_files import EncodingFile
from monarch_sciml.data.scans.maps import ESTIMATES
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.models.reconstruction.cg_sense import CGSENSE
from monarch_sciml.physics import fft2c

RIDGE = 0.01
"""Weight of the pseudo-inverse, as a single coil tells less about an image than all of them."""


def regridded(scan: Scan, found: EncodingFile, settings: Settings) -> Scan:
    """Return a scan with the k-space that an ideal scanner would have measured, for its coil maps.

    The encoding is inverted in every coil, and the image transformed by the FFT. Of an
    undersampled scan only the fully sampled columns at the centre can be regridded, and all others
    are zero; k-space along the phase encode is then as narrow as these, and the matrix of a column
    stands for its neighbours too.

    Raises
    ------
    ValueError
        When the matrix differs from that of the encoding, or coil maps are to be estimated and no
        column at the centre is fully sampled.
    """
    encoding = found.encoding
    if scan.matrix != encoding.grid_shape:
        rule = f"{settings.encoding} must be of the scan's matrix" + " {} x {}".format(*scan.matrix)
        got = "{} x {}".format(*encoding.grid_shape)
        raise ValueError(message(rule, got, "Calibrate on scans of this matrix."))
    rows = scan.mask.all(dim=-2)  # (H, W) or (s, H, W) -> (W,) or (s, W)
    whole = rows if rows.ndim == 1 else rows.all(0)
    first = last = scan.matrix[1] // 2
    while first > 0 and bool(whole[first - 1]):
        first -= 1
    while last < len(whole) and bool(whole[last]):
        last += 1
    if last <= first and settings.coil_maps in ESTIMATES:
        rule = "coil maps by an encoding need fully sampled columns at the centre of k-space"
        raise ValueError(message(rule, "none", "Pass --coil_maps stored, or a file of maps."))
    central = scan.kspace.clone()
    central[..., :first], central[..., last:] = 0, 0
    kspace = fft2c(encoding.pseudo_inverse(central, RIDGE))
    kspace[..., :first], kspace[..., last:] = 0, 0
    return replace(scan, kspace=kspace)


@torch.no_grad()
def solved(scan: Scan, found: EncodingFile, maps: Tensor, settings: Settings) -> Tensor:
    """Return the images (s, H, W) of a fully sampled scan by CG-SENSE with the encoding.

    All coils are solved together, because one alone does not determine the image where the samples
    of the readout are further apart than the field of view allows.

    Parameters
    ----------
    scan
        The scan as it was measured.
    found
        The encoding.
    maps
        (s, c, H, W), or (s, M, c, H, W) for several sets.
    settings
        Options, of which the regularisation and the device count.
    """
    solve = CGSENSE(scan.matrix, regularization=settings.regularization)
    solve.set_encoding(found.encoding)
    images = []
    for number in settings.slice_numbers("reference", scan.n_slices):
        kspace, sets = (x[number].to(settings.device) for x in (scan.kspace, maps))
        mask = scan.slice_mask(number).to(settings.device, torch.float32)
        images.append(solve(kspace[None], mask[None], sets[None])[0].cpu())
    return torch.stack(images)
