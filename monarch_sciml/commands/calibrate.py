"""The `calibrate` command, which learns the encoding of a scanner from scans of a known object."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from monarch_sciml._checks import (
    UsageError,
    message,
    positive_int,
    positive_number,
    usage_errors,
)
from monarch_sciml._files import writable_folder
from monarch_sciml.data.scans.encoding_files import (
    EncodingFile,
    encoding_path,
    write_encoding,
)
from monarch_sciml.data.scans.read import read_scan
from monarch_sciml.data.scans.recognise import scans_in
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.physics.fit_encoding import (
    CalibrationSums,
    fit_encoding,
    missing_equations,
)
from monarch_sciml.physics.readout_encoding import fourier_encoding


def calibrate(
    path: list[Path],
    *,
    output: Path,
    structure: Literal["corrected", "dense"] = "corrected",
    n_bands: int | None = None,
    rank: int | None = None,
    ridge: float = 0.01,
    n_steps: int | None = None,
    n_slices: int | None = None,
    overwrite: bool = False,
) -> str:
    """Learn the encoding of a scanner from fully sampled scans of a known object.

    The encoding maps images to k-space in the place of the Fourier transform: a matrix along the
    readout (the rows of k-space) that may vary from column to column of the image, and an ideal
    phase encode. `reconstruct --encoding FILE` uses it.

    Parameters
    ----------
    path
        Calibration scans, or folders of them: fastMRI-like .h5 files with `coil_maps` and a complex
        `target`, the object. `generate scans --subject phantom` writes such files.
    output
        File to write, .safetensors.
    structure
        "corrected" for the Fourier transform with a learned correction of low rank, "dense" for
        matrices without structure.
    n_bands
        Bands of columns between which the matrix varies smoothly: 1 for one matrix for all columns,
        as many as columns for a matrix of its own for each. By default a tenth of the columns.
    rank
        Rank of the slices of a corrected transform, 4 by default.
    ridge
        Weight of the difference to the Fourier transform, in units of the mean power of the pixels.
        More noise and fewer slices need more of it.
    n_steps
        Steps of L-BFGS after the closed form of a corrected transform, 0 for none; 30 by default.
    n_slices
        Number of slices to use, the first of the scans in order. All by default.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    What was learned, and how much of the calibration scans it and the Fourier transform leave
    unexplained.

    Raises
    ------
    FileExistsError, FileNotFoundError
        When `output` exists, or a scan is missing.
    ValueError
        When a scan is undersampled, of another matrix, or without a known object; or when an option
        does not fit.
    """
    if encoding_path(output).exists() and not overwrite:
        rule = "the output file must not exist yet"
        raise FileExistsError(message(rule, str(output), "Pass --overwrite true, or another name."))
    corrected = structure == "corrected"
    with usage_errors():
        for name, value in (("n_bands", n_bands), ("rank", rank), ("n_slices", n_slices)):
            if value is not None:
                positive_int(name, value)
        if n_steps is not None:
            positive_int("n_steps", n_steps, minimum=0)
        positive_number("ridge", ridge, or_zero=True)
    for name, value in (("rank", rank), ("n_steps", n_steps)):
        if value is not None and not corrected:
            rule = f"`{name}` is an option of structure 'corrected'"
            raise UsageError(message(rule, f"structure {structure!r}", f"Leave `{name}` out."))
    steps = (30 if n_steps is None else n_steps) if corrected else 0
    writable_folder(output.absolute().parent)
    sums = _sums(path, n_slices)
    encoding = fit_encoding(
        sums,
        n_bands=n_bands,
        rank=(4 if rank is None else rank) if corrected else None,
        ridge=ridge,
        n_steps=steps,
    )
    left = {
        name: float(sums.residual(one.matrices().to(torch.complex128)))
        for name, one in (("before", fourier_encoding(sums.grid_shape)), ("after", encoding))
    }
    learned = {"slices": sums.n_slices, "ridge": ridge, "n_steps": steps, "unexplained": left}
    write_encoding(encoding, output, learned=learned, overwrite=overwrite)
    missing, needed = missing_equations(sums, encoding.n_bands)
    facts = {
        "encoding": EncodingFile(encoding, learned).description,
        "equations": f"{needed - missing if missing else 'at least ' + str(needed)} for {needed} "
        "unknowns of each sample",
        "unexplained": f"{left['after']:.3g} of the signal, {left['before']:.3g} by the FFT",
        "written": str(output),
    }
    if missing:
        facts["note"] = (
            f"{missing} equations are missing: where none tells, the ridge keeps the Fourier "
            "transform; more slices or fewer --n_bands tell more"
        )
    return "\n".join(f"{name + ':':<14}{value}" for name, value in facts.items())


def _sums(paths: list[Path], n_slices: int | None) -> CalibrationSums:
    """Return the sums over the first slices of the scans."""
    sums: CalibrationSums | None = None
    for path in scans_in(paths)[0]:
        if sums is not None and n_slices is not None and sums.n_slices >= n_slices:
            break
        scan = read_scan(path)
        coil_images = _known_coil_images(scan)
        if sums is None:
            sums = CalibrationSums(scan.matrix)
        if scan.matrix != sums.grid_shape:
            rule = "all calibration scans must be of the matrix {} x {}".format(*sums.grid_shape)
            got = "{} x {} in {}".format(*scan.matrix, path)
            raise ValueError(message(rule, got, "Learn one encoding for each matrix."))
        kept = slice(None if n_slices is None else n_slices - sums.n_slices)
        sums.add(coil_images[kept], scan.kspace[kept])
    assert sums is not None
    if n_slices is not None and n_slices > sums.n_slices:
        rule = f"`n_slices` must be at most the {sums.n_slices} of the scans"
        raise ValueError(message(rule, n_slices, "Change it, or name more scans."))
    return sums


def _known_coil_images(scan: Scan) -> torch.Tensor:
    """Return coil maps times object, (s, c, H, W)."""
    if not bool(scan.mask.all()):
        rule = f"{scan.name} must be fully sampled to calibrate on"
        got = f"{1 - float(scan.mask.float().mean()):.0%} of k-space left out"
        raise ValueError(message(rule, got, "Scan the calibration object without acceleration."))
    maps, image = scan.coil_maps, scan.target
    known = image is not None and image.is_complex() and tuple(image.shape[-2:]) == scan.matrix
    if maps is None or image is None or not known:
        rule = f"{scan.name} must hold the known object: `coil_maps` and a complex `target`"
        got = "no coil_maps" if maps is None else "no complex target of its matrix"
        remedy = "Write both beside kspace, as `generate scans --subject phantom` does."
        raise ValueError(message(rule, got, remedy))
    return maps * image[:, None]
