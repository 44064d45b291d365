"""Calgary-Campinas (CC-359) raw data: 3-D brain scans in hybrid space, real numbers, no shifts."""

# Letters: X readout positions (the slices), H, W the plane (ky, kz), c coils, s slices read.

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.data.hdf5 import open_hdf5, part, plain
from monarch_sciml.data.scans.formats.hdf5_kinds import expect_format
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.data.scans.series import corner_ramp
from monarch_sciml.data.scans.slices import Slices, middle, resolve

SAMPLED_SHARE = 0.85
"""Part of kz that was sampled; values of the files beyond it are not signal."""


def read_calgary_campinas(path: str | Path, *, slices: Slices = None) -> Scan:
    """Read a Calgary-Campinas multi-coil file.

    The file holds float (X, H, W, 2c), real and imaginary parts of the coils in turn.
    Their images are `numpy.fft.ifft2` of (H, W) without any shift. Multiplication by
    exp(2 pi i (h H_0 / H + w W_0 / W)), where H_0 = H // 2 and W_0 = W // 2, makes it the centred
    k-space of this package and leaves the magnitude images unchanged.

    Parameters
    ----------
    path
        The .h5 file.
    slices
        Readout positions x to read, by default all.

    Returns
    -------
    Scan
        With `transformed` = ("readout",); columns from ceil(0.85 W) on are zero and `padding`.
        Not validated.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is truncated or foreign, or has an odd number of real channels.

    Notes
    -----
    The zero frequency lies in the middle of the stored plane. If most of the energy lies at the
    corners, as in `numpy.fft.fft2` of an image, k-space is shifted as well and nothing counts as
    padding. The slice in the middle of the file decides for all.

    References
    ----------
    Souza et al., "An open, multi-vendor, multi-field-strength brain MR dataset and analysis of
    publicly available skull stripping methods agreement", NeuroImage 170 (2018).
    """
    path = Path(path)
    with open_hdf5(path) as file:
        expect_format(file, "calgary-campinas")
        data = file["kspace"]
        n_slices, height, width, channels = data.shape
        if channels % 2:
            rule = f"`kspace` of {path} must hold real and imaginary parts in turn"
            raise ValueError(message(rule, f"{channels} channels", "Download the file again."))
        parts = np.asarray(part(data, resolve(slices, n_slices)), dtype=np.float32)
        shifted = _origin_at_corner(np.asarray(part(data, middle(n_slices)), dtype=np.float32))
        header: dict[str, Any] = {
            "format": "Calgary-Campinas",
            "shape": (n_slices, channels // 2, height, width),
            "dtype": f"{data.dtype} (real, imaginary)",
            "attributes": {name: plain(value) for name, value in file.attrs.items()},
        }
    # (s, H, W, 2c) -> (s, H, W, c) -> (s, c, H, W)
    stored = np.ascontiguousarray(parts).view(np.complex64).transpose(0, 3, 1, 2)
    kspace = torch.from_numpy(np.ascontiguousarray(stored)) * corner_ramp(height, width)
    if shifted:
        kspace = torch.fft.fftshift(kspace, dim=(-2, -1))
    else:
        sampled = math.ceil(SAMPLED_SHARE * width)
        kspace[..., sampled:] = 0
        header["padding"] = (0, sampled)
    return Scan(kspace, header=header, name=path.name, path=path, transformed=("readout",))


def _origin_at_corner(parts: np.ndarray) -> bool:
    """Return whether the corners of slices (s, H, W, 2c) hold more energy than the middle."""
    energy = np.square(parts).sum(axis=(0, 3))  # (H, W)
    top, left = energy.shape[0] // 4, energy.shape[1] // 4
    central = (slice(top, energy.shape[0] - top), slice(left, energy.shape[1] - left))
    return bool(np.fft.fftshift(energy)[central].sum() > energy[central].sum())
