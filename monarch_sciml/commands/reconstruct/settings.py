"""The options of one call of `reconstruct`, which are those of the command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from monarch_sciml._checks import (
    message,
    one_of,
    positive_int,
    present_device,
    usage_errors,
)
from monarch_sciml._reading import existing_file
from monarch_sciml.commands.comparison.saved import SavedNetwork, load_mri_networks
from monarch_sciml.data.scans.encoding_files import EncodingFile, read_encoding
from monarch_sciml.data.scans.maps import CoilMaps
from monarch_sciml.data.scans.raw.sequence import read_sequence
from monarch_sciml.data.scans.recognise import OPTIONS
from monarch_sciml.data.scans.undersampling import MaskName
from monarch_sciml.physics import SamplingMask

SOLVERS = ("zero_filled", "cg_sense", "l1_wavelet", "homodyne", "pocs")
"""Names of the conventional methods, in the order of tables."""
SPECIAL = ("homodyne", "pocs")
"""Those of them that are for some scans only, and therefore not among all."""
OutputFormat = Literal["h5", "nii", "nii.gz", "cfl", "png"]
_NOT_OF_THE_IMAGE = (
    *("output", "output_format", "figure", "resume", "overwrite", "device", "progress"),
    *("trust", "run", "method", *OPTIONS),
)
"""Fields that images do not depend on, or that `Settings.description` has in other words."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Describe the undersampling and the reconstruction of scans, and the output.

    Parameters
    ----------
    method
        zero_filled, cg_sense, l1_wavelet, several of them with commas, all, or none; and homodyne
        and pocs for partial Fourier scans.
    run
        Run directories of trained MRI networks, or of comparisons, to use as well. Write -r under
        `torchrun`, which takes --run for an option of its own.
    mask
        Mask to undersample with: uniform, random, equispaced, equispaced_fraction, poisson, or the
        name of a mask class with its options, such as --mask RandomMask --mask.center_fraction
        0.08.
    mask_file
        A .npy, .mat, .h5 or .cfl file of the mask to undersample with, zero where samples are left
        out: (W,), (H, W), or one mask for each slice.
    acceleration
        Nominal acceleration of a short mask name, 4 by default; alone it means a uniform mask.
    calibration
        Fully sampled lines (or side of the square) at the centre, of a mask by its short name.
    axis
        Whether to leave out columns, which are the last axis of k-space, or rows.
    coil_maps
        espirit or walsh: estimated from the undersampled data; stored: those of the scan's file; or
        a file of maps (.cfl as `bart ecalib` writes it, .npy, .mat, .h5), or a folder with one of
        the name of each scan.
    encoding
        File of a learned encoding (`monarch-sciml calibrate`) that takes the place of the Fourier
        transform: of a scanner whose readout is not what the FFT assumes.
    n_maps
        Sets of coil maps, 2 for a field of view that is smaller than the object.
    compress_coils
        Number of virtual coils to compress to.
    regularization
        Tikhonov weight of cg_sense.
    wavelet_regularization
        Weight of the wavelet coefficients of l1_wavelet, relative to the largest zero-filled pixel.
    slices
        First and one past the last slice, such as [0,5]; all by default.
    axes
        Names of the axes of a .npy or .mat file, such as height,width,coil, out of repetition,
        contrast, slice, coil, height, width and part (real and imaginary).
    variable
        Name of the array in a .mat file, such as data.kspace inside a struct.
    contrast
        Number of the contrast or echo, by default the first. fastMRI files have only one.
    repetition
        Number of the repetition, by default the first, or average for the mean of all. For M4Raw
        only average is possible.
    prewhiten
        Whether to whiten the noise of the coils by the noise readouts of an ISMRMRD or twix file.
    sequence
        Pulseq file (.seq) that was measured, for an ISMRMRD or twix file. It gives the place of
        every readout.
    reference_scan
        Scan of the same sequence without phase encoding, for an ISMRMRD or twix file. It corrects
        EPI.
    fftshift
        Whether the zero frequency comes first, as in numpy.fft.fft2, in a .npy, .mat or BART file.
    seed
        Seed of the mask in addition to the file name, from which it is drawn as in fastMRI.
    output
        File of images to write: undersampled k-space, coil maps and images in fastMRI layout (.h5),
        or images alone (.nii, .nii.gz, .cfl, .png). Or a folder: one such file, a figure and a
        record for each scan, and results.csv.
    output_format
        Format of the images in a folder, h5 by default.
    figure
        .png, .pdf or .svg file to write for a single scan; by default beside the images.
    resume
        Whether to leave out scans whose files are complete, and to start the others anew.
    overwrite
        Whether to replace existing files.
    device
        Device to compute on, cpu or cuda.
    progress
        Whether to show progress bars.
    trust
        Whether to build classes of other packages that a run names, which may run any code. Use it
        only for runs that you have made yourself.

    Raises
    ------
    TypeError, ValueError
        When an option has an invalid value, or two options exclude one another.
    """

    method: str = "all"
    run: Path | list[Path] | None = None
    mask: MaskName | SamplingMask | None = None
    mask_file: Path | None = None
    acceleration: float | None = None
    calibration: int = 24
    axis: Literal["columns", "rows"] = "columns"
    coil_maps: CoilMaps = "espirit"
    encoding: Path | None = None
    n_maps: int = 1
    compress_coils: int | None = None
    regularization: float = 0.01
    wavelet_regularization: float = 0.003
    slices: tuple[int, int] | None = None
    axes: str | None = None
    variable: str | None = None
    contrast: int | None = None
    repetition: int | Literal["average"] | None = None
    prewhiten: bool = False
    sequence: Path | None = None
    reference_scan: Path | None = None
    fftshift: bool = False
    seed: int = 0
    output: Path | None = None
    output_format: OutputFormat | None = None
    figure: Path | None = None
    resume: bool = False
    overwrite: bool = False
    device: str = "cpu"
    progress: bool = True
    trust: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a scan."""
        if self.mask_file is not None and (self.mask is not None or self.acceleration is not None):
            rule = "a mask must be drawn or read from a file, not both"
            raise ValueError(
                message(rule, f"--mask_file {self.mask_file} and another", "Leave one out.")
            )
        if self.sequence is not None:
            read_sequence(self.sequence)  # refused before any scan is read
        if self.reference_scan is not None:
            existing_file(self.reference_scan)
        if self.encoding is not None:
            self._check_encoding()
        with usage_errors():
            self._check_options()

    def _check_options(self) -> None:
        """Check options that need no file."""
        positive_int("calibration", self.calibration, minimum=0)
        positive_int("n_maps", self.n_maps)
        if self.compress_coils is not None:
            positive_int("compress_coils", self.compress_coils)
        one_of("device", self.device.split(":")[0], ("cpu", "cuda"))
        present_device(self.device)
        for name in self._method_names:
            if name not in (*SOLVERS, "all"):
                rule = f"`method` must be all, none, or some of {', '.join(SOLVERS)}"
                remedy = "A trained network is used with --run RUN_DIRECTORY."
                raise ValueError(message(rule, name, remedy))

    def _check_encoding(self) -> None:
        """Read the encoding, and refuse what it does not go with, before any scan is read."""
        _ = self.learned_encoding
        other = "--compress_coils" if self.compress_coils is not None else None
        other = next((name for name in self._method_names if name in SPECIAL), other)
        if other is not None:
            rule = "an encoding goes with zero_filled, cg_sense, l1_wavelet and MoDL, on all coils"
            raise ValueError(message(rule, other, f"Leave out {other}, or --encoding."))

    @cached_property
    def learned_encoding(self) -> EncodingFile | None:
        """The encoding, read when it is first needed; None for the Fourier transform."""
        return None if self.encoding is None else read_encoding(self.encoding)

    @property
    def _method_names(self) -> list[str]:
        names = [name.strip() for name in self.method.split(",")]
        return [] if names == ["none"] else names

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the conventional methods, in the order of `SOLVERS`."""
        asked = self._method_names
        general = [name for name in SOLVERS if name not in SPECIAL] if "all" in asked else []
        return tuple(name for name in SOLVERS if name in (*asked, *general))

    @cached_property
    def networks(self) -> Sequence[SavedNetwork]:
        """The trained networks of the runs, loaded when they are first needed."""
        return load_mri_networks(listed(self.run), trust=self.trust)

    @property
    def names(self) -> list[str]:
        """Names of the methods and networks that will run, in order."""
        names = list(self.methods)
        for network in self.networks:
            names.append(network.name if network.name not in names else str(network.path))
        return names

    @property
    def replaces(self) -> bool:
        """Whether files that exist may be replaced."""
        return self.overwrite or self.resume

    @property
    def reader(self) -> dict[str, Any]:
        """The options of `read_scan` that are given."""
        given = {name: getattr(self, name) for name in OPTIONS}
        return {
            name: value for name, value in given.items() if not (value is None or value is False)
        }

    @property
    def description(self) -> dict[str, str]:
        """Text of all settings on which the images depend; calls with equal texts do the same."""
        names = [field.name for field in fields(self) if field.name not in _NOT_OF_THE_IMAGE]
        own = {name: str(getattr(self, name)) for name in names}
        runs = ", ".join(str(network.path) for network in self.networks) or "none"
        reader = {name: str(value) for name, value in self.reader.items()}
        return {"methods": str(self.methods), **own, "run": runs, **reader}

    def slice_numbers(self, name: str, n_slices: int) -> Iterable[int]:
        """Return 0, 1, ... with a progress bar of that name; without a terminal there is none."""
        hidden = None if self.progress else True
        return tqdm(range(n_slices), name, unit="slice", disable=hidden, leave=False)


def listed(paths: Path | Sequence[Path] | None) -> list[Path]:
    """Return one path, several or none as a list."""
    if paths is None:
        return []
    return [Path(part) for part in ([paths] if isinstance(paths, str | Path) else paths)]
