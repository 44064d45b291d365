"""The data of the experiment: three scanners, their calibration scans, and heads to reconstruct."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from monarch_sciml.data.phantom import simulate_scan
from monarch_sciml.data.scans.estimate import estimate_maps
from monarch_sciml.data.scans.formats.fastmri import read_fastmri, write_fastmri
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics import CalibrationSums, ReadoutErrors, UniformMask

GRID = (96, 96)
N_COILS = 8
NOISE = 0.02
CALIBRATIONS = (1, 4, 16, 64)
ACCELERATIONS = (1, 2, 3)
LINES = 16
"""Fully sampled lines at the centre of an accelerated scan."""
FOLDER = Path("data/wrong_fft")


def scanner(seed: int) -> ReadoutErrors:
    """Return the errors of a scanner: all of the issue's at once."""
    return ReadoutErrors(ramp=0.125, delay=0.7, nonlinearity=4, off_resonance=3, seed=seed)


@dataclass
class Slices:
    """Fully sampled slices with known maps (s, c, H, W) and targets (s, H, W)."""

    kspace: torch.Tensor
    maps: torch.Tensor
    target: torch.Tensor

    @cached_property
    def espirit(self) -> torch.Tensor:
        """Maps by ESPIRiT from the centre of k-space, those of the images of the FFT."""
        masked = self.kspace * mask_of(2)
        return torch.stack([estimate_maps(one, "espirit").maps[0] for one in masked])

    def __len__(self) -> int:
        return len(self.kspace)


def _scan(name: str, seed: tuple[int, ...], n_slices: int, **options) -> Scan:
    path = FOLDER / f"{name}.h5"
    if not path.exists():
        scan = simulate_scan(
            seed, grid_shape=GRID, n_slices=n_slices, n_coils=N_COILS, noise=NOISE, **options
        )
        write_fastmri(path, scan)
    return read_fastmri(path)


def calibration(seed: int, n_slices: int) -> CalibrationSums:
    """Return the sums over the first slices of the phantom in a scanner."""
    scan = _scan(
        f"phantom_{seed}",
        (seed, 7),
        max(CALIBRATIONS),
        subject="phantom",
        readout_errors=scanner(seed),
    )
    sums = CalibrationSums(GRID)
    sums.add((scan.coil_maps * scan.target[:, None])[:n_slices], scan.kspace[:n_slices])
    return sums


def heads(seed: int, part: str, *, ideal: bool = False) -> Slices:
    """Return the slices of "test" (3 heads, 2 slices each), "validation" (2) or "train" (12, 4).

    All heads differ, in a set and between scanners; `ideal` is a scanner without errors.
    """
    number, n_scans, n_slices = {
        "test": (1, 3, 2),
        "validation": (2, 2, 2),
        "train": (3, 12, 4),
    }[part]
    errors = None if ideal else scanner(seed)
    name = f"{part}_{seed}{'_ideal' if ideal else ''}"
    scans = [
        _scan(f"{name}_{i}", (seed, number, i), n_slices, readout_errors=errors)
        for i in range(n_scans)
    ]
    parts = [[getattr(scan, part) for scan in scans] for part in ("kspace", "coil_maps", "target")]
    return Slices(*map(torch.cat, parts))


def mask_of(acceleration: int) -> torch.Tensor:
    """Return the mask (H, W) of every `acceleration`-th line and the lines at the centre."""
    mask = UniformMask(acceleration, 0 if acceleration == 1 else LINES)(GRID)
    return torch.as_tensor(mask, dtype=torch.float32).expand(GRID).clone()
