"""What one call of `reconstruct` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm.auto import tqdm

from monarch_sciml.commands.comparison.saved import SavedNetwork
from monarch_sciml.commands.reconstruct.undersampling import MaskName
from monarch_sciml.data.scans.maps import CoilMaps
from monarch_sciml.data.scans.recognise import OPTIONS, recognise
from monarch_sciml.physics import SamplingMask


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every scan of a call is reconstructed; see `reconstruct` for the fields."""

    methods: tuple[str, ...]
    mask: MaskName | SamplingMask | None
    mask_file: Path | None
    acceleration: float | None
    calibration: int
    axis: Literal["columns", "rows"]
    coil_maps: CoilMaps
    n_maps: int
    compress_coils: int | None
    regularization: float
    wavelet_regularization: float
    slices: tuple[int, int] | None
    seed: int
    reader: Mapping[str, Any]
    device: torch.device
    progress: bool
    networks: Sequence[SavedNetwork]

    @property
    def names(self) -> list[str]:
        """Names of the methods and networks that will run, in order."""
        names = list(self.methods)
        for network in self.networks:
            names.append(network.name if network.name not in names else str(network.path))
        return names

    @property
    def description(self) -> dict[str, str]:
        """What the images depend on, as text: two calls of equal descriptions do the same."""
        own = {
            key: str(value)
            for key, value in vars(self).items()
            if key not in ("device", "progress", "networks", "reader")
        }
        runs = ", ".join(str(network.path) for network in self.networks) or "none"
        return {**own, "run": runs, **{key: str(value) for key, value in self.reader.items()}}

    def of_format(self, path: Path) -> Settings:
        """Return the settings without the options of `read_scan` for files of other formats."""
        form = recognise(path)
        options = {key: value for key, value in self.reader.items() if form in OPTIONS[key]}
        return replace(self, reader=options)

    def slice_numbers(self, name: str, n_slices: int) -> Iterable[int]:
        """Return 0, 1, ... with a progress bar of that name; without a terminal there is none."""
        hidden = None if self.progress else True
        return tqdm(range(n_slices), name, unit="slice", disable=hidden, leave=False)
