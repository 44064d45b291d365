"""Leave out samples of a scan, by a mask that is drawn or by one in a file."""

# Letters: s slices, c coils, H readout axis (rows), W phase-encode axis (columns).

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.scans.mask_files import read_mask
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics import (
    EquispacedFractionMask,
    EquispacedMask,
    PoissonDiscMask,
    RandomMask,
    SamplingMask,
    UniformMask,
)

MaskName = Literal["uniform", "random", "equispaced", "equispaced_fraction", "poisson"]
ACCELERATION = 4.0
MASK_CLASSES: dict[str, type[SamplingMask]] = {
    "uniform": UniformMask,
    "random": RandomMask,
    "equispaced": EquispacedMask,
    "equispaced_fraction": EquispacedFractionMask,
    "poisson": PoissonDiscMask,
}


def mask_family(mask: MaskName | SamplingMask | None, acceleration: float | None) -> str | None:
    """Return the name of the class of a mask, given as `undersample` takes it; None for none."""
    if isinstance(mask, SamplingMask):
        return type(mask).__name__
    name = mask or ("uniform" if acceleration is not None else None)
    return None if name is None else MASK_CLASSES[name].__name__


def named_mask(name: MaskName, acceleration: float, calibration: int, n_lines: int) -> SamplingMask:
    """Return the mask of a short name.

    Parameters
    ----------
    name
        "uniform", "poisson", or one of fastMRI's "random", "equispaced", "equispaced_fraction".
    acceleration
        Nominal acceleration; for "uniform" and "equispaced" the whole distance of the lines.
    calibration
        Fully sampled lines, or side of the fully sampled square, at the centre.
    n_lines
        Number of lines of k-space along the axis that is undersampled.

    Raises
    ------
    ValueError
        When `calibration` exceeds the lines, or `acceleration` is below 1 or not whole where it
        has to be.
    """
    if positive_int("calibration", calibration, minimum=0) > n_lines:
        rule = f"`calibration` must be at most {n_lines}, the lines along that axis"
        raise ValueError(message(rule, calibration, "Lower `calibration`."))
    if name == "poisson":
        return PoissonDiscMask(acceleration, calibration)
    if name == "uniform":
        if not (acceleration >= 1 and acceleration == int(acceleration)):
            rule = "`acceleration` must be a whole number, at least 1, for the mask uniform"
            remedy = "Use --mask equispaced_fraction or poisson for others."
            raise ValueError(message(rule, f"{acceleration:g}", remedy))
        return UniformMask(int(acceleration), calibration)
    masks: dict[str, Callable[[float, float], SamplingMask]] = {
        "random": RandomMask,
        "equispaced": EquispacedMask,
        "equispaced_fraction": EquispacedFractionMask,
    }
    return masks[name](calibration / n_lines, acceleration)


def undersample(
    scan: Scan,
    mask: MaskName | SamplingMask | Path | None,
    *,
    acceleration: float | None = None,
    calibration: int = 24,
    axis: Literal["columns", "rows"] = "columns",
    seed: int = 0,
    slices: tuple[int, int] | None = None,
) -> tuple[Scan, str]:
    """Return the scan without the samples that a mask leaves out, and the mask in words.

    Parameters
    ----------
    scan
        Any scan; what it did not acquire stays out.
    mask
        A short name, a mask or a file of one. None: "uniform" when `acceleration` is given, else
        nothing is left out.
    acceleration
        For short names, 4 by default; see `named_mask`.
    calibration
        For short names: fully sampled lines (or side of the square) at the centre.
    axis
        Leave out columns (along W, fastMRI's phase encode) or rows (along H).
    seed
        The mask is drawn from the file name, as fastMRI does, preceded by `seed` if it is not 0.
    slices
        For a file: first and one past the last slice of the file that the scan holds; all by
        default.

    Raises
    ------
    ValueError
        When the settings do not go together or cannot be met.
    """
    if isinstance(mask, Path):
        return apply_mask_file(scan, mask, slices)
    size = scan.matrix if axis == "columns" else scan.matrix[::-1]
    if isinstance(mask, SamplingMask):
        if acceleration is not None:
            rule = "`acceleration` goes with the short name of a mask"
            got = f"{acceleration:g} with {type(mask).__name__}"
            raise ValueError(message(rule, got, "Set the acceleration of the mask itself."))
        words = str(mask)
    elif mask is None and acceleration is None:
        return scan, "as acquired"
    else:
        name: MaskName = mask or "uniform"
        rate = ACCELERATION if acceleration is None else acceleration
        mask = named_mask(name, rate, calibration, size[1])
        words = f"{name} {rate:g}, calibration {calibration}"
        words += "" if name == "poisson" else f", along {axis}"
    rows, columns = scan.encoded
    encoded = (rows, columns) if axis == "columns" else (columns, rows)
    drawn = mask.for_volume(scan.path or scan.name, size, seed, encoded=encoded)
    drawn = drawn if axis == "columns" else drawn.mT  # (W, H) -> (H, W)
    return scan.undersampled(drawn), f"{words}, seed {seed}"


def apply_mask_file(
    scan: Scan, path: Path, slices: tuple[int, int] | None = None
) -> tuple[Scan, str]:
    """Return the scan without the samples at which a mask in a file is zero, and a note of it.

    Parameters
    ----------
    scan
        Any scan.
    path
        A file that `read_mask` takes.
    slices
        First and one past the last slice of the file that the scan holds; all by default.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is of another format or does not fit k-space.
    """
    whole = int(scan.header.get("shape", scan.kspace.shape)[0])
    numbers = None if slices is None else range(*slices)
    mask = read_mask(path, (whole, *scan.matrix), numbers)
    return scan.undersampled(mask), f"mask {path.name}"


def window(slices: tuple[int, int]) -> Callable[[int], slice]:
    """Return what a reader takes as `slices`, from the first to one before the second number.

    The function that is returned raises ValueError for a volume in which they do not lie.
    """
    first, last = slices

    def within(n_slices: int) -> slice:
        if not 0 <= first < last <= n_slices:
            rule = f"`slices` must be first and one past the last of {n_slices} slices"
            raise ValueError(message(rule, [first, last], f"Use [0,{n_slices}], say."))
        return slice(first, last)

    return within
