"""Refuse arrays that can be read as k-space but are not: images, and slices taken for coils."""

# Letters: s slices, c coils, H, W matrix of k-space.

from __future__ import annotations

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.scans.estimate import CALIBRATION, KERNEL
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.calibration import calibration_region
from monarch_sciml.physics.espirit import espirit
from monarch_sciml.physics.images import combine, fft2c, ifft2c
from monarch_sciml.physics.map_support import object_mask

_SMALLEST = 16
"""Rows and columns that are needed to tell k-space from images."""
CLEARLY = 4.0
"""How many times more evenly k-space would have to be spread than its transform to be an image.

k-space of a head is about 500 times less even than its image, noise just as even.
"""
DIFFERENT = 1.6
"""Share of the signal that is not of one object, over that of the noise: of coils below 0.9."""
_LEAST_SHARE = 0.004


def check_domain(scan: Scan) -> None:
    r"""Refuse a scan whose middle slice consists of images instead of k-space.

    The energy of k-space is concentrated in few samples around the origin, that of an image is
    spread out. With

    .. math:: p(x) = \left(\sum_i |x_i|^2\right)^2 / \left(N \sum_i |x_i|^4\right)

    the share of the samples that hold the energy, x is an image when p(x) is more than four times
    p(F x) and p(F^-1 x).

    Raises
    ------
    ValueError
        When the middle slice is an image.
    """
    if min(scan.matrix) < _SMALLEST:
        return
    middle = scan.kspace[scan.n_slices // 2]
    coil = middle[int(middle.abs().amax(dim=(1, 2)).argmax())]  # (H, W) of the brightest coil
    evenness = _evenness(coil)
    if evenness > CLEARLY * max(_evenness(fft2c(coil)), _evenness(ifft2c(coil))):
        rule = f"{scan.name} must hold k-space"
        got = "what looks like images, evenly spread, whose transform has a peak"
        remedy = (
            "Transform them: numpy.fft.fftshift(numpy.fft.fft2(numpy.fft.ifftshift(x, axes), "
            "axes=axes, norm='ortho'), axes) along the axes of rows and columns."
        )
        raise ValueError(message(rule, got, remedy))


def check_coils(scan: Scan) -> None:
    """Refuse an array whose unnamed axis of coils seems to be an axis of slices.

    All coils show one object, x_c = S_c x with smooth S. The part of the middle slice that this
    does not explain must be noise as strong as that around the object; otherwise the images are of
    different slices.

    Raises
    ------
    ValueError
        When the images are different.
    """
    if not scan.header.get("axes_guessed") or scan.n_coils == 1 or min(scan.matrix) < 2 * KERNEL:
        return
    kspace = scan.kspace[scan.n_slices // 2]
    region = calibration_region(kspace[None], CALIBRATION)
    whole = scan.fully_sampled and all(part.stop - part.start >= KERNEL for part in region)
    if not (whole and bool(kspace.any())):
        return
    share, noise = _unexplained(kspace)
    if share <= max(DIFFERENT * noise, _LEAST_SHARE):
        return
    as_coils = str(scan.header["axes_guessed"])
    exchanged = {"coil": "slice", "slice": "coil"}
    as_slices = ",".join(exchanged.get(name, name) for name in as_coils.split(","))
    rule = f"the {scan.n_coils} images of {scan.name} must show one object to be read as coils"
    got = f"{100 * share:.1g} % of their signal in which they differ"
    remedy = f"Pass --axes {as_slices} if they are slices, --axes {as_coils} if they are coils."
    raise ValueError(message(rule, got, remedy))


def _evenness(x: Tensor) -> float:
    """Return the share of the samples (H, W) that hold the energy, between 1 / N and 1."""
    energy = x.abs().double().square()
    total = energy.square().sum() * energy.numel()
    return float(energy.sum() ** 2 / total) if float(total) > 0 else 0.0


def _unexplained(kspace: Tensor) -> tuple[float, float]:
    """Return the share of the signal of coils (c, H, W) that is not S x, and the share of noise."""
    kspace = kspace / kspace.abs().max()  # squares of very small numbers would vanish
    maps, images, inside = espirit(kspace, crop=-1.0), ifft2c(kspace), object_mask(kspace)
    signal = float(images[:, inside].abs().square().sum())
    rest = (images - maps * combine(images, maps))[:, inside]
    around = images[:, ~inside].abs().square()
    if around.shape[1] < 50 or not signal > 0:  # pixels: too few to measure the noise
        return 0.0, 1.0
    # the median of an exponential distribution is ln 2 of its mean
    power = float(around.median(dim=1).values.sum() / torch.log(torch.tensor(2.0)))
    return float(rest.abs().square().sum()) / signal, power * int(inside.sum()) / signal
