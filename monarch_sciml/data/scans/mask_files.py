"""Sampling masks in files, one for all slices, one for each slice, or one in the file of each scan.

Letters: s slices, H, W matrix of k-space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml._reading import file_kind
from monarch_sciml.data.scans.fitting import NamedArray, fitting_axes, in_order
from monarch_sciml.data.scans.formats.bart import is_pair, read_cfl
from monarch_sciml.physics.sampling.base import SamplingMask

NAMES = ("mask", "masks", "sampling_mask", "pattern")


@dataclass(frozen=True)
class StoredMask(SamplingMask):
    """Take the mask of a training from a file of any format that `reconstruct --mask_file` reads.

    Without `path` every scan has its own mask in its file, as those of SKM-TEA have under
    `masks/poisson_6.0x`.

    Parameters
    ----------
    path
        A .npy, .npz, .mat, .pt or HDF5 file, or a BART pair, for all scans; None for the file of
        each scan.
    dataset
        Name of the array; by default `mask`, `masks`, `sampling_mask` or `pattern`, or the only one
        of the file.
    zero_pad
        Whether to surround a mask that is smaller than k-space with zeros about its centre. SKM-TEA
        needs this, because its k-space was padded and its masks have the acquired size.

    Notes
    -----
    The stored values are (H, W), (W,) for whole columns or (H,) for whole rows; every value but
    zero is sampled. The seed has no effect.

    References
    ----------
    Desai et al., "SKM-TEA: a dataset for accelerated MRI reconstruction with dense image labels for
    quantitative clinical evaluation", NeurIPS 2021 datasets and benchmarks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/mask.npy", np.eye(2))
    ...     StoredMask(f"{folder}/mask.npy", zero_pad=True)((4, 2))
    tensor([[0., 0.],
            [1., 0.],
            [0., 1.],
            [0., 0.]])
    """

    path: Path | str | None = None
    dataset: str | None = None
    zero_pad: bool = False

    def of_volume(self, path: str | Path) -> StoredMask:
        """Return the mask in the file of a scan, or this one if all scans share it."""
        return self if self.path is not None else replace(self, path=Path(path))

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask as bool (H, W), or as (H, 1) or (W,).

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is of another kind, lacks the array, or holds a mask of another size.
        """
        values = self._read()
        optional = ["H"] if self.zero_pad else ["H", "W"]  # columns are padded, rows are not
        found = fitting_axes(values.shape, {"H": height, "W": width}, optional)
        if found is not None and {"H", "W"} & set(found):
            return in_order(values, found, "HW")
        values = values.squeeze()
        n = values.ndim
        fits = n in (1, 2) and all(a <= b for a, b in zip(values.shape, (height, width)[-n:]))
        if self.zero_pad and fits:
            padded = np.zeros((height, width)[-n:], dtype=bool)
            window = tuple(
                slice(full // 2 - size // 2, full // 2 - size // 2 + size)
                for full, size in zip(padded.shape, values.shape)
            )
            padded[window] = values
            return padded
        rule = f"the mask in {self.path} must be {(height, width)} or {(width,)} as k-space"
        remedy = "Use the mask of this scan" + (
            ", or `zero_pad` for one of the acquired size." if fits else "."
        )
        raise ValueError(message(rule, values.shape, remedy))

    def _read(self) -> np.ndarray:
        """Return the values of the file as bool."""
        if self.path is None:
            rule = "a stored mask without `path` belongs to the file of a scan"
            raise ValueError(message(rule, "no file", "Pass `path`, or call `of_volume` first."))
        stored = _open(Path(self.path), self.dataset, "`dataset`")
        return (stored if isinstance(stored, np.ndarray) else stored.window((), None)) != 0


def read_mask(
    path: str | Path, shape: tuple[int, int, int], slices: range | None = None
) -> torch.Tensor:
    """Read a sampling mask, in which every value except zero means sampled.

    Parameters
    ----------
    path
        A .npy, .npz, .mat, .pt or HDF5 file (the array `mask`, or the only one), or a BART pair.
        Its array is (W,), (H,), (H, W) or (s, H, W), or in another order that follows from the
        sizes.
    shape
        (s, H, W) of the k-space in the file of the scan.
    slices
        The slices to return. By default all s slices.

    Returns
    -------
    (H, W), or (s, H, W) of the slices, bool.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is of another kind, or does not fit.
    """
    path = Path(path)
    n_slices, height, width = shape
    stored = _open(path)
    found = fitting_axes(stored.shape, {"s": n_slices, "H": height, "W": width}, ["s", "H", "W"])
    if found is None or not {"H", "W"} & set(found):
        rule = f"the mask in {path} must fit k-space: (H, W) = {(height, width)} or (W,), or one "
        rule += f"of them for each of {n_slices} slices"
        raise ValueError(message(rule, tuple(stored.shape), "Use the mask of this scan."))
    whole = isinstance(stored, np.ndarray)
    mask = in_order(stored if whole else stored.window(found, slices), found, "sHW") != 0
    if slices is not None and len(mask) == n_slices and n_slices > 1 and whole:
        mask = mask[slices.start : slices.stop]
    mask = np.broadcast_to(mask, (len(mask), height, width)).copy()
    return torch.from_numpy(mask if "s" in found else mask[0])


def _open(path: Path, dataset: str | None = None, option: str = "") -> np.ndarray | NamedArray:
    """Return the array of a BART pair, or the array of another file, which is not read yet."""
    if is_pair(path):
        return read_cfl(path)
    if dataset is not None and file_kind(path) == "npy":  # its array has no name
        dataset = None
    stored = NamedArray(path, NAMES, dataset)
    if stored.name:
        return stored
    rule = f"{path} must hold one array, or one named {NAMES[0]}"
    held = ", ".join(stored.held[:8]) or "nothing"
    remedy = f"Pass {option}, its name." if option else f"Rename the mask to {NAMES[0]}."
    raise ValueError(message(rule, held, remedy))
