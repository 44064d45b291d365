"""Sets of simulated scans, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._checks import message, positive_int, usage_errors
from monarch_sciml.data.phantom.simulate import (
    Contrast,
    Orientation,
    Subject,
    checked_settings,
    of_another_kind,
    provenance,
    simulate_scan,
)
from monarch_sciml.data.scans.formats.fastmri import read_header, write_fastmri
from monarch_sciml.data.threads import one_thread
from monarch_sciml.physics.readout import ReadoutErrors

_SIZES = 0x512E
"""Keeps the draw of sizes apart from the randomness of the scan itself."""


def generate_scans(
    output: Path,
    n_scans: int,
    *,
    seed: int = 0,
    grid_shape: tuple[int, int] = (160, 160),
    n_slices: int = 10,
    n_coils: int = 8,
    noise: float = 0.02,
    contrast: Contrast = "random",
    orientation: Orientation = "axial",
    grid_shapes: list[tuple[int, int]] | None = None,
    coil_counts: list[int] | None = None,
    noise_levels: list[float] | None = None,
    subject: Subject = "head",
    readout_errors: ReadoutErrors | None = None,
    progress: bool = True,
) -> Path:
    """Simulate a set of scans (`simulate_scan`), one file in fastMRI layout each.

    Parameters
    ----------
    output
        Folder for scan_0000.h5, scan_0001.h5, ...
    n_scans
        Number of scans, one simulated subject each. Scan i has seed (seed, i) whatever their
        number, so a set can be extended.
    seed
        Seed of the set.
    grid_shape
        (H, W) of k-space and image.
    n_slices
        Slices of each scan.
    n_coils
        Number of receive coils.
    noise
        Standard deviation of the complex noise relative to the 95th percentile of the image.
    contrast
        T1, T2, FLAIR or PD for all scans; "random" draws one for each.
    orientation
        axial, coronal or sagittal for all scans; "random" draws one for each.
    grid_shapes
        Sizes (H, W) of which one is drawn for each scan instead of `grid_shape`, for a set of
        different sizes as scanners make it.
    coil_counts
        Numbers of coils of which one is drawn for each scan instead of `n_coils`.
    noise_levels
        Noise levels of which one is drawn for each scan instead of `noise`.
    subject
        The head, or a "phantom" of known geometry with which a scanner is calibrated.
    readout_errors
        Errors of the scanner's readout, the same in all scans. None for an ideal scanner.
    progress
        Whether to show a progress bar.

    Returns
    -------
    The folder. Files that were there already, made with the same settings and seed, are kept; a
    file appears only when it is complete, so that an interrupted run can be repeated.

    Raises
    ------
    ValueError
        When a file of that name was made with other settings (nothing is changed), or when
        `simulate_scan` refuses an argument.
    ModuleNotFoundError
        When nilearn is not installed (the extra `phantom`).
    """
    from tqdm import tqdm

    settings: dict[str, Any] = {
        "grid_shape": list(grid_shape),
        "n_slices": n_slices,
        "n_coils": n_coils,
        "noise": noise,
        "contrast": contrast,
        "orientation": orientation,
        **of_another_kind(subject, readout_errors),
    }
    choices = {
        "grid_shape": ("grid_shapes", grid_shapes),
        "n_coils": ("coil_counts", coil_counts),
        "noise": ("noise_levels", noise_levels),
    }
    drawn = {name: given for name, (_, given) in choices.items() if given is not None}
    with usage_errors():
        n_scans, seed = positive_int("n_scans", n_scans), positive_int("seed", seed, minimum=0)
        for name, given in choices.values():
            if given is not None and not given:
                rule = f"`{name}` must name at least one choice"
                raise ValueError(message(rule, "none", "Leave it out for the same in all scans."))
        checked_settings(**settings)
        for name, given in drawn.items():  # each of them, before one is drawn for a later scan
            for choice in given:
                checked_settings(**{**settings, name: choice})
    paths = [Path(output) / f"scan_{i:04d}.h5" for i in range(n_scans)]
    each = [_drawn((seed, i), settings, drawn) for i in range(n_scans)]
    missing = [i for i, path in enumerate(paths) if not _is_made(path, (seed, i), each[i])]
    for i in tqdm(missing, desc="simulating scans", unit="scan", disable=not progress):
        with one_thread():
            scan = simulate_scan((seed, i), **each[i])
        write_fastmri(paths[i], scan)
    return Path(output)


def _drawn(
    seed: Sequence[int], settings: dict[str, Any], choices: dict[str, list[Any]]
) -> dict[str, Any]:
    """Return the settings of one scan, drawn from a generator that depends on its seed alone."""
    rng = np.random.default_rng([*seed, _SIZES])
    draws = {name: int(rng.integers(2**31)) for name in ("grid_shape", "n_coils", "noise")}
    chosen = {name: given[draws[name] % len(given)] for name, given in choices.items()}
    if "grid_shape" in chosen:
        chosen["grid_shape"] = list(chosen["grid_shape"])
    return settings | chosen


def _is_made(path: Path, seed: Sequence[int], settings: dict[str, Any]) -> bool:
    """Return whether a scan exists already; ValueError if it was made with other settings."""
    if not path.exists():
        return False
    found, wanted = read_header(path)["attributes"], provenance(seed, settings)
    if any(found.get(name) != wanted[name] for name in ("generator", "parameters", "seed")):
        rule = f"{path} must have been made with the same settings and seed to be kept"
        got = f"{found.get('parameters')} and seed {found.get('seed')}"
        raise ValueError(message(rule, got, "Name another folder or remove the file."))
    return True
