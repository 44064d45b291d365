"""Write images as NIfTI-1, for viewers and for programs that process reconstructions."""

# Letters: s slices, h rows, w columns.

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import message, optional_package
from monarch_sciml._files import whole_file


def nifti_package() -> Any:
    """Return the package nibabel; ValueError with the command to install it."""
    return optional_package("nibabel", "writing NIfTI", "scanners")


def write_nifti(
    path: str | Path,
    image: torch.Tensor,
    *,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    orientation: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the magnitude of a volume as NIfTI-1, whole or not at all.

    The stored array is (w, h, s) float32. Its affine maps index (i, j, k) to

    x = d_w (i - (w - 1) / 2),  y = -d_h (j - (h - 1) / 2),  z = d_s (k - (s - 1) / 2)

    in mm, (d_s, d_h, d_w) the voxel size: the origin is the centre of the volume, and viewers show
    row 0 at the top and column 0 at the left of the screen in neurological display.

    Parameters
    ----------
    path
        Name of the file, ending in .nii or .nii.gz.
    image
        (s, h, w), real or complex, any unit.
    voxel_size
        Distances between slices, rows and columns in mm, such as `scan.header["voxel_size"]`.
    orientation
        `positions` (s, 3) of the centres of the slices in mm and `directions` (3, 3) of rows,
        columns and slices, as in `scan.header["orientation"]`; None for the axes of the matrix.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When nibabel is not installed, the image is no volume or not finite, a size is not positive.

    Notes
    -----
    Without an `orientation` the axes are those of the matrix, NOT of the patient. With it the pixel
    n // 2 of an axis lies at the stated centre of the slice, as the Fourier transform has it, and
    the affine is that of the patient. Readout and phase encode count along their directions, as
    ISMRMRD and siemens_to_ismrmrd state them; that a scanner's signs are these is NOT checked.
    """
    nibabel = nifti_package()
    volume = magnitude_volume(image)
    if len(voxel_size) != 3 or not all(np.isfinite(size) and size > 0 for size in voxel_size):
        rule = "`voxel_size` must be three positive lengths in mm"
        raise ValueError(message(rule, voxel_size, "Pass slice, row and column."))
    array = np.ascontiguousarray(volume.numpy().transpose(2, 1, 0))  # (s, h, w) -> (w, h, s)
    distance, row, column = (float(size) for size in voxel_size)
    scales = np.array([column, -row, distance])
    affine = np.diag([*scales, 1.0])
    affine[:3, 3] = -scales * (np.array(array.shape) - 1) / 2
    if orientation is not None and len(orientation["positions"]) == len(volume):
        affine = _patient_affine(orientation, array.shape, (column, row, distance))
    nifti = nibabel.Nifti1Image(array, affine)
    nifti.header.set_xyzt_units("mm")
    data = nifti.to_bytes()
    with whole_file(path, overwrite=overwrite) as part:
        packed = Path(path).suffix == ".gz"
        part.write_bytes(gzip.compress(data, mtime=0) if packed else data)


def _patient_affine(
    orientation: Mapping[str, Any], shape: Sequence[int], sizes: tuple[float, float, float]
) -> np.ndarray:
    """Return the affine from voxels (w, h, s) to the patient's right, front and head in mm."""
    rows, columns, normal = np.array(orientation["directions"])
    positions = np.array(orientation["positions"])
    step = sizes[2] * normal
    if len(positions) > 1:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
    axes = np.stack([sizes[0] * columns, sizes[1] * rows, step], axis=1)  # of (w, h, s)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = positions[0] - axes[:, :2] @ np.array([shape[0] // 2, shape[1] // 2])
    affine[:2] *= -1  # DICOM counts to the left and to the back
    return affine


def magnitude_volume(image: torch.Tensor) -> torch.Tensor:
    """Return the magnitude of a volume (s, h, w), or of one slice (h, w) as (1, h, w), float32.

    Raises
    ------
    ValueError
        When the image has another number of axes, no pixel, or a value that is not finite.
    """
    volume = image.detach().cpu().abs().to(torch.float32)
    volume = volume[None] if volume.ndim == 2 else volume
    if volume.ndim != 3 or not volume.numel():
        rule = "`image` must have shape (slices, h, w)"
        raise ValueError(message(rule, tuple(image.shape), "Combine the coils first."))
    if not bool(torch.isfinite(volume).all()):
        rule = "`image` must be finite"
        raise ValueError(message(rule, "NaN or infinity", "Check the reconstruction."))
    return volume
