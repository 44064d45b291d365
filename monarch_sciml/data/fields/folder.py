"""A folder whose files together hold one set, such as a split of The Well.

Letters: N samples, T times, F fields, then the grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml.data.fields.source import FieldSource, ascending

SUFFIXES = (".h5", ".hdf5", ".mat", ".pt", ".npy", ".npz", ".nc")


class FieldFolder(FieldSource):
    """Read the files of a folder as one, with the samples of all files in the order of their names.

    Parameters
    ----------
    path
        The folder. Its files with the endings of array files are read, except hidden files, files
        in subfolders and the shards of a set that is being generated (.shard-1-of-4.h5).
    open_file
        Function that opens one file.

    Raises
    ------
    ValueError
        When there is no such file, or two differ in fields, grid, boundary, frames or dt.
    """

    format: ClassVar[str] = "folder"

    def __init__(self, path: Path, open_file: Callable[[Path], FieldSource]) -> None:
        files = sorted(file for file in path.iterdir() if _is_part(file))
        if not files:
            rule = f"the folder {path} must hold files of fields ({', '.join(SUFFIXES)})"
            raise ValueError(message(rule, "none", "Name a folder that does, or a file."))
        self.sources = [open_file(file) for file in files]
        first = self.sources[0]
        for other in self.sources[1:]:
            check_same_layout(first, other)
        n_samples = sum(source.n_samples for source in self.sources)
        super().__init__(path, replace(first.layout, n_samples=n_samples), {})

    def read(
        self,
        samples: slice = slice(None),
        times: slice = slice(None),
        fields: Sequence[str] | None = None,
    ) -> Tensor:
        """Read a window like that of one file; only files with samples of it are opened."""
        wanted = range(self.n_samples)[ascending("samples", samples, self.n_samples)]
        first, windows = 0, []
        for source in self.sources:
            # those of the wanted samples that are in this file, counted from its first
            part = wanted[_below(wanted, first) : _below(wanted, first + source.n_samples)]
            if part or (not wanted and not windows):
                local = slice(part.start - first, part.stop - first, part.step)
                windows.append(source.read(local if part else slice(0, 0), times, fields))
            first += source.n_samples
        return torch.cat(windows)

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        return self.read(samples, times, [field])[:, :, 0]

    def describe(self) -> dict[str, Any]:
        """Return the description that all files have in common, as plain values for display."""
        each = [source.describe() for source in self.sources]
        shared = {k: v for k, v in each[0].items() if all(about.get(k) == v for about in each)}
        return {
            **shared,
            **super().describe(),
            "format": f"{self.sources[0].format}, {len(each)} files",
            "path": str(self.path),
            "size_bytes": sum(about["size_bytes"] for about in each),
            "n_samples": self.n_samples,
        }


def _is_part(file: Path) -> bool:
    hidden = file.name.startswith(".") or ".shard-" in file.name
    return file.suffix in SUFFIXES and not hidden and file.is_file()


def check_same_layout(first: FieldSource, second: FieldSource) -> None:
    """Raise ValueError when two files differ in fields, grid, boundary, frames or dt."""
    for name in ("fields", "grid_shape", "boundary", "n_times", "domain_extent", "dt"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if not _same(ours, theirs):
            rule = f"{second.path} must have the `{name}` of {first.path}, {ours}"
            raise ValueError(message(rule, theirs, "Pass files of one problem."))


def _same(first: Any, second: Any) -> bool:
    """Return whether two values are equal, lengths and times within the error of single
    precision.
    """
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-4)
    return first == second


def _below(wanted: range, bound: int) -> int:
    """Return how many numbers of an ascending range are below a bound."""
    return len(range(wanted.start, min(wanted.stop, bound), wanted.step))
