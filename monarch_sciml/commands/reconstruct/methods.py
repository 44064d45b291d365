"""The methods of `reconstruct`: conventional ones by their names, and trained networks."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from monarch_sciml._checks import finite, message
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.data.scans.scale import ScanNormalization, scale_of
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.models import SENSE
from monarch_sciml.models.reconstruction.encoded import Encoded
from monarch_sciml.models.reconstruction.partial_fourier import POCS, Homodyne
from monarch_sciml.physics import center_crop
from monarch_sciml.solvers import CGSENSE, L1Wavelet

_MAKERS: dict[str, Callable[[tuple[int, int], Settings], nn.Module]] = {
    "zero_filled": lambda matrix, _: SENSE(matrix),
    "cg_sense": lambda matrix, asked: CGSENSE(matrix, regularization=asked.regularization),
    "l1_wavelet": lambda matrix, asked: L1Wavelet(
        matrix, regularization=asked.wavelet_regularization
    ),
    "homodyne": lambda matrix, _: Homodyne(matrix),
    "pocs": lambda matrix, _: POCS(matrix),
}


@dataclass(frozen=True)
class Reconstruction:
    """Hold the images of one method.

    Attributes
    ----------
    image
        (s, h, w), complex, unit of k-space.
    seconds
        Mean time per slice in seconds, without that of the coil maps.
    """

    image: Tensor
    seconds: float

    @property
    def magnitude(self) -> Tensor:
        """(s, h, w), unit of k-space."""
        return self.image.abs()


def run_methods(
    scan: Scan, maps: Tensor, shape: tuple[int, int], settings: Settings
) -> tuple[dict[str, Reconstruction], list[str]]:
    """Run every method and network; return their images, and the networks left out with reasons.

    Maps are (s, c, H, W) or (s, M, c, H, W), dimensionless; the central (h, w) = `shape` of the
    images is kept.

    Raises
    ------
    ValueError
        When a network that was named refuses the scan, or nothing is left: one that came with a
        comparison may be left out.
    """
    solvers = {
        name: measured_by(_MAKERS[name](scan.matrix, settings), settings)
        for name in settings.methods
    }
    networks = dict(zip(settings.names[len(solvers) :], settings.networks))
    found, left_out = {}, []
    for name in settings.names:
        network = networks.get(name)
        normalization = None if network is None else network.normalization
        try:
            model = solvers[name] if network is None else measured_by(network.model, settings)
            found[name] = _run(name, model, scan, maps, shape, settings, normalization)
        except ValueError as error:
            if network is None:
                raise
            if network.named:
                raise ValueError(f"{network.path}: {error}") from error
            left_out.append(f"{name} left out: {error}")
    if not found:
        rule = "there must be a network that can be used"
        raise ValueError(message(rule, "; ".join(left_out), "Pass --method all, say."))
    return found, left_out


def measured_by(method: nn.Module, settings: Settings) -> nn.Module:
    """Return the method with the learned encoding as its forward model, if there is one.

    Raises
    ------
    ValueError
        When the method is a network without a forward model that could be exchanged.
    """
    if settings.learned_encoding is None:
        return method
    if not isinstance(method, Encoded):
        rule = "a network must have a forward model that --encoding can take the place of"
        remedy = "Use MoDL, or leave out --encoding for this network."
        raise ValueError(message(rule, type(method).__name__, remedy))
    return cast(nn.Module, method.set_encoding(settings.learned_encoding.encoding))


@torch.no_grad()
def _run(
    name: str,
    network: nn.Module,
    scan: Scan,
    maps: Tensor,
    shape: tuple[int, int],
    settings: Settings,
    normalization: ScanNormalization | None = None,
) -> Reconstruction:
    """Reconstruct every slice; without a normalisation as for a method that needs no scale."""
    device = torch.device(settings.device)
    network = network.to(device).eval()
    numbers = settings.slice_numbers(name, scan.n_slices)
    scale = scale_of(scan, maps, normalization) if normalization else 1.0
    images, seconds = [], 0.0
    for number in numbers:
        start = time.perf_counter()
        kspace, coil_maps = scan.kspace[number].to(device), maps[number].to(device)
        mask = scan.slice_mask(number).to(device, torch.float32)
        image = scan.kspace.new_zeros(scan.matrix)
        if bool(kspace.any()):  # a slice at the end of a volume may be empty
            image = network(kspace[None] / scale, mask[None], coil_maps[None])[0].cpu() * scale
        seconds += time.perf_counter() - start
        finite(f"slice {number} of {name}", image, remedy="Check the training of the network.")
        images.append(image)
    return Reconstruction(center_crop(torch.stack(images), shape), seconds / len(images))
