"""The coil maps of a data set: those of its files, of other files, or estimates."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.data.scans.estimate import Estimator, estimate_maps
from monarch_sciml.data.scans.map_files import read_coil_maps, write_coil_maps
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.source import ScanFile

CoilMaps = Literal["stored", "espirit", "walsh"] | Path
ESTIMATES = ("espirit", "walsh")
SUFFIXES = (".h5", ".cfl", ".npy", ".mat")
MAPS_VERSION = 2
"""Raised when the same scan and settings give other maps than before: kept ones are made anew."""


@dataclass
class _Cache:
    """Describe a file of estimates: its path, slices and settings, and whether it exists."""

    path: Path
    numbers: list[int]
    settings: dict[str, Any]
    written: bool


class SliceMaps:
    """Give every slice its coil maps, estimating each only once.

    Parameters
    ----------
    source
        "stored" takes the maps in the files of the scans. "espirit" and "walsh" estimate them from
        the undersampled k-space. A path is a file of maps for all scans, or a folder with a .h5,
        .cfl or .npy file of the name of each scan.
    n_maps
        Number of map sets M, which must be one for "stored" and "walsh".
    folder
        Folder in which estimates are stored, one HDF5 file per scan, for later runs with the same
        settings. None keeps them in memory.

    Raises
    ------
    ValueError
        When the source is unknown or has fewer map sets.
    FileNotFoundError
        When the path is missing.
    """

    def __init__(
        self, source: CoilMaps | str, n_maps: int = 1, folder: str | Path | None = None
    ) -> None:
        known = source in ("stored", *ESTIMATES)
        if not known and not Path(source).exists():
            if isinstance(source, Path) or len(Path(source).parts) > 1:
                rule = "the file or folder of coil maps must exist"
                raise FileNotFoundError(message(rule, source, "Check the path."))
            one_of("coil_maps", source, ("stored", *ESTIMATES, "a file", "a folder"))
        self.source: str | Path = str(source) if known else Path(source)
        self.n_maps = positive_int("n_maps", n_maps)
        if n_maps > 1 and self.source in ("stored", "walsh"):
            rule = f'`n_maps` must be 1 for coil_maps="{source}"'
            raise ValueError(message(rule, n_maps, 'Use "espirit" or a file of maps.'))
        self.folder = None if folder is None else Path(folder)
        self._kept: dict[tuple[Path, int], torch.Tensor] = {}
        self._caches: dict[Path, _Cache] = {}

    @property
    def estimated(self) -> bool:
        """Whether maps are estimated from the undersampled k-space."""
        return self.source in ESTIMATES

    def given(self, scan: Scan, numbers: range) -> torch.Tensor | None:
        """Return the maps (s, M, c, H, W) in a file of slices of a scan; None when estimated.

        Parameters
        ----------
        scan
            The slices; its header has the `shape` (s, c, H, W) of the whole file.
        numbers
            Numbers of these slices in the file.

        Raises
        ------
        ValueError
            When there are no maps, or they do not fit k-space.
        FileNotFoundError
            When a folder of maps has no file for this scan.
        """
        if self.estimated:
            return None
        if isinstance(self.source, Path):
            name = scan.path or Path(scan.name)
            path = maps_of_scan(self.source, name) if self.source.is_dir() else self.source
            whole = scan.header.get("shape", scan.kspace.shape)
            shape = (int(whole[0]), *scan.kspace.shape[1:])
            maps = read_coil_maps(path, shape, n_maps=self.n_maps, slices=numbers)
            return maps if self.n_maps > 1 else maps[:, None]
        if scan.coil_maps is None:
            rule = f"{scan.path or scan.name} must hold `coil_maps`"
            raise ValueError(message(rule, "none", "Use coil_maps espirit to estimate them."))
        return scan.coil_maps[:, None]

    def origin(self, scan: Scan) -> str:
        """Return the origin of the maps of a scan in a few words."""
        if isinstance(self.source, Path):
            folder = self.source.is_dir()
            return (maps_of_scan(self.source, Path(scan.name)) if folder else self.source).name
        if self.source == "stored":
            return "stored in the file"
        if scan.n_coils == 1:
            return "one coil, map 1"
        name = "Walsh's method" if self.source == "walsh" else "ESPIRiT"
        return f"{name} on the calibration region"

    def begin(self, file: ScanFile, numbers: Sequence[int], settings: dict[str, Any]) -> None:
        """Prepare for the slices of a scan; `settings` are further values that the maps depend
        on.
        """
        if not self.estimated or self.folder is None:
            return
        stat = file.path.stat()
        settings = {
            "version": MAPS_VERSION,
            "source": str(self.source),
            "n_maps": self.n_maps,
            "file": file.path.name,
            "bytes": stat.st_size,
            "modified": stat.st_mtime_ns,
            "slices": list(numbers),
            **settings,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        path = self.folder / f"{file.path.stem}-{digest}.h5"
        self._caches[file.path] = _Cache(path, list(numbers), settings, path.exists())

    def estimate(self, file: ScanFile, masked: torch.Tensor, number: int) -> torch.Tensor:
        """Return the maps (M, c, H, W) of a slice, estimated now or earlier; zeros for an empty
        slice.

        Parameters
        ----------
        file
            The scan, for its name.
        masked
            (c, H, W), undersampled k-space, any unit.
        number
            Number of the slice.

        Raises
        ------
        ValueError
            When the maps cannot be estimated. The message names file and slice.
        """
        if (file.path, number) in self._kept:
            return self._kept[file.path, number]
        cache = self._caches.get(file.path)
        if cache is not None and cache.written:
            shape = (len(cache.numbers), *masked.shape)
            index = cache.numbers.index(number)
            numbers = range(index, index + 1)
            maps = read_coil_maps(cache.path, shape, n_maps=self.n_maps, slices=numbers)
            return maps.reshape(self.n_maps, *masked.shape)  # (1, c, H, W) or (1, M, c, H, W)
        try:
            maps = estimate_maps(masked, cast(Estimator, self.source), self.n_maps).maps
        except ValueError as error:
            raise ValueError(f"{file.path}, slice {number}: {error}") from error
        self._kept[file.path, number] = maps
        return maps

    def finish(self, file: ScanFile, *, keep: bool = True) -> None:
        """Write the estimates of a scan after its last slice, and remove them from memory.

        Without a folder they stay in memory, unless `keep` is false. Slices that were not requested
        have maps of zero in the file.
        """
        cache = self._caches.get(file.path)
        mine = {number: maps for (path, number), maps in self._kept.items() if path == file.path}
        if cache is not None and not cache.written and mine:
            nothing = torch.zeros_like(next(iter(mine.values())))
            maps = torch.stack([mine.get(number, nothing) for number in cache.numbers])
            maps = maps if self.n_maps > 1 else maps[:, 0]  # (s, M, c, H, W) or (s, c, H, W)
            write_coil_maps(cache.path, maps, cache.settings)
            cache.written = True
        if cache is not None or not keep:
            for number in mine:
                del self._kept[file.path, number]


def maps_of_scan(folder: Path, scan: Path) -> Path:
    """Return the file of maps in a folder that has the name of a scan.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """
    for suffix in SUFFIXES:
        path = folder / (scan.stem + suffix)
        if path.exists() and path != scan:
            return path
    rule = f"{folder} must hold the coil maps of {scan.name}"
    remedy = f"Name them {scan.stem}{' or '.join(SUFFIXES)}."
    raise FileNotFoundError(message(rule, "none", remedy))
