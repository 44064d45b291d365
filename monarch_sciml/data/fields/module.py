"""The base class of the data modules of PDE fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch.utils.data import Dataset

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.folder import check_same_layout
from monarch_sciml.data.fields.recognise import open_fields
from monarch_sciml.data.fields.samples import FieldSamples, Window
from monarch_sciml.data.fields.source import FieldSource
from monarch_sciml.data.normalization import UnitGaussian
from monarch_sciml.data.spec import DataModule, FieldNormalization

Spacing = Literal["even", "any"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class FieldModule(DataModule):
    """Split a file like the FNO paper: the first samples train, the last ones test.

    Validation samples follow the training samples. The constructors of the subclasses choose the
    frames (`windows`) and the fields of a sample.

    Parameters
    ----------
    test_path
        File of the test samples, of the same problem and grid. None takes them from `path`.
    n_train, n_validation, n_test
        Numbers of samples: the first ones train, the next validate, the LAST ones test.
    subsample
        Number n, of which every n-th grid point along every axis is kept.
    in_memory
        Whether to read the fields once and keep them, rather than read the file for every sample.
        By default a part is kept if its fields take at most 512 MiB.
    boundary
        Condition along each axis of the grid if the file does not state it (`open_fields`).
    dtype
        Type of the samples and of the network that is trained on them, "float32" or "float64".
    normalization
        "unit_gaussian": `train` and `compare` put the network between fields of zero mean and unit
        variance (`models.Normalized`), one mean and std a field over the training samples. Samples,
        losses and metrics stay in physical units.
    axes, variable
        Names of the axes of arrays, and name of the only array or group to use (`open_fields`).
    spacing
        "even", or "any" to take points that are not equally spaced in their order: networks and
        metrics then treat them as equally spaced.
    """

    windows: dict[Split, Window]
    input_fields: tuple[str, ...]
    target_fields: tuple[str, ...]
    input_only: tuple[str, ...] = ()
    forcing: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path,
        *,
        n_train: int,
        n_validation: int,
        n_test: int,
        subsample: int,
        in_memory: bool | None,
        dtype: str,
        boundary: Sequence[str] | None = None,
        test_path: Path | None = None,
        split: Literal["samples", "time"] = "samples",
        normalization: FieldNormalization | None = None,
        axes: Axes | None = None,
        variable: str | None = None,
        spacing: Spacing = "even",
    ) -> None:
        self.path = Path(path)
        one_of("spacing", spacing, get_args(Spacing))
        options = {"boundary": boundary, "axes": axes, "variable": variable}
        self.source = self.test_source = open_data(self.path, spacing, **options)
        if test_path is not None:
            self.test_source = open_data(Path(test_path), spacing, **options)
            check_same_layout(self.source, self.test_source)
        self.subsample = positive_int("subsample", subsample)
        self.in_memory = in_memory
        one_of("dtype", dtype, ("float32", "float64"))
        self.dtype = torch.float64 if dtype == "float64" else torch.float32
        if normalization is not None:
            one_of("normalization", normalization, ("unit_gaussian",))
        self.normalization = normalization
        _check_subsample(self.source, self.subsample)
        self._ranges: dict[Split, range]
        if split == "time":
            self._ranges = dict.fromkeys(SPLITS, range(self.source.n_samples))
        elif test_path is None:
            self._ranges = split_samples(self.source, n_train, n_validation, n_test)
        else:
            self._ranges = split_samples(self.source, n_train, n_validation, 0)
            self._ranges["test"] = split_samples(self.test_source, 0, 0, n_test)["test"]
        self._splits: dict[Split, FieldSamples] = {}

    @property
    def train(self) -> Dataset[dict[str, Any]]:
        """Samples to train on."""
        return self._split("train")

    @property
    def validation(self) -> Dataset[dict[str, Any]] | None:
        """Samples to choose the best checkpoint with; None when there are none."""
        return self._split("validation") if self._n_samples("validation") else None

    @property
    def test(self) -> Dataset[dict[str, Any]]:
        """Samples for the reported figures."""
        return self._split("test")

    def _n_samples(self, name: Split) -> int:
        return len(self._ranges[name]) * len(self.windows[name].starts)

    def _split(self, name: Split) -> FieldSamples:
        if name not in self._splits:
            if not self._n_samples(name):
                rule = f"`n_{name}` must be at least 1 to use the {name} samples"
                raise ValueError(message(rule, 0, f"Raise `n_{name}`."))
            self._splits[name] = self._samples(name, self.windows[name])
        return self._splits[name]

    def _samples(self, name: Split, window: Window, **changes: Any) -> FieldSamples:
        return FieldSamples(
            self.test_source if name == "test" else self.source,
            self._ranges[name],
            window,
            **{
                "input_fields": self.input_fields,
                "target_fields": self.target_fields,
                "input_only": self.input_only,
                "forcing": self.forcing,
                "subsample": self.subsample,
                "dtype": self.dtype,
                "in_memory": self.in_memory,
                **changes,
            },
        )

    @cached_property
    def input_statistics(self) -> UnitGaussian:
        """Mean and std of each input field over the training samples, all their frames."""
        return UnitGaussian.fit(self._split("train").blocks(fields=self.input_fields))

    @cached_property
    def target_statistics(self) -> UnitGaussian:
        """Mean and std of each target field over the training samples, all their frames."""
        if self.target_fields == self.input_fields:
            return self.input_statistics
        return UnitGaussian.fit(self._split("train").blocks(fields=self.target_fields))

    @property
    def statistics(self) -> tuple[UnitGaussian, UnitGaussian] | None:
        """Mean and std of input and target fields if `normalization` requests them."""
        if self.normalization is None:
            return None
        given = self.input_statistics
        known = (self.input_only, self.forcing, self.forcing)  # in the order of the channels
        if any(known):  # one number per channel: those of the frames, then those of known fields
            blocks = self._split("train").blocks
            parts = [given] * self.windows["train"].n_steps_in
            parts += [UnitGaussian.fit(blocks(fields=names)) for names in known if names]
            given = UnitGaussian(
                torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts])
            )
        return given, self.target_statistics

    def _grid(self) -> dict[str, Any]:
        """The part of the specification that all subclasses share."""
        shape = tuple(-(-size // self.subsample) for size in self.source.grid_shape)
        return {
            "grid_shape": shape,
            "domain_extent": self.source.domain_extent,
            "boundary": self.source.boundary,
            "normalization": self.normalization,
            "dtype": str(self.dtype).removeprefix("torch."),
        }


def open_data(path: Path, spacing: Spacing = "even", **options: Any) -> FieldSource:
    """Open the file of a data module; when it is missing, say how to make it.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When `open_fields` refuses the file, or the points of its grid are not equally spaced.
    """
    if not path.exists():
        rule = "the data file must exist"
        made = f"PROBLEM --output {path}" if path.suffix in (".h5", ".hdf5") else "PROBLEM"
        remedy = f"Make it with `monarch-sciml generate {made}`, or correct the path."
        raise FileNotFoundError(message(rule, str(path), remedy))
    source = open_fields(path, **options)
    uneven = source.layout.uneven
    if uneven and spacing == "even":
        points = source.layout.coordinates[source.layout.axes.index(uneven[0])] or ()
        steps = [b - a for a, b in pairwise(points)]
        rule = f"the points of {path} along {uneven[0]} must be equally spaced"
        remedy = "Interpolate them, or pass `spacing: any` to take them in their order as they are."
        raise ValueError(message(rule, f"steps from {min(steps):.3g} to {max(steps):.3g}", remedy))
    return source


def split_samples(
    source: FieldSource, n_train: int, n_validation: int, n_test: int
) -> dict[Split, range]:
    """Return the samples of training, validation and test; ValueError if there are too few."""
    counts = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test}
    for name, count in counts.items():
        positive_int(name, count, minimum=0)
    total, available = sum(counts.values()), source.n_samples
    if total > available:
        names = "`n_train` + `n_validation` + `n_test`"
        rule = f"{names} must be at most {available} for {source.path}"
        got = f"{n_train} + {n_validation} + {n_test} = {total}"
        raise ValueError(message(rule, got, "Lower one, or generate more samples."))
    return {
        "train": range(n_train),
        "validation": range(n_train, n_train + n_validation),
        "test": range(available - n_test, available),
    }


def split_frames(
    source: FieldSource, start: int, n_train: int, n_validation: int, n_test: int
) -> dict[Split, range]:
    """Return the frames of training, validation and test; ValueError if there are too few."""
    counts = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test}
    for name, count in counts.items():
        positive_int(name, count, minimum=0)
    total, available = sum(counts.values()), source.n_times - start
    if total > available:
        names = "`n_train` + `n_validation` + `n_test`"
        rule = f"{names} must be at most the {available} frames of {source.path} from `start` on"
        got = f"{n_train} + {n_validation} + {n_test} = {total}"
        raise ValueError(message(rule, got, "Lower one: with split `time` they count frames."))
    end = start + n_train
    return {
        "train": range(start, end),
        "validation": range(end, end + n_validation),
        "test": range(source.n_times - n_test, source.n_times),
    }


def known_fields(
    source: FieldSource, fields: list[str] | None, without: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return `fields`, or by default all that vary in time, `without` some of them.

    Raises
    ------
    ValueError
        When one is unknown or none is left.
    """
    varying = [name for name in source.layout.varying if name not in without]
    names = tuple(varying if fields is None else fields)
    for name in names:
        one_of("fields", name, source.fields)
    if not names:
        rule = f"a sample of {source.path} needs fields"
        raise ValueError(message(rule, f"none of {source.fields}", "Name one."))
    return names


def check_frames(source: FieldSource, needed: int) -> None:
    """Raise ValueError when the samples have fewer frames than needed."""
    if needed > source.n_times:
        rule = f"{source.path} must hold {needed} frames for these steps"
        remedy = "Lower `n_steps_out`, `start` or `stride`, or generate more frames."
        raise ValueError(message(rule, source.n_times, remedy))


def _check_subsample(source: FieldSource, subsample: int) -> None:
    for size, kind in zip(source.grid_shape, source.boundary):
        if kind == "periodic" and size % subsample:
            rule = f"`subsample` must divide the {size} points of a periodic axis"
            raise ValueError(message(rule, subsample, "Choose a divisor."))
