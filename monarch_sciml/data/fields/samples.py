"""Map-style data sets of windows of trajectories, in memory or read on demand.

Letters: N trajectories, T frames, F fields, then the grid.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from monarch_sciml._checks import message
from monarch_sciml.data.fields.source import FieldSource

SUMMED_SAMPLES = 64
"""Samples that the fingerprint of a set that is not kept in memory is made of."""
KEPT_BYTES = 2**29
"""Samples whose frames take no more, 512 MiB, are kept in memory unless told otherwise."""

BLOCK_BYTES = 2**26
"""Most that is read at once when all frames are gone through, 64 MiB."""


@dataclass(frozen=True)
class Window:
    """Describe the frames of a sample: `n_steps_in` + `n_steps_out` of them, `stride` apart.

    Each start in `starts` gives one sample per trajectory. With `n_steps_out` 0 the fields are
    steady, and the target has the frames of the input. With `reverse` the target comes before the
    input.
    """

    starts: range
    n_steps_in: int
    n_steps_out: int
    stride: int = 1
    reverse: bool = False

    @property
    def span(self) -> int:
        """Number of frames from the first to the last of a sample, both included."""
        return self.stride * (self.n_steps_in + self.n_steps_out - 1) + 1

    def frames(self, start: int) -> slice:
        """Return the frames of the sample that begins at `start`, in the order of the file."""
        return slice(start, start + self.span, self.stride)

    def parts(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Split the frames (T, F, *grid) of a sample into those of its input and its target."""
        if not self.n_steps_out:
            return values, values
        if self.reverse:
            return values[self.n_steps_out :], values[: self.n_steps_out]
        return values[: self.n_steps_in], values[self.n_steps_in :]


