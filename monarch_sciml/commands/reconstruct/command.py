"""The `reconstruct` command: undersample scans, reconstruct them, say how well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from monarch_sciml._checks import message, one_of, positive_int, present_device
from monarch_sciml._files import writable_folder
from monarch_sciml.commands.comparison.saved import load_mri_networks
from monarch_sciml.commands.reconstruct.batch import reconstruct_all
from monarch_sciml.commands.reconstruct.methods import SOLVERS
from monarch_sciml.commands.reconstruct.output_files import HDF5, Destination, ending_of, files_of
from monarch_sciml.commands.reconstruct.pipeline import reconstruct_scan
from monarch_sciml.commands.reconstruct.plan import make_plan
from monarch_sciml.commands.reconstruct.processes import joined
from monarch_sciml.commands.reconstruct.report import report
from monarch_sciml.commands.reconstruct.settings import Settings
from monarch_sciml.commands.reconstruct.undersampling import MaskName
from monarch_sciml.data.scans.maps import ESTIMATES, CoilMaps
from monarch_sciml.physics import SamplingMask

OutputFormat = Literal["h5", "nii", "nii.gz", "cfl", "png"]


def reconstruct(
    path: Path | list[Path],
    *,
    method: str = "all",
    run: Path | list[Path] | None = None,
    mask: MaskName | SamplingMask | None = None,
    mask_file: Path | None = None,
    acceleration: float | None = None,
    calibration: int = 24,
    axis: Literal["columns", "rows"] = "columns",
    coil_maps: CoilMaps = "espirit",
    n_maps: int = 1,
    compress_coils: int | None = None,
    regularization: float = 0.01,
    wavelet_regularization: float = 0.003,
    slices: tuple[int, int] | None = None,
    axes: str | None = None,
    variable: str | None = None,
    contrast: int | None = None,
    repetition: int | Literal["average"] | None = None,
    prewhiten: bool = False,
    seed: int = 0,
    output: Path | None = None,
    output_format: OutputFormat | None = None,
    figure: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Reconstruct scans with several methods, after leaving out samples on request.

    A fully sampled scan gives errors; an undersampled one gives images only. Several scans, or a
    folder of them, go on when one of them fails; processes started by `torchrun` share them out.

    Parameters
    ----------
    path
        Scans of any format that `info` knows: files, or folders of which every scan is taken.
    method
        zero_filled, cg_sense, l1_wavelet, several of them with commas, all, or none.
    run
        Run directories of trained MRI networks, or of comparisons, to use as well. Write -r under
        `torchrun`, which takes --run for an option of its own.
    mask
        Undersample: uniform, random, equispaced, equispaced_fraction, poisson, or the name of a
        mask class with its options, as --mask RandomMask --mask.center_fraction 0.08.
    mask_file
        Undersample with the mask in a .npy or .cfl file, (H, W) or (W,), zero where left out.
    acceleration
        Nominal acceleration of a short mask name, 4 by default; alone it means a uniform mask.
    calibration
        Fully sampled lines (or side of the square) at the centre, of the mask by its short name and
        at most for the coil maps.
    axis
        Leave out columns, the last axis of k-space, or rows.
    coil_maps
        espirit or walsh: estimated from the undersampled data; stored: those of the scan's file; or
        a file of maps (.cfl as `bart ecalib` writes it, .npy, .h5), or a folder with one of the
        name of each scan.
    n_maps
        Sets of coil maps, 2 for a field of view that is smaller than the object.
    compress_coils
        Number of virtual coils to compress to.
    regularization
        Tikhonov weight of cg_sense.
    wavelet_regularization
        Weight of the wavelet coefficients of l1_wavelet, relative to the largest zero-filled pixel.
    slices
        First and one past the last slice, as [0,5]; all by default.
    axes
        .npy and .mat: names of the axes, as height,width,coil.
    variable
        .mat: name of the array.
    contrast
        ISMRMRD, twix, SKM-TEA: number of the contrast or echo, the first by default.
    repetition
        ISMRMRD, twix: number of the repetition, or average. M4Raw: average.
    prewhiten
        ISMRMRD, twix: make the noise of the coils white by the noise readouts.
    seed
        Changes the mask, which is drawn from the file name as in fastMRI.
    output
        File of images to write: undersampled k-space, coil maps and images in fastMRI layout (.h5),
        or images alone (.nii, .nii.gz, .cfl, .png). Or a folder: one such file, a figure and a
        record for each scan, and results.csv.
    output_format
        Format of the images in a folder, h5 by default.
    figure
        .png, .pdf or .svg file to write for a single scan; by default beside the images.
    resume
        Leave out scans whose files are complete, and begin the others anew.
    overwrite
        Replace existing files.
    device
        Where to compute, cpu or cuda.
    progress
        Show progress bars.

    Returns
    -------
    str
        What was done, and a table of errors (if there is a reference) and times.

    Raises
    ------
    FileExistsError
        When a file to write exists and neither `overwrite` nor `resume` is true.
    FileNotFoundError
        When a file to read is missing.
    OSError
        When nothing can be written where the output goes.
    ValueError
        When the scan, mask or runs cannot be used, for the reason given.
    PartlyFailed
        When some of several scans failed; `summary` is what would have been returned.

    Notes
    -----
    Errors are fastMRI's NMSE, PSNR and SSIM of the volume of magnitudes, against the fully sampled
    scan combined with the same coil maps. In the .h5 file `reconstruction` (s, h, w) is that of the
    last method of the table, and `reconstructions/NAME` that of each; other formats have a file for
    each method, FILE_METHOD, where there are several. With several scans, `axes`, `variable`,
    `contrast`, `repetition` and `prewhiten` apply to the files of a format that has them.
    """
    paths = _listed(path)
    if not paths:
        raise ValueError(message("there must be a scan to reconstruct", "none", "Name a file."))
    if mask_file is not None and (mask is not None or acceleration is not None):
        rule = "a mask must be drawn or read from a file, not both"
        raise ValueError(message(rule, f"--mask_file {mask_file} and another", "Leave one out."))
    names = _methods(method)
    one_of("device", device.split(":")[0], ("cpu", "cuda"))
    present_device(device)
    reader = {"axes": axes, "variable": variable, "contrast": contrast, "repetition": repetition}
    reader = {key: value for key, value in reader.items() if value is not None}
    with joined() as ranks:
        settings = Settings(
            methods=names,
            mask=mask,
            mask_file=mask_file,
            acceleration=acceleration,
            calibration=positive_int("calibration", calibration, minimum=0),
            axis=axis,
            coil_maps=coil_maps if coil_maps in ("stored", *ESTIMATES) else Path(coil_maps),
            n_maps=positive_int("n_maps", n_maps),
            compress_coils=compress_coils,
            regularization=regularization,
            wavelet_regularization=wavelet_regularization,
            slices=slices,
            seed=seed,
            reader=reader | ({"prewhiten": True} if prewhiten else {}),
            device=ranks.device(device),
            progress=progress and ranks.first,
            networks=load_mri_networks(_listed(run)),
        )
        if not settings.names:
            rule = "there must be a method or a run to reconstruct with"
            raise ValueError(message(rule, "none", "Pass --method all, say."))
        several = len(paths) > 1 or paths[0].is_dir() or ranks.size > 1
        _check_output(output, output_format, figure, several=several)
        if several or _is_folder(output):
            plan = ranks.from_first(
                lambda: make_plan(
                    paths,
                    output,
                    output_format or "h5",
                    settings,
                    resume=resume,
                    overwrite=overwrite,
                )
            )
            return "" if plan is None else reconstruct_all(plan, settings, ranks)
        destination = Destination.checked(
            files_of(paths), output, figure, settings.names, overwrite=overwrite or resume
        )
        return _one(paths[0], destination, settings, resume=resume)


