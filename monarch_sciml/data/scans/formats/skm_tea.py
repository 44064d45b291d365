"""SKM-TEA raw data: 3-D knee scans in hybrid space, two echoes, with coil maps and masks."""

# Letters: X readout positions (the slices), H, W the plane (ky, kz), e echoes, c coils, s slices
# that are read.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.data.hdf5 import open_hdf5, part, plain, tensor
from monarch_sciml.data.scans.formats.hdf5_kinds import expect_format
from monarch_sciml.data.scans.mask_files import StoredMask
from monarch_sciml.data.scans.scan import Scan, acquired_samples
from monarch_sciml.data.scans.slices import Slices, resolve


def read_skm_tea(path: str | Path, *, slices: Slices = None, contrast: int = 0) -> Scan:
    """Read one echo of an SKM-TEA file, slice by slice along the readout.

    The file is inverse transformed along x already, so that a slice is the plane (ky, kz) of one
    x. k-space, maps (X, H, W, c, 1) and target (X, H, W, e, 1) are read for the chosen slices only.

    Parameters
    ----------
    path
        The .h5 file of the Raw Data Track.
    slices
        Readout positions x to read, by default all (a whole scan has 5 to 10 GB for each echo).
    contrast
        Number of the echo, 0 or 1.

    Returns
    -------
    Scan
        With `transformed` = ("readout",), `coil_maps` and a complex `target` where the file has
        them. `padding` and `row_padding` leave out what was zero-padded and never acquired.
        Not validated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated or foreign, has no such echo, or maps or target of another size.

    References
    ----------
    Desai et al., "SKM-TEA: A dataset for accelerated MRI reconstruction with dense image labels
    for quantitative clinical evaluation", NeurIPS Datasets and Benchmarks (2021).
    """
    path = Path(path)
    with open_hdf5(path) as file:
        expect_format(file, "skm-tea")
        data = file["kspace"]
        n_slices, height, width, n_echoes, n_coils = data.shape
        if not 0 <= contrast < n_echoes:
            rule = f"`contrast` of {path} must be an echo in 0..{n_echoes - 1}"
            raise ValueError(message(rule, contrast, "Pick an echo."))
        _check_sizes(file, path)
        pick = resolve(slices, n_slices)
        plane = (slice(None), slice(None))
        kspace = tensor(np.moveaxis(part(data, (pick, *plane, contrast)), -1, 1))  # (s, c, H, W)
        maps = target = None
        if "maps" in file:
            maps = tensor(
                np.moveaxis(part(file["maps"], (pick, *plane, slice(None), 0)), -1, 1)
            )  # (s, c, H, W)
        if "target" in file:
            target = tensor(part(file["target"], (pick, *plane, contrast, 0)))  # (s, H, W)
        shapes = [value.shape for value in _masks(file).values()]
        attributes = {name: plain(value) for name, value in file.attrs.items()}
        masks = sorted(_masks(file))
        dtype = str(data.dtype)
    acquired = acquired_samples(kspace)
    rows, columns = _acquired_box(acquired, shapes)
    header = {
        "format": "SKM-TEA",
        "shape": (n_slices, n_coils, height, width),
        "dtype": dtype,
        "contrasts": n_echoes,
        "reference": "target" if target is not None else None,
        "reference_shape": (n_slices, height, width) if target is not None else None,
        "row_padding": rows,
        "padding": columns,
        "masks": masks,
        "attributes": attributes,
    }
    return Scan(kspace, acquired, maps, target, header, path.name, path, ("readout",))


def read_skm_tea_mask(path: str | Path, acceleration: float) -> torch.Tensor:
    """Return a Poisson-disc mask stored in an SKM-TEA file, zero-padded to the plane (ky, kz).

    Parameters
    ----------
    path
        The .h5 file.
    acceleration
        4, 6, 8, 10, 12 or 16: the nominal acceleration that names the mask.

    Returns
    -------
    (H, W) bool: the stored mask of the acquired shape (416, W - 80), its centre at the centre.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated or foreign, or holds no mask of that name.
    """
    path, name = Path(path), f"poisson_{float(acceleration)}x"
    with open_hdf5(path) as file:
        expect_format(file, "skm-tea")
        height, width = file["kspace"].shape[1:3]
    return StoredMask(path, f"masks/{name}", zero_pad=True)((height, width)) != 0


def _masks(file: Any) -> dict[str, Any]:
    return dict(file["masks"].items()) if "masks" in file else {}


def _check_sizes(file: Any, path: Path) -> None:
    """Refuse maps and targets that do not fit k-space."""
    n_slices, height, width, n_echoes, n_coils = file["kspace"].shape
    volume = (n_slices, height, width)
    for name, shape in {"maps": (*volume, n_coils, 1), "target": (*volume, n_echoes, 1)}.items():
        if name in file and file[name].shape != shape:
            rule = f"`{name}` of {path} must have shape {shape}"
            raise ValueError(message(rule, file[name].shape, "Download the file again."))


def _acquired_box(
    acquired: torch.Tensor, shapes: list[tuple[int, ...]]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return first and one past the last acquired row and column.

    The stored masks have the acquired shape. Without them it is the box around the non-zero
    samples.
    """
    pattern = acquired if acquired.ndim == 2 else acquired.any(dim=0)  # (H, W)
    if shapes and len(shapes[0]) >= 2:
        sizes = zip(pattern.shape, shapes[0][-2:])
        (top, h), (left, w) = ((size // 2 - n // 2, n) for size, n in sizes)
        return (top, top + h), (left, left + w)
    boxes = []
    for axis in (1, 0):
        used = pattern.any(dim=axis).nonzero().flatten()
        size = pattern.shape[1 - axis]
        boxes.append((int(used[0]), int(used[-1]) + 1) if len(used) else (0, size))
    return boxes[0], boxes[1]
