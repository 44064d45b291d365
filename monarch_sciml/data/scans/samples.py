"""Samples for reconstruction: undersampled slices of scans, with reference images."""

# Letters: s slices, M map sets, c coils, H readout axis, W phase-encode axis.

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch.utils.data import Dataset

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import content_sum
from monarch_sciml._memory import check_memory
from monarch_sciml.data.scans.estimate import same_calibration
from monarch_sciml.data.scans.formats.bart import pair_of
from monarch_sciml.data.scans.maps import CoilMaps, SliceMaps
from monarch_sciml.data.scans.scale import ScanNormalization, normalization_level
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.sizes import SizeRules
from monarch_sciml.data.scans.source import ScanFile, open_scan
from monarch_sciml.physics.images import coil_combined
from monarch_sciml.physics.map_support import reference_image, unit_norm_maps
from monarch_sciml.physics.sampling import SamplingMask


class ScanDataset(Dataset[dict[str, Any]]):
    """Undersample the slices of fully sampled volumes, with one mask for each volume.

    A sample is a dict: `masked_kspace` (c, H, W) complex64, `mask` (H, W) float32 0 or 1,
    `coil_maps` (c, H, W) complex64, or (M, c, H, W) of several sets, `target` (H, W) complex64,
    `scale` () float32 (what k-space and target were divided by), `max` () float32 (largest target
    magnitude of the volume, after that division), `volume` () int64 (number of the file in
    `paths`), `slice` () int64 (in the file).

    Parameters
    ----------
    paths
        Files of scans, in any format that `read_scan` knows.
    mask
        Sampling mask, drawn for each volume from its file name: `volume_seed(name)` as in fastMRI,
        preceded by `seed` if that is not 0. Samples that the file itself did not acquire stay out
        of the mask.
    coil_maps
        "stored" takes the maps in the file. "espirit" and "walsh" estimate them from the
        calibration region of the MASKED k-space, as for a scan that was never fully sampled. A path
        is a file of maps for all scans, or a folder with a file of the name of each scan.
    n_maps
        Number of map sets of a slice, from ESPIRiT or a file. Two are for a field of view that is
        smaller than the object.
    maps_folder
        Folder in which estimated maps are stored, one file per volume, for later runs with the same
        scans, mask and rules. None keeps them in memory.
    normalization
        Number by which a volume is divided: the 95th percentile, the maximum or the standard
        deviation of the magnitude of its zero-filled SENSE images.
    slices
        First and one past the last slice used of each volume; all by default.
    rules
        Rules that bring slices to one size. By default slices stay as they are.
    group_sizes
        Whether to allow volumes of different sizes. `batch_groups` then tells which samples may
        share a batch, and the training loop makes batches of one size each.
    seed
        Seed on which every mask depends.
    in_memory
        Whether to keep the finished samples. Otherwise each is read and made anew at every request.
        In both cases every volume is read once at the start, slice by slice.
    reader
        Options of `read_scan`, such as `{axes: "coil,height,width"}` for .npy files.

    Raises
    ------
    FileNotFoundError
        When a file is missing.
    ValueError
        When a file is no k-space file (the message names it), or volumes differ in matrix or coils
        and `group_sizes` is false. When a volume is undersampled and so has no reference, lacks the
        stored maps that are requested, or has no calibration region for ESPIRiT. When `slices`
        selects none, or the samples do not fit into memory.

    Notes
    -----
    Maps are brought to unit norm (`unit_norm_maps`). The target is the file's own complex `target`
    (with stored maps only: its phase refers to them), otherwise `reference_image` of the fully
    sampled k-space, noise included, with the maps of the file or with maps that are estimated from
    this full k-space: it does not depend on the mask. If maps of a file do not have unit norm, the
    target is computed from k-space too. For an empty slice, estimated maps and target are zero.
    Files are closed after each read, so that DataLoader workers can share a data set.
    """

    def __init__(
        self,
        paths: Sequence[str | Path | ScanFile],
        mask: SamplingMask,
        *,
        coil_maps: CoilMaps | str = "stored",
        n_maps: int = 1,
        maps_folder: str | Path | None = None,
        normalization: ScanNormalization = "p95",
        slices: tuple[int, int] | None = None,
        rules: SizeRules | None = None,
        group_sizes: bool = False,
        seed: int = 0,
        in_memory: bool = True,
        reader: Mapping[str, Any] | None = None,
    ) -> None:
        from tqdm import tqdm

        self._files = [
            path if isinstance(path, ScanFile) else open_scan(path, reader) for path in paths
        ]
        self.paths = [file.path for file in self._files]
        self.normalization = one_of("normalization", normalization, get_args(ScanNormalization))
        self.rules = rules or SizeRules()
        self.shapes = [self.rules.shape(file.facts) for file in self._files]
        self.group_sizes = group_sizes
        if not group_sizes:
            _check_alike(self.paths, self.shapes)
        self._maps = SliceMaps(coil_maps, n_maps, maps_folder)
        self._full_maps = SliceMaps(coil_maps, n_maps, maps_folder)  # of the reference
        self.index = [
            (volume, number)
            for volume, file in enumerate(self._files)
            for number in range(*slice(*(slices or (None,))).indices(file.facts.shape[0]))
        ]
        if not self.index:
            rule = "`slices` must leave at least one slice of a volume"
            raise ValueError(message(rule, slices, "Use first and one past the last slice."))
        if in_memory:
            self._check_memory()
        self._masks = [
            mask.for_volume(path, shape, seed, encoded=encoded)
            for path, shape, encoded in zip(
                self.paths,
                self.shapes,
                (self.rules.encoded(file.facts) for file in self._files),
            )
        ]
        self._scales: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._samples: list[dict[str, torch.Tensor]] = []
        # disable=None: no bar where there is no terminal
        for volume in tqdm(range(len(self.paths)), "reading scans", disable=None, leave=False):
            self._prepare(volume, in_memory=in_memory)

    @property
    def batch_groups(self) -> list[tuple[int, ...]] | None:
        """The size (c, H, W) of every sample if sizes differ; only samples of one size share a
        batch.
        """
        if len(set(self.shapes)) == 1:
            return None
        return [self.shapes[volume] for volume, _ in self.index]

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.index)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """Return sample `i`; the tensors are shared with later calls and must not be changed."""
        if self._samples:
            return self._samples[i]
        volume, number = self.index[i]
        return self._finish(self._read(volume, number), volume, number)

    def fingerprint(self) -> str:
        """Return a checksum of the files (`content_sum`) and masks, whatever their names are."""
        digest = hashlib.sha256(repr((self.index, self.shapes)).encode())
        for path, mask in zip(self.paths, self._masks):
            for part in [path] if path.is_file() else pair_of(path):
                digest.update(content_sum(part).encode())
            digest.update(mask.contiguous().numpy().data)
        return digest.hexdigest()

    def _check_memory(self) -> None:
        """Refuse samples that will not fit into memory."""
        needed = 0
        for volume, _ in self.index:
            coils, height, width = self.shapes[volume]
            # complex64 k-space, maps and target, a float32 mask
            needed += height * width * (8 * (coils * (1 + self._maps.n_maps) + 1) + 4)
        remedy = "Pass in_memory=false (then slices are read as they are needed) or fewer scans."
        check_memory(f"{len(self.index)} samples", needed, remedy=remedy)

    def _prepare(self, volume: int, *, in_memory: bool) -> None:
        """Read a volume slice by slice; keep its scale and maximum, and on request the samples."""
        file = self._files[volume]
        numbers = [number for owner, number in self.index if owner == volume]
        samples, zero_filled, largest = [], [], torch.tensor(0.0)
        mask = hashlib.sha256(self._masks[volume].numpy().tobytes()).hexdigest()
        rules = {"rules": repr(self.rules)}
        self._maps.begin(file, numbers, {"mask": mask, **rules})
        self._full_maps.begin(file, numbers, {"mask": "none", **rules})
        for number in numbers:
            sample = self._read(volume, number)
            maps = sample["coil_maps"]
            maps = maps[None] if maps.dim() == 3 else maps  # (M, c, H, W)
            zero_filled.append(coil_combined(sample["masked_kspace"], maps).abs())
            largest = torch.maximum(largest, sample["target"].abs().max())
            samples += [sample] if in_memory else []
        self._full_maps.finish(file, keep=not in_memory)
        self._maps.finish(file)
        scale = normalization_level(torch.stack(zero_filled), self.normalization)
        if not float(scale) > 0:
            rule = f"the images of {file.path} must not be zero"
            raise ValueError(message(rule, "a zero-filled image of 0", "Check maps and mask."))
        self._scales.append((scale, largest / scale))
        finish = zip(samples, numbers)
        self._samples += [self._finish(sample, volume, number) for sample, number in finish]

    def _read(self, volume: int, number: int) -> dict[str, torch.Tensor]:
        """Read and undersample a slice; not yet divided by the scale of its volume."""
        file = self._files[volume]
        scan = file.read_slice(number).recentred(file.facts.peak)
        empty = not bool(scan.kspace.any())
        given = self._maps.given(scan, range(number, number + 1))
        scan, maps = self.rules.apply(scan, None if given is None else given[0])
        mask = self._masks[volume] * scan.slice_mask(0)
        masked = scan.kspace[0] * mask  # (c, H, W)
        scan, masked, maps = self.rules.compress(scan, masked, maps)
        if not (empty or scan.fully_sampled or self._has_target(scan)):
            rule = f"{scan.path} must be fully sampled or hold a complex `target` and its maps"
            got = f"acceleration {scan.acceleration:.2f}"
            raise ValueError(message(rule, got, "Leave undersampled scans out."))
        if maps is None:
            maps = self._maps.estimate(file, masked, number)
            target = self._estimated_target(volume, number, scan.kspace[0], masked, maps)
        else:
            maps, norm = unit_norm_maps(maps)
            target = self._given_target(scan, maps, norm)
        return {
            "masked_kspace": masked,
            "mask": mask,
            "coil_maps": maps if self._maps.n_maps > 1 else maps[0],
            "target": target,
        }

    def _has_target(self, scan: Scan) -> bool:
        return self._maps.source == "stored" and scan.target is not None

    def _given_target(
        self, scan: Scan, maps: torch.Tensor, norm: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the reference (H, W) of one slice with maps (M, c, H, W) of a given original
        norm.
        """
        if self._has_target(scan) and scan.target is not None:
            if norm is None:
                return scan.target[0]
            if not scan.fully_sampled:
                return scan.target[0] * norm
        return reference_image(scan.kspace[0], maps)

    def _estimated_target(
        self,
        volume: int,
        number: int,
        full: torch.Tensor,
        masked: torch.Tensor,
        maps: torch.Tensor,
    ) -> torch.Tensor:
        """Return the reference (H, W) by maps of the full k-space, in the phase of others."""
        full_maps = maps
        if not same_calibration(full, masked):
            full_maps = self._full_maps.estimate(self._files[volume], full, number)
        return reference_image(full, full_maps, maps)

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


def _check_alike(paths: Sequence[Path], shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse volumes that cannot be put into one batch."""
    for path, shape in zip(paths, shapes):
        if shape != shapes[0]:
            rule = f"all volumes must have the (coils, H, W) = {shapes[0]} of {paths[0].name}"
            remedy = "Pass `matrix` and `coils` to make them alike, or group_sizes=true."
            raise ValueError(message(rule, f"{shape} in {path.name}", remedy))