def _one(path: Path, destination: Destination, settings: Settings, *, resume: bool) -> str:
    """Reconstruct one scan into files of its own."""
    files = destination.files(settings.names)
    if resume and files and all(file.exists() for file in files):
        return f"{path} is finished: " + ", ".join(map(str, files))
    for folder in {file.absolute().parent for file in files}:
        writable_folder(folder)
    result = reconstruct_scan(path, settings, destination.check)
    lines = destination.write(result)
    return "\n\n".join([report(result), *(["\n".join(lines)] if lines else [])])


def _listed(paths: Path | Sequence[Path] | None) -> list[Path]:
    if paths is None:
        return []
    return [Path(part) for part in ([paths] if isinstance(paths, str | Path) else paths)]


def _methods(method: str) -> tuple[str, ...]:
    """Return the names of the conventional methods, in the order of SOLVERS."""
    names = [name.strip() for name in method.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in (*SOLVERS, "all"):
            rule = f"`method` must be all, none, or some of {', '.join(SOLVERS)}"
            remedy = "A trained network is used with --run RUN_DIRECTORY."
            raise ValueError(message(rule, name, remedy))
    return tuple(name for name in SOLVERS if name in names or "all" in names)


def _is_folder(output: Path | None) -> bool:
    """Return whether an output stands for a folder: it is one, or has no ending."""
    return output is not None and (output.is_dir() or not output.suffix)


def _check_output(
    output: Path | None, output_format: str | None, figure: Path | None, *, several: bool
) -> None:
    """Refuse the name of a file where a folder is needed, or one of another format."""
    ending = "" if output is None or _is_folder(output) else ending_of(output)
    if several and ending:
        rule = "`output` must be a folder for several scans or processes"
        raise ValueError(message(rule, str(output), "Choose the format with --output_format."))
    if figure is not None and (several or _is_folder(output)):
        rule = "`figure` is for a single scan with a file as its output"
        raise ValueError(message(rule, str(figure), "Figures go into the folder of `output`."))
    wanted = HDF5 if output_format == "h5" else (f".{output_format}",)
    if output_format is not None and ending and ending not in wanted:
        rule = f"`output` must end in .{output_format}, or be a folder"
        raise ValueError(message(rule, output, "Leave out `output_format`."))