class FieldSamples(Dataset[dict[str, Tensor]]):
    """Give `input` (n_steps_in, F, *grid) and `target` (n_steps_out, F', *grid) samples.

    Parameters
    ----------
    source
        The open file.
    samples
        The trajectories to use.
    window
        The frames of a sample.
    input_fields, target_fields
        Names.
    input_only
        Names of fields that are the same in every frame and are the entry `input_only` (G, *grid)
        of a sample.
    forcing
        Names of fields that vary in time and are the entry `forcing` (n_steps_out + 1, G', *grid)
        of a sample, from the last frame of the input on.
    subsample
        Number n, of which every n-th grid point along every axis is kept.
    dtype
        Precision of the samples.
    in_memory
        Whether to read all frames now and keep them, also for processes forked from this one,
        rather than read the file for every sample. None keeps them if they take at most
        `KEPT_BYTES`.

    Raises
    ------
    ValueError
        When a value that is read is NaN or infinite, or too large for `dtype`.
    """

    def __init__(
        self,
        source: FieldSource,
        samples: range,
        window: Window,
        *,
        input_fields: Sequence[str],
        target_fields: Sequence[str],
        input_only: Sequence[str] = (),
        forcing: Sequence[str] = (),
        subsample: int = 1,
        dtype: torch.dtype = torch.float32,
        in_memory: bool | None = None,
    ) -> None:
        self.source, self.samples, self.window = source, samples, window
        self.input_fields, self.target_fields = tuple(input_fields), tuple(target_fields)
        self.input_only, self.forcing = tuple(input_only), tuple(forcing)
        names = [*input_fields, *target_fields, *input_only, *forcing]
        self.fields = tuple(dict.fromkeys(names))
        self.subsample, self.dtype = subsample, dtype
        if in_memory is None:
            in_memory = math.prod(self._shape) * dtype.itemsize <= KEPT_BYTES
        self._kept: Tensor | None = None
        if in_memory:
            self._kept = self._all()

    def __len__(self) -> int:
        return len(self.samples) * len(self.window.starts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        trajectory, start = divmod(index % len(self), len(self.window.starts))
        frames = self.window.frames(self.window.starts[start])
        if self._kept is not None:
            values = self._kept[trajectory, self._kept_frames(frames)]
        else:
            number = self.samples[trajectory]
            values = self._read(range(number, number + 1), frames)[0]
        given, wanted = self.window.parts(values)
        sample = {
            "input": self._select(given, self.input_fields),
            "target": self._select(wanted, self.target_fields),
        }
        if self.input_only:
            sample["input_only"] = self._select(values[:1], self.input_only)[0]
        if self.forcing:
            sample["forcing"] = self._select(values[len(given) - 1 :], self.forcing)
        return sample

    def fingerprint(self) -> str:
        """Return a checksum of the values, or of 64 samples if they are not kept in memory."""
        digest = hashlib.sha256(repr((self._shape, self.fields, self.samples)).encode())
        if self._kept is not None:
            digest.update(self._kept.numpy().data)
        else:
            count = min(len(self), SUMMED_SAMPLES)
            for number in range(count):
                sample = self[number * (len(self) - 1) // max(1, count - 1)]
                for values in sample.values():
                    digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()

    def blocks(self, *, fields: Sequence[str]) -> Iterator[Tensor]:
        """Yield every frame that samples use, (n, T, F, *grid), in blocks of bounded size."""
        for samples, frames in self._block_windows():
            if self._kept is not None:
                first = samples.start - self.samples.start
                kept = self._kept[first : first + len(samples), self._kept_frames(frames)]
                yield self._select(kept, fields)
            else:
                yield self._select(self._read(samples, frames), fields)

    def _select(self, values: Tensor, fields: Sequence[str]) -> Tensor:
        """Take fields out of (..., T, F, *grid)."""
        if tuple(fields) == self.fields:
            return values
        axis = values.ndim - len(self.source.grid_shape) - 1
        where = torch.tensor([self.fields.index(name) for name in fields])
        return values.index_select(axis, where)

    def _frames(self) -> slice:
        """The evenly spaced frames that samples use."""
        starts = self.window.starts
        step = self.window.stride if len(starts) == 1 else 1
        return slice(starts[0], starts[-1] + self.window.span, step)

    def _kept_frames(self, frames: slice) -> slice:
        """Return the places of frames of the file among the frames kept in memory."""
        kept = self._frames()
        first, step = frames.start - kept.start, kept.step
        return slice(first // step, (frames.stop - kept.start - 1) // step + 1, frames.step // step)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Shape of all the frames that samples use, (N, T, F, *grid)."""
        frames = self._frames()
        n_times = len(range(frames.start, frames.stop, frames.step))
        grid = (-(-size // self.subsample) for size in self.source.grid_shape)
        return len(self.samples), n_times, len(self.fields), *grid

    def _block_windows(self) -> Iterator[tuple[range, slice]]:
        """Yield samples and frames of blocks of at most `BLOCK_BYTES` or of one frame."""
        frames = self._frames()
        wanted = range(frames.start, frames.stop, frames.step)
        frame = 8 * len(self.fields) * math.prod(self.source.grid_shape)
        n_times = max(1, min(len(wanted), BLOCK_BYTES // frame))
        n_samples = max(1, BLOCK_BYTES // (frame * n_times))
        for first in range(0, len(self.samples), n_samples):
            for start in range(0, len(wanted), n_times):
                part = wanted[start : start + n_times]
                window = slice(part.start, part.stop, part.step)
                yield self.samples[first : first + n_samples], window

    def _all(self) -> Tensor:
        """Every frame that samples use, read block by block into one tensor."""
        kept = torch.empty(self._shape, dtype=self.dtype)
        for samples, frames in self._block_windows():
            first = samples.start - self.samples.start
            rows = slice(first, first + len(samples))
            kept[rows, self._kept_frames(frames)] = self._read(samples, frames)
        return kept

    def _read(self, samples: range, frames: slice) -> Tensor:
        values = self.source.read(slice(samples.start, samples.stop), frames, self.fields)
        coarse = (..., *[slice(None, None, self.subsample)] * len(self.source.grid_shape))
        cast = values[coarse].to(self.dtype).contiguous()
        if cast.dtype.itemsize < values.dtype.itemsize and not torch.isfinite(cast).all():
            rule = f"the values of {self.source.path} must fit {str(self.dtype)[6:]}"
            got = f"{float(values.abs().max()):.3g}"
            raise ValueError(message(rule, got, "Pass dtype float64, or scale the data."))
        return cast
