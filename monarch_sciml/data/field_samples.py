"""Map-style data sets of windows of trajectories, in memory or read on demand.

Shapes: N trajectories, T frames, F fields, then the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from monarch_sciml.data.field_source import FieldSource


@dataclass(frozen=True)
class Window:
    """Frames of a sample: `n_steps_in` + `n_steps_out` of them, `stride` apart.

    Each start in `starts` gives one sample a trajectory. With `n_steps_out` 0 the fields are
    steady: the target's frames are the input's.
    """

    starts: range
    n_steps_in: int
    n_steps_out: int
    stride: int = 1

    @property
    def span(self) -> int:
        """Frames from the first to the last of a sample, both included."""
        return self.stride * (self.n_steps_in + self.n_steps_out - 1) + 1

    def frames(self, start: int) -> slice:
        """The frames of the sample that begins at `start`."""
        return slice(start, start + self.span, self.stride)


class FieldSamples(Dataset[dict[str, Tensor]]):
    """Give `input` (n_steps_in, F, *grid) and `target` (n_steps_out, F', *grid) samples.

    Parameters
    ----------
    source
        The open file.
    samples
        Which of its trajectories.
    window
        Which frames.
    input_fields, target_fields
        Names.
    subsample
        Keep each n-th grid point along every axis.
    dtype
        Of the samples.
    in_memory
        Read all the frames once, at the first use; else read the file for every sample.
    """

    def __init__(
        self,
        source: FieldSource,
        samples: range,
        window: Window,
        *,
        input_fields: Sequence[str],
        target_fields: Sequence[str],
        subsample: int = 1,
        dtype: torch.dtype = torch.float32,
        in_memory: bool = True,
    ) -> None:
        self.source, self.samples, self.window = source, samples, window
        self.input_fields, self.target_fields = tuple(input_fields), tuple(target_fields)
        self.fields = tuple(dict.fromkeys([*input_fields, *target_fields]))
        self.subsample, self.dtype, self.in_memory = subsample, dtype, in_memory
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.samples) * len(self.window.starts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        trajectory, start = divmod(index % len(self), len(self.window.starts))
        frames = self.window.frames(self.window.starts[start])
        if self.in_memory:
            values = self._all()[trajectory, self._kept_frames(frames)]
        else:
            sample = self.samples[trajectory]
            values = self._read(slice(sample, sample + 1), frames)[0]
        n_in = self.window.n_steps_in
        before = values[:n_in]
        after = values[n_in:] if self.window.n_steps_out else before
        return {
            "input": self._select(before, self.input_fields),
            "target": self._select(after, self.target_fields),
        }

    def blocks(self, *, fields: Sequence[str], size: int = 64) -> Iterator[Tensor]:
        """Yield every frame of the trajectories that samples use, (n, T, F, *grid), in blocks."""
        for first in range(0, len(self.samples), size):
            part = self.samples[first : first + size]
            if self.in_memory:
                values = self._all()[first : first + size]
            else:
                values = self._read(slice(part.start, part.stop), self._frames())
            yield self._select(values, fields)

    def _select(self, values: Tensor, fields: Sequence[str]) -> Tensor:
        """Take fields out of (..., T, F, *grid)."""
        if tuple(fields) == self.fields:
            return values
        axis = values.ndim - len(self.source.grid_shape) - 1
        where = torch.tensor([self.fields.index(name) for name in fields])
        return values.index_select(axis, where)

    def _frames(self) -> slice:
        """The frames that any sample uses; evenly spaced."""
        starts = self.window.starts
        step = self.window.stride if len(starts) == 1 else 1
        return slice(starts[0], starts[-1] + self.window.span, step)

    def _kept_frames(self, frames: slice) -> slice:
        """Where `frames` of the file are among the frames kept in memory."""
        kept = self._frames()
        first, step = frames.start - kept.start, kept.step
        return slice(first // step, (frames.stop - kept.start - 1) // step + 1, frames.step // step)

    def _all(self) -> Tensor:
        if self._kept is None:
            samples = slice(self.samples.start, self.samples.stop)
            self._kept = self._read(samples, self._frames())
        return self._kept

    def _read(self, samples: slice, frames: slice) -> Tensor:
        values = self.source.read(samples, frames, self.fields)
        coarse = (..., *[slice(None, None, self.subsample)] * len(self.source.grid_shape))
        return values[coarse].to(self.dtype).contiguous()
