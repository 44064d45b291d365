"""Shares of a generated data set: the samples of each share, and the joining of their files.

A shard is a usual file of fields whose parameters say which samples of which set it holds.

Letters: N samples, T times, F fields, then the grid.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from monarch_sciml._checks import message
from monarch_sciml.data.fields.formats.monarch_h5 import plain_attributes
from monarch_sciml.data.fields.writer import FieldWriter, runs

_CHUNK = 2**26  # bytes copied at a time


@dataclass(frozen=True)
class Share:
    """The samples that one call generates: all, or those of share `index` of `of`."""

    samples: range
    index: int | None = None
    of: int | None = None
    n_samples: int = 0

    @classmethod
    def parse(cls, shard: str | None, n_samples: int, batch_size: int = 1) -> Share:
        """Return the share named by `shard`, which is "i/n" or None for all samples.

        The sizes of shares differ by at most one batch and shares end where batches end. If there
        are fewer batches than shares, sizes differ by at most one sample.

        Raises
        ------
        ValueError
            When `shard` is not "i/n" with 1 ≤ i ≤ n ≤ n_samples.
        """
        if shard is None:
            return cls(range(n_samples))
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(shard))
        index, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= of:
            rule = "`shard` must be I/N with 1 ≤ I ≤ N"
            raise ValueError(message(rule, repr(shard), "Pass 2/4 for the second of four shares."))
        if of > n_samples:
            rule = f"`shard` must not make more shares than there are samples, {n_samples}"
            raise ValueError(message(rule, repr(shard), "Make fewer shares."))
        n_batches = -(-n_samples // batch_size)
        unit = batch_size if n_batches >= of else 1
        n_units = -(-n_samples // unit)
        start, stop = (min(n_samples, unit * (n_units * i // of)) for i in (index - 1, index))
        return cls(range(start, stop), index, of, n_samples)

    def path(self, output: Path) -> Path:
        """Return the file of this share beside `output`, or `output` itself."""
        if self.of is None:
            return output
        return output.with_name(f"{output.stem}.shard-{self.index}-of-{self.of}{output.suffix}")

    def stated(self) -> dict[str, Any]:
        """Return the parameters that a shard has in addition to those of the set."""
        if self.of is None:
            return {}
        facts = {"index": self.index, "of": self.of, "first_sample": self.samples.start}
        return {"shard": {**facts, "n_samples_of_set": self.n_samples}}


def copy_shards(writer: FieldWriter, output: Path, about: dict[str, Any]) -> None:
    """Copy the samples that `writer` lacks from the shards beside `output`, finished or not.

    Raises
    ------
    ValueError
        When a shard is of another generator, other parameters, seed or sizes, cannot be read, or
        is being written; nothing is copied then.
    """
    missing = writer.missing
    paths = shard_files(output) if missing else []
    for path in paths:
        _check_shard(path, writer, about)
    for path in paths:
        _copy(path, writer)


def shard_files(output: Path) -> list[Path]:
    """Return the shards beside `output`, unfinished ones included, in order of their names."""
    stem, suffix = re.escape(output.stem), re.escape(output.suffix)
    name = re.compile(rf"(?:{stem}\.shard-\d+-of-\d+|\.{stem}\.shard-\d+-of-\d+\.part){suffix}")
    return sorted(path for path in output.parent.iterdir() if name.fullmatch(path.name))


def _check_shard(path: Path, writer: FieldWriter, about: dict[str, Any]) -> None:
    """Raise ValueError when a shard is not of the set that `writer` makes."""
    layout = writer.layout
    with _opened(path) as shard:
        data = next(iter(shard.fields.values()))
        found = {
            "generator": (shard.attributes["generator"], about["generator"]),
            "seed": (int(shard.attributes["seed"]), about["seed"]),
            **_pairs(shard.parameters, about["parameters"]),
            "n_samples": (shard.n_samples, layout.n_samples),
            "fields": (tuple(shard.fields), layout.fields),
            "n_times": (data.shape[1], layout.n_times),
            "grid": (data.shape[2:], tuple(layout.grid_shape)),
            "dtype": (str(data.dtype), str(writer.dtype).removeprefix("torch.")),
        }
    odd = [f"`{key}` {got}" for key, (got, wanted) in found.items() if got != wanted]
    if odd:
        rule = f"{path} must be a shard of the set to make"
        raise ValueError(message(rule, odd[0], "Remove it, or repeat its command."))


def _pairs(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (found.get(key), wanted.get(key)) for key in sorted({*found, *wanted})}


def _copy(path: Path, writer: FieldWriter) -> None:
    """Copy the samples that a shard has and `writer` lacks, in chunks of bounded size."""
    with _opened(path) as shard:
        fields, first, n_samples = list(shard.fields.values()), shard.first, len(shard.marks)
        sample_bytes = len(fields) * fields[0].dtype.itemsize * math.prod(fields[0].shape[1:])
        size = max(1, _CHUNK // sample_bytes)
        for gap in writer.missing:
            start, stop = max(gap.start - first, 0), min(gap.stop - first, n_samples)
            for run in runs(shard.marks[:stop], start) if start < stop else ():
                for begin in range(run.start, run.stop, size):
                    end = min(begin + size, run.stop)
                    # F of (n, T, *grid) -> (n, T, F, *grid)
                    values = np.stack([field[begin:end] for field in fields], axis=2)
                    writer.write(first + begin, torch.from_numpy(values))


class _Shard(NamedTuple):
    """An open shard: its attributes, the data sets of its fields, and the marks of written
    samples.
    """

    attributes: dict[str, Any]
    parameters: dict[str, Any]  # of the set
    first: int
    n_samples: int  # of the set
    fields: dict[str, Any]
    marks: np.ndarray


@contextmanager
def _opened(path: Path) -> Iterator[_Shard]:
    """Open a shard; ValueError if it is not a shard, or a process is writing it."""
    import h5py

    with ExitStack() as stack:
        try:
            file: Any = stack.enter_context(h5py.File(path, "r"))
            attributes = plain_attributes(file)
            parameters = json.loads(attributes["parameters"])
            stated = parameters.pop("shard")
            fields = {name: file["fields"][name] for name in json.loads(attributes["fields"])}
            marks = file["completed"][()] != 0
            of_set = (stated["first_sample"], stated["n_samples_of_set"])
            shard = _Shard(attributes, parameters, *of_set, fields, marks)
        except (OSError, KeyError, ValueError) as error:
            rule = f"{path} must be a shard that can be read and that no process writes"
            cause = str(error).splitlines()[0][:160]
            cause = f"no {cause} in it" if isinstance(error, KeyError) else cause
            remedy = "Wait for that process, or remove the file."
            raise ValueError(message(rule, cause, remedy)) from error
        yield shard
