"""Samples for reconstruction: undersampled slices of fastMRI files, with reference images."""

# Legend: s slices, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.utils.data import Dataset

from monarch_sciml._checks import message, one_of
from monarch_sciml.data.fastmri import read_header, read_slice
from monarch_sciml.data.scan import Scan
from monarch_sciml.physics.coils import estimate_coil_maps
from monarch_sciml.physics.mri import combine, ifft2c
from monarch_sciml.physics.sampling import SamplingMask, volume_seed

CoilMaps = Literal["stored", "espirit"]
Normalization = Literal["p95", "max", "std"]


def volume_mask_seed(path: str | Path, seed: int = 0) -> tuple[int, ...]:
    """Return the seed of a volume's mask: fastMRI's, and for a `seed` other than 0 that before it.

    Examples
    --------
    >>> volume_mask_seed("folder/a.h5"), volume_mask_seed("a.h5", seed=3)
    ((97, 46, 104, 53), (3, 97, 46, 104, 53))
    """
    return (*([seed] if seed else []), *volume_seed(Path(path).name))


class ScanDataset(Dataset[dict[str, Any]]):
    """Undersample the slices of fully sampled volumes, one mask a volume.

    A sample is a dict: `masked_kspace` (c, H, W) complex64, `mask` (H, W) float32 0 or 1,
    `coil_maps` (c, H, W) complex64, `target` (H, W) complex64, `scale` () float32 (what k-space and
    target were divided by), `max` () float32 (largest target magnitude of the volume, after that
    division), `volume` () int64 (number of the file in `paths`), `slice` () int64 (in the file).

    Parameters
    ----------
    paths
        Files in fastMRI layout, all of one matrix and number of coils.
    mask
        Draws the mask of a volume from its file name: `volume_seed(name)` as fastMRI does, preceded
        by `seed` where that is not 0. What the file itself did not acquire stays out of the mask.
    coil_maps
        "stored": the maps in the file; "espirit": estimated from the calibration region of the
        MASKED k-space, as a scan that was never fully sampled would need it.
    normalization
        What a volume is divided by, of the magnitude of its zero-filled SENSE images: the 95th
        percentile, the maximum or the standard deviation.
    slices
        First and one past the last slice used of each volume; all by default.
    seed
        Changes every mask.
    in_memory
        Keep the finished samples; otherwise each is read and made anew when it is asked for. Every
        volume is read once at the start either way, slice by slice.

    Raises
    ------
    FileNotFoundError
        When a file is missing.
    ValueError
        When a file is no k-space file, volumes differ in matrix or coils, a volume is undersampled
        and so has no reference, has no stored maps but they are asked for, or no calibration region
        for ESPIRiT; when `slices` leaves none.

    Notes
    -----
    The target is the file's own complex `target` (with stored maps only: its phase refers to them),
    otherwise sum_c conj(S_c) F^-1 y_c of the fully sampled k-space, noise included. Files are
    closed after each read, so that DataLoader workers can share a data set.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        mask: SamplingMask,
        *,
        coil_maps: CoilMaps = "stored",
        normalization: Normalization = "p95",
        slices: tuple[int, int] | None = None,
        seed: int = 0,
        in_memory: bool = True,
    ) -> None:
        from tqdm import tqdm

        self.paths = [Path(path) for path in paths]
        self.mask = mask
        self.coil_maps = one_of("coil_maps", coil_maps, get_args(CoilMaps))
        self.normalization = one_of("normalization", normalization, get_args(Normalization))
        self.seed = seed
        shapes = [read_header(path)["shape"] for path in self.paths]
        _check_alike(self.paths, shapes)
        self.index = [
            (volume, number)
            for volume, shape in enumerate(shapes)
            for number in range(*slice(*(slices or (None,))).indices(shape[0]))
        ]
        if not self.index:
            rule = "`slices` must leave at least one slice of a volume"
            raise ValueError(message(rule, slices, "Use first and one past the last slice."))
        self._masks = [
            mask(shape[-2:], volume_mask_seed(path, seed))
            for path, shape in zip(self.paths, shapes)
        ]
        self._maps: dict[tuple[int, int], torch.Tensor] = {}
        self._scales: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._samples: list[dict[str, torch.Tensor]] = []
        # disable=None: no bar where there is no terminal
        for volume in tqdm(range(len(shapes)), "reading scans", disable=None, leave=False):
            self._prepare(volume, in_memory=in_memory)

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """Return sample `i`; the tensors are shared with later calls and must not be changed."""
        if self._samples:
            return self._samples[i]
        volume, number = self.index[i]
        return self._finish(self._read(volume, number), volume, number)

    def _prepare(self, volume: int, *, in_memory: bool) -> None:
        """Read a volume slice by slice; keep its scale and maximum, and on request the samples."""
        numbers = [number for owner, number in self.index if owner == volume]
        samples, zero_filled, largest = [], [], torch.tensor(0.0)
        for number in numbers:
            sample = self._read(volume, number)
            images = combine(ifft2c(sample["masked_kspace"]), sample["coil_maps"])
            zero_filled.append(images.abs())
            largest = torch.maximum(largest, sample["target"].abs().max())
            samples += [sample] if in_memory else []
        scale = normalization_level(torch.stack(zero_filled), self.normalization)
        if not float(scale) > 0:
            rule = f"the images of {self.paths[volume]} must not be zero"
            raise ValueError(message(rule, "a zero-filled image of 0", "Check maps and mask."))
        self._scales.append((scale, largest / scale))
        finish = zip(samples, numbers)
        self._samples += [self._finish(sample, volume, number) for sample, number in finish]

    def _read(self, volume: int, number: int) -> dict[str, torch.Tensor]:
        """Read and undersample a slice; not yet divided by the scale of its volume."""
        path = self.paths[volume]
        scan = read_slice(path, number)
        if bool(scan.kspace.any()):
            scan.validate()
        else:  # an empty slice at the end of a volume is legitimate
            scan.mask = torch.ones(scan.matrix, dtype=torch.bool)
        mask = self._masks[volume] * scan.slice_mask(0)
        masked = scan.kspace * mask
        maps = self._maps_of(scan, masked, volume, number)
        return {
            "masked_kspace": masked[0],
            "mask": mask,
            "coil_maps": maps,
            "target": self._target_of(scan, maps),
        }

    def _maps_of(self, scan: Scan, masked: torch.Tensor, volume: int, number: int) -> torch.Tensor:
        if self.coil_maps == "espirit":
            if (volume, number) not in self._maps:
                self._maps[volume, number] = estimate_coil_maps(masked)[0]
            return self._maps[volume, number]
        if scan.coil_maps is None:
            rule = f"{scan.path} must hold `coil_maps`"
            raise ValueError(message(rule, "none", 'Use coil_maps="espirit" to estimate them.'))
        return scan.coil_maps[0]

    def _target_of(self, scan: Scan, maps: torch.Tensor) -> torch.Tensor:
        stored = scan.target if self.coil_maps == "stored" else None
        if stored is not None and stored.is_complex() and stored.shape[1:] == scan.matrix:
            return stored[0]
        if not scan.fully_sampled:
            rule = f"{scan.path} must be fully sampled or hold a complex `target` and its maps"
            got = f"acceleration {scan.acceleration:.2f}"
            raise ValueError(message(rule, got, "Leave undersampled scans out."))
        return combine(ifft2c(scan.kspace[0]), maps)  # (c, H, W) -> (H, W)

    def _finish(
        self, sample: dict[str, torch.Tensor], volume: int, number: int
    ) -> dict[str, torch.Tensor]:
        scale, largest = self._scales[volume]
        return {
            **sample,
            "masked_kspace": sample["masked_kspace"] / scale,
            "target": sample["target"] / scale,
            "scale": scale,
            "max": largest,
            "volume": torch.tensor(volume),
            "slice": torch.tensor(number),
        }


def normalization_level(images: torch.Tensor, normalization: Normalization) -> torch.Tensor:
    """Return what a volume of magnitudes (s, H, W) is divided by, shape ()."""
    if normalization == "p95":  # torch.quantile refuses more than 2^24 values
        return images.flatten().kthvalue(max(1, round(0.95 * images.numel()))).values
    return images.max() if normalization == "max" else images.std()


def _check_alike(paths: Sequence[Path], shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse volumes that cannot be put into one batch."""
    for path, shape in zip(paths, shapes):
        if shape[1:] != shapes[0][1:]:
            rule = f"all volumes must have the (coils, H, W) = {shapes[0][1:]} of {paths[0].name}"
            remedy = "Keep scans of one size and coil count in one folder."
            raise ValueError(message(rule, f"{shape[1:]} in {path.name}", remedy))
