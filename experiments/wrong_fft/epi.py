"""Correct a measured echo-planar scan by its nominal model, and by a learned readout transform.

python experiments/wrong_fft/epi.py FOLDER

FOLDER holds ramp_epi_96_pe+.dat and .seq, and ramp_epi_96_pe0.dat, the same sequence without phase
encoding. Nominal: samples on the ramps are regridded by the trajectory, reversed lines get a linear
phase. Learned: reversed lines of the reference scan, as the nominal model leaves them, are mapped
to the mean of the forward lines on either side of them; the map starts from the inverse DFT.
Results go to epi.csv.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from monarch_sciml.data import read_scan
from monarch_sciml.physics.images import ifft2c
from monarch_sciml.transforms import FourierTransform
from monarch_sciml.transforms.fit import fit_transform

RIDGES = (1e-2, 1e-1, 1.0, 10.0, 100.0)


def ghost(kspace: torch.Tensor, phantom: np.ndarray) -> tuple[float, float]:
    """Return ghost over signal and background over signal, medians of the root sum of squares."""
    image = torch.linalg.vector_norm(ifft2c(kspace), dim=0).numpy()  # (c, H, W) -> (H, W)
    shifted = np.roll(phantom, phantom.shape[1] // 2, axis=1)
    parts = phantom, shifted & ~phantom, ~shifted & ~phantom
    signal, ghosted, background = (float(np.median(image[part])) for part in parts)
    return ghosted / signal, background / signal


def object_of(kspace: torch.Tensor) -> np.ndarray:
    """Return where the largest object is, and two pixels around it."""
    image = torch.linalg.vector_norm(ifft2c(kspace), dim=0).numpy()
    found = ndimage.binary_opening(image > 0.1 * np.quantile(image, 0.98))
    names, _ = ndimage.label(ndimage.binary_fill_holes(found))
    largest = names == np.bincount(names[names > 0]).argmax()
    return ndimage.binary_dilation(largest, iterations=2)


def pairs(reference: torch.Tensor, reverse: slice, lines: slice):
    """Return reversed readouts (S, H) and the images (S, H) they should have, of every coil."""
    n = reference.shape[-1]
    columns = [c for c in range(n)[reverse][lines] if 0 < c < n - 1]
    images = torch.fft.fftshift(
        torch.fft.ifft(torch.fft.ifftshift(reference, dim=-2), dim=-2, norm="ortho"), dim=-2
    )
    x = reference[..., columns]
    y = (images[..., [c - 1 for c in columns]] + images[..., [c + 1 for c in columns]]) / 2
    return (part.permute(0, 2, 1).flatten(0, 1) for part in (x, y))  # (c, H, S) -> (c S, H)


def main(folder: str) -> None:
    scan, sequence, blank = (
        Path(folder) / f"ramp_epi_96_{name}" for name in ("pe+.dat", "pe+.seq", "pe0.dat")
    )
    read = {"sequence": sequence}
    raw = read_scan(scan, **read).kspace[0]
    nominal = read_scan(scan, **read, reference_scan=blank).kspace[0]
    reference = read_scan(blank, **read, reference_scan=blank).kspace[0]
    changed = (raw - nominal).abs().amax((0, 1)) > 1e-6 * raw.abs().max()
    reverse = slice(int(changed.int().argmax()), None, 2)  # lines alternate in direction
    phantom = object_of(nominal)
    rows = [("as acquired, regridded", "", raw), ("nominal: regridding, linear phase", "", nominal)]
    start = FourierTransform(raw.shape[-2], centered=True, inverse=True)
    for ridge in RIDGES:
        # the first 30 of 48 reversed lines to learn from, the others to validate on
        x, y = pairs(reference, reverse, slice(0, 30))
        transform = fit_transform(x, y, start, rank=2, ridge=ridge)
        held_x, held_y = pairs(reference, reverse, slice(30, None))
        with torch.no_grad():
            left = float((transform(held_x) - held_y).norm() / (start(held_x) - held_y).norm())
            corrected = nominal.clone()
            images = transform(nominal[..., reverse].mT)  # (c, S, H), images of reversed lines
            corrected[..., reverse] = start.adjoint(images).mT
        rows.append((f"nominal, then learned, ridge {ridge:g}", f"{left:.3f}", corrected))
    with (Path(__file__).parent / "epi.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["correction", "validation_residual_over_nominal", "ghost", "background"])
        for name, left, kspace in rows:
            row = [name, left, *(f"{value:.4f}" for value in ghost(kspace, phantom))]
            writer.writerow(row)
            print(*row, sep=", ")


if __name__ == "__main__":
    main(*sys.argv[1:])
