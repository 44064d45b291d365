"""Masks that are read from files: one for all scans, or one in the file of each scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monarch_sciml._checks import message
from monarch_sciml._reading import file_kind, load_npy, open_hdf5, part, start_of
from monarch_sciml.physics.sampling.base import SamplingMask


@dataclass(frozen=True)
class StoredMask(SamplingMask):
    """Take the mask from a file: a .npy array, or a data set of an HDF5 file.

    Without `path` every scan has its own mask in its HDF5 file, as those of SKM-TEA have under
    `masks/poisson_6.0x`.

    Parameters
    ----------
    path
        A .npy or HDF5 file for all scans, or None for the file of each scan.
    dataset
        Name of the data set in the HDF5 file.
    zero_pad
        Whether to surround a mask that is smaller than k-space with zeros about its centre. SKM-TEA
        needs this, because its k-space was padded and its masks have the acquired size.

    Notes
    -----
    The stored values are (H, W), or (W,) for whole columns; every value but zero is sampled. The
    seed has no effect.

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
    dataset: str = "mask"
    zero_pad: bool = False

    def of_volume(self, path: str | Path) -> StoredMask:
        """Return the mask in the file of a scan, or this one if all scans share it."""
        return self if self.path is not None else replace(self, path=Path(path))

    def draw(self, height: int, width: int, seed: int | Sequence[int]) -> np.ndarray:
        """Return the mask as bool (H, W), or (W,).

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is of another kind, lacks the data set, or holds a mask of another size.
        """
        values = self._read()
        while values.ndim > 2 and len(values) == 1:
            values = values[0]
        allowed = ((height, width), (width,))
        if values.shape in allowed:
            return values
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
        path = Path(self.path)
        kind = file_kind(path)
        if kind == "npy":
            return load_npy(path) != 0
        if kind != "hdf5":
            rule = f"{path} must hold a mask as .npy or HDF5"
            raise ValueError(message(rule, start_of(path), "Convert it."))
        values = self._read_hdf5(path)
        if isinstance(values, np.ndarray):
            return values
        rule = f"`dataset` must name a mask in {path}"
        got = f"{self.dataset!r}; it holds {', '.join(values[:8]) or 'none'}"
        raise ValueError(message(rule, got, "Pass `dataset`."))

    def _read_hdf5(self, path: Path) -> np.ndarray | list[str]:
        """Return the mask, or if no data set has that name the names of those that may be masks."""
        import h5py

        with open_hdf5(path) as file:
            found = file.get(self.dataset)
            if isinstance(found, h5py.Dataset):
                return part(found) != 0
            names: list[str] = []
            file.visititems(lambda name, item: _note_mask(names, name, item))
        return names


def _note_mask(names: list[str], name: str, item: object) -> None:
    """Add the name of a data set of one or two axes."""
    if len(getattr(item, "shape", ())) in (1, 2):
        names.append(name)
