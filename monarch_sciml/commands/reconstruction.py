"""What `reconstruct` does with one scan: coil maps, reference, methods."""

# Legend: s slices, M map sets, c coils, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from monarch_sciml._checks import finite, message
from monarch_sciml.commands.reconstruction_maps import (
    Maps,
    MapsSource,
    compressed,
    estimated_maps,
    given_maps,
)
from monarch_sciml.commands.reconstruction_reference import (
    Reference,
    Shape,
    image_shape,
    reference_of,
    zero_filled,
)
from monarch_sciml.data.scan import Scan
from monarch_sciml.data.scan_samples import Normalization, normalization_level
from monarch_sciml.physics import center_crop

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Problem:
    """A scan that is ready to be reconstructed.

    Attributes
    ----------
    scan
        The undersampled scan.
    maps
        Its coil maps.
    shape
        (h, w), the central part of the image that counts.
    reference
        None when there is none.
    notes
        What has to be said about the scan, a line each.
    """

    scan: Scan
    maps: Maps
    shape: Shape
    reference: Reference | None
    notes: tuple[str, ...] = ()

    @property
    def coil_maps(self) -> Tensor:
        """(s, c, H, W) or (s, M, c, H, W) complex, dimensionless."""
        return self.maps.values


@dataclass(frozen=True)
class Reconstruction:
    """The images of one method.

    Attributes
    ----------
    image
        (s, h, w), complex, unit of k-space.
    seconds
        Mean time of a slice, without that of the coil maps.
    """

    image: Tensor
    seconds: float

    @property
    def magnitude(self) -> Tensor:
        """(s, h, w), unit of k-space."""
        return self.image.abs()


def prepare(
    full: Scan,
    scan: Scan,
    source: MapsSource,
    *,
    calibration: int,
    n_maps: int = 1,
    compress_coils: int | None = None,
    slices: tuple[int, int] | None = None,
    device: torch.device = CPU,
    progress: bool = True,
) -> Problem:
    """Find the coil maps of an undersampled scan and its reference.

    Parameters
    ----------
    full
        The scan as it is in its file.
    scan
        The same, undersampled as it will be reconstructed.
    source
        "espirit" or "walsh": maps are estimated from the calibration region of `scan`; "stored":
        those of its file; otherwise a file of maps, or a folder with one of the name of the scan.
    calibration
        Largest side of the block that maps are estimated from, in samples.
    n_maps
        Number of map sets.
    compress_coils
        Number of virtual coils; a scan with no more coils than that stays as it is.
    slices
        Which slices of the volume the scans hold; None for all.
    device
        Where maps are estimated.
    progress
        Show a bar.

    Raises
    ------
    FileNotFoundError
        When there is no file of maps.
    ValueError
        When there are no such maps, they do not fit k-space, or there is no calibration region to
        estimate them from.
    """
    shape, notes = image_shape(full), list(full.notes)
    maps = given_maps(scan, source, n_maps=n_maps, slices=slices)
    if compress_coils is not None and compress_coils < scan.n_coils:
        notes.append(f"{scan.n_coils} coils compressed to {compress_coils}")
        full, scan, maps = compressed(full, scan, maps, compress_coils)
    if maps is None:
        remedy = "Pass maps with --coil_maps FILE"
        remedy += ", or a --mask with calibration lines." if full.fully_sampled else "."
        maps = estimated_maps(
            scan,
            source,
            n_maps=n_maps,
            calibration=calibration,
            remedy=remedy,
            device=device,
            bar=_Bars(progress),
        )
    scan = replace(scan, coil_maps=maps.values if n_maps == 1 else None)
    reference = reference_of(full, maps.values, shape, stored=source == "stored")
    return Problem(scan, maps, shape, reference, (*notes, *maps.notes))


def scale_of(problem: Problem, normalization: Normalization) -> float:
    """Return what k-space is divided by, the same as in training (`ScanDataset`).

    Parameters
    ----------
    problem
        The scan with its maps.
    normalization
        "p95", "max" or "std" of the magnitude of its zero-filled images.

    Raises
    ------
    ValueError
        When that is zero.
    """
    images = zero_filled(problem.scan, problem.coil_maps).abs()
    scale = float(normalization_level(images, normalization))
    if not scale > 0:
        rule = f"the zero-filled images of {problem.scan.name} must not be zero"
        raise ValueError(message(rule, f"a scale of {scale:g}", "Check coil maps and mask."))
    return scale


@torch.no_grad()
def run_method(
    name: str,
    network: nn.Module,
    problem: Problem,
    *,
    normalization: Normalization | None = None,
    device: torch.device,
    progress: bool,
) -> Reconstruction:
    """Reconstruct every slice with one network or solver.

    Parameters
    ----------
    name
        Title of the progress bar.
    network
        Called with masked k-space, mask and maps, each with a batch axis.
    problem
        The scan with its maps.
    normalization
        How the volume was scaled in training; None for a method to which scale means nothing.
    device
        Where to compute.
    progress
        Show a bar.

    Raises
    ------
    ValueError
        When the network refuses the scan, or its images are not finite.
    """
    scan, network = problem.scan, network.to(device).eval()
    scale = scale_of(problem, normalization) if normalization else 1.0
    images, seconds = [], 0.0
    for number in _Bars(progress)(name, scan.n_slices):
        start = time.perf_counter()
        kspace, maps = (x[number].to(device) for x in (scan.kspace, problem.coil_maps))
        mask = scan.slice_mask(number).to(device, torch.float32)
        image = scan.kspace.new_zeros(scan.matrix)
        if bool(kspace.any()):  # a slice at the end of a volume may be empty
            image = network(kspace[None] / scale, mask[None], maps[None])[0].cpu() * scale
        seconds += time.perf_counter() - start
        finite(f"slice {number} of {name}", image, remedy="Check the training of the network.")
        images.append(center_crop(image, problem.shape))
    return Reconstruction(torch.stack(images), seconds / len(images))


@dataclass(frozen=True)
class _Bars:
    """Progress bars over slices; without a terminal there are none."""

    progress: bool

    def __call__(self, name: str, n_slices: int) -> Iterable[int]:
        hidden = None if self.progress else True
        return tqdm(range(n_slices), name, unit="slice", disable=hidden, leave=False)
