"""Where the coil maps of a data set come from: its files, other files, or an estimate of them."""

# Legend: M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.data.scans.map_files import read_coil_maps, write_coil_maps
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.source import ScanFile
from monarch_sciml.physics.espirit import espirit
from monarch_sciml.physics.walsh import walsh

CoilMaps = Literal["stored", "espirit", "walsh"] | Path
ESTIMATES = ("espirit", "walsh")
SUFFIXES = (".h5", ".cfl", ".npy")


@dataclass
class _Cache:
    """A file of estimates: where, of which slices, made how, and whether it is there."""

    path: Path
    numbers: list[int]
    settings: dict[str, Any]
    written: bool


class SliceMaps:
    """Give every slice its coil maps, estimating each only once.

    Parameters
    ----------
    source
        "stored": those in the files of the scans; "espirit" or "walsh": estimated from the
        undersampled k-space; a path: a file of maps for all scans, or a folder with a .h5, .cfl or
        .npy file of the name of each.
    n_maps
        Number of map sets M; "stored" and "walsh" have one.
    folder
        Where estimates are kept, one HDF5 file a scan, for the next run with the same settings;
        None keeps them in memory.

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
        """Whether maps are made from the undersampled k-space."""
        return self.source in ESTIMATES

    def given(self, file: ScanFile, scan: Scan, number: int) -> torch.Tensor | None:
        """Return the maps (M, c, H, W) of a slice as they are in a file; None when estimated.

        Raises
        ------
        ValueError
            When there are none, or they do not fit k-space.
        FileNotFoundError
            When a folder of maps has no file for this scan.
        """
        if self.estimated:
            return None
        if isinstance(self.source, Path):
            path = self.source if self.source.is_file() else maps_of_scan(self.source, file.path)
            maps = read_coil_maps(path, file.shape, n_maps=self.n_maps, index=number)
            return maps if self.n_maps == 1 else maps[0]  # (1, c, H, W) has the axis M = 1
        if scan.coil_maps is None:
            rule = f"{file.path} must hold `coil_maps`"
            raise ValueError(message(rule, "none", 'Use coil_maps="espirit" to estimate them.'))
        return scan.coil_maps

    def begin(self, file: ScanFile, numbers: Sequence[int], settings: dict[str, Any]) -> None:
        """Prepare for the slices of a scan; `settings` are what else their maps depend on."""
        if not self.estimated or self.folder is None:
            return
        stat = file.path.stat()
        settings = {
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
        """Return the maps (M, c, H, W) of a slice, estimated now or earlier; of an empty one zeros.

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
            When they cannot be estimated; the message names file and slice.
        """
        if (file.path, number) in self._kept:
            return self._kept[file.path, number]
        cache = self._caches.get(file.path)
        if cache is not None and cache.written:
            shape = (len(cache.numbers), *masked.shape)
            index = cache.numbers.index(number)
            maps = read_coil_maps(cache.path, shape, n_maps=self.n_maps, index=index)
            return maps.reshape(self.n_maps, *masked.shape)  # (1, c, H, W) or (1, M, c, H, W)
        maps = masked.new_zeros(self.n_maps, *masked.shape)
        if bool(masked.any()):
            try:
                found = self._estimated(masked)
            except ValueError as error:
                raise ValueError(f"{file.path}, slice {number}: {error}") from error
            maps = found.reshape(maps.shape)  # (c, H, W) or (M, c, H, W)
        self._kept[file.path, number] = maps
        return maps

    def finish(self, file: ScanFile) -> None:
        """Write the estimates of a scan whose slices are through, and let go of them."""
        cache = self._caches.get(file.path)
        if cache is None:
            return
        if not cache.written:
            maps = torch.stack([self._kept[file.path, number] for number in cache.numbers])
            maps = maps if self.n_maps > 1 else maps[:, 0]  # (s, M, c, H, W) or (s, c, H, W)
            write_coil_maps(cache.path, maps, cache.settings)
            cache.written = True
        for number in cache.numbers:
            self._kept.pop((file.path, number), None)

    def _estimated(self, masked: torch.Tensor) -> torch.Tensor:
        if len(masked) == 1 and self.n_maps == 1:
            return torch.ones_like(masked)  # a single coil has nothing to be compared with
        return walsh(masked) if self.source == "walsh" else espirit(masked, n_maps=self.n_maps)


def maps_of_scan(folder: Path, scan: Path) -> Path:
    """Return the file of maps in a folder that has the name of a scan.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    for suffix in SUFFIXES:
        path = folder / (scan.stem + suffix)
        if path.exists() and path != scan:
            return path
    rule = f"{folder} must hold the coil maps of {scan.name}"
    remedy = f"Name them {scan.stem}{' or '.join(SUFFIXES)}."
    raise FileNotFoundError(message(rule, "none", remedy))
