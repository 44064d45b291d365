"""Write reconstructed images in the format that the ending of the file name selects."""

# Letters: s slices, h rows, w columns.

from __future__ import annotations

from pathlib import Path

import torch

from monarch_sciml._checks import message
from monarch_sciml._files import whole_file
from monarch_sciml.data.hdf5 import writable_hdf5
from monarch_sciml.data.images.nifti import magnitude_volume, write_nifti
from monarch_sciml.data.images.png import write_png
from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.scan import Scan

ENDINGS = (".h5", ".nii", ".nii.gz", ".cfl", ".png")


def write_image(
    path: str | Path, image: torch.Tensor, *, scan: Scan | None = None, overwrite: bool = False
) -> None:
    """Write a volume of images, whole or not at all.

    | ending | content |
    |---|---|
    | .h5 | `reconstruction` float32 (s, h, w) alone, as fastMRI's submissions; with `scan` all of `write_fastmri`, complex images kept |
    | .nii, .nii.gz | magnitude float32 with the voxel size and orientation of the scan (`write_nifti`) |
    | .cfl | complex64 with its .hdr, slices along BART's axis 13 |
    | .png | a montage of the magnitude in true proportions (`write_png`) |

    Parameters
    ----------
    path
        Name of the file. Its ending decides the format.
    image
        (s, h, w) or (h, w), real or complex, any unit.
    scan
        Scan from which the image was reconstructed.
    overwrite
        Whether to replace existing files.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    ValueError
        When the ending is of no known format, or the image is no volume or not finite.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/a.nii.gz", torch.ones(3, 8, 6))
    ...     sorted(file.name for file in Path(folder).iterdir())
    ['a.nii.gz']
    """  # noqa: E501
    ending = image_ending(path)
    volume = magnitude_volume(image)  # raises before any file is touched if the image is no volume
    size = (scan.header.get("voxel_size") if scan is not None else None) or (1.0, 1.0, 1.0)
    if ending == ".png":
        write_png(path, volume, pixel_size=(size[1], size[2]), overwrite=overwrite)
    elif ending == ".cfl":
        write_bart(path, image.reshape(volume.shape)[:, None], overwrite=overwrite)
    elif ending == ".h5" and scan is not None:
        reconstruction = image.reshape(volume.shape)
        write_fastmri(path, scan, reconstruction=reconstruction, overwrite=overwrite)
    elif ending == ".h5":
        with whole_file(path, overwrite=overwrite) as part, writable_hdf5(part) as file:
            file["reconstruction"] = volume.numpy()
    else:
        place = None if scan is None else scan.header.get("orientation")
        write_nifti(path, volume, voxel_size=size, orientation=place, overwrite=overwrite)


def image_ending(path: str | Path) -> str:
    """Return the ending of `ENDINGS` that a file name has; ValueError if it has none.

    Examples
    --------
    >>> image_ending("a.b.nii.gz"), image_ending("a.CFL")
    ('.nii.gz', '.cfl')
    """
    name = Path(path).name.lower()
    found = [ending for ending in ENDINGS if name.endswith(ending)]
    if not found:
        rule = f"an image file must end in {', '.join(ENDINGS)}"
        raise ValueError(message(rule, repr(Path(path).name), "Rename the output."))
    return found[0]
