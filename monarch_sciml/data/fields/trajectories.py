"""Data module of trajectories to roll out.

Letters: T frames, F fields, then the grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from monarch_sciml._checks import message, one_of, positive_int
from monarch_sciml._signatures import parameters_of
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.module import (
    SPLITS,
    FieldModule,
    Spacing,
    Split,
    check_frames,
    known_fields,
    split_frames,
)
from monarch_sciml.data.fields.samples import Window
from monarch_sciml.data.spec import FieldNormalization, FieldSpec


@parameters_of(FieldModule)
class TrajectoryModule(FieldModule):
    """Give the first frames of a trajectory and the frames that follow, to be predicted by
    roll-out.

    A sample is `input` (n_steps_in, F, *grid), frames start, start + stride, ..., and `target`
    (n_steps_out, F, *grid), the frames after them. There is one sample per trajectory.

    Parameters
    ----------
    path
        A file of trajectories that `open_fields` reads, or a folder of files of one problem.
    n_train, n_validation, n_test
        Numbers of trajectories: the first ones train, the next validate, the LAST ones test. With
        `split` "time" they are numbers of frames from `start` on.
    split
        "samples", or "time" to learn from the past of every trajectory and predict its future,
        which works with a single trajectory too. With "time" every window of frames within a part
        is one of its samples, and no window reaches into the next part.
    n_steps_in, n_steps_out
        Frames given and frames to predict.
    start
        First frame of a sample.
    stride
        Number n, of which every n-th frame is kept.
    windows
        Whether to train on single steps (Markov training). A training sample is then any window of
        `n_steps_in` frames and the `window_steps` frames after them in a training trajectory,
        whatever `start` is. Validation and test samples do not change.
    window_steps
        Number of target frames of a training window.
    fields
        Names of the fields to predict; by default all that vary in time and are not `input_only`.
    input_only
        Names of fields that are known beforehand (a force, a coefficient, a medium): the network
        sees them in every step, after the frames, and does not predict them. A sample holds those
        that are the same in every frame as `input_only` (G, *grid). Those that vary in time, such
        as a time-dependent force, are `forcing` (n_steps_out + 1, G', *grid): a step sees their
        values at the last frame given and at the frame that it predicts, as two channels each.

    Raises
    ------
    FileNotFoundError
        When the file is missing; the line names the command that makes it.
    ValueError
        When a file cannot be read as fields, has too few samples, frames or grid points, or two
        files are of different problems or grids.

    Notes
    -----
    By default nothing is normalised, as in the FNO authors' fourier_2d_time.py. `input_statistics`
    holds mean and std of the training samples.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section 5.3; Tran et al., Factorized Fourier
    Neural Operators, ICLR 2023, section 3.2 (Markov training).

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "burgers.pt"
    >>> u = torch.randn(4, 6, 16)  # trajectories, frames, grid
    >>> torch.save({"x": u[:, 0], "y": u}, path)
    >>> data = TrajectoryModule(path, n_train=3, n_test=1, n_steps_in=2, n_steps_out=3)
    >>> data.train[0]["input"].shape, data.train[0]["target"].shape
    (torch.Size([2, 1, 16]), torch.Size([3, 1, 16]))

    One step from every frame of the first four; the last two frames are kept for the test.

    >>> data = TrajectoryModule(
    ...     path, split="time", n_train=4, n_test=2, n_steps_in=1, n_steps_out=1
    ... )
    >>> len(data.train), len(data.test)
    (12, 4)
    """

    def __init__(
        self,
        path: Path,
        *,
        test_path: Path | None = None,
        n_train: int,
        n_validation: int = 0,
        n_test: int,
        split: Literal["samples", "time"] = "samples",
        n_steps_in: int = 10,
        n_steps_out: int = 10,
        start: int = 0,
        stride: int = 1,
        subsample: int = 1,
        windows: bool = False,
        window_steps: int = 1,
        in_memory: bool | None = None,
        fields: list[str] | None = None,
        boundary: list[str] | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        normalization: FieldNormalization | None = None,
        axes: Axes | None = None,
        variable: str | None = None,
        spacing: Spacing = "even",
        input_only: list[str] | None = None,
    ) -> None:
        one_of("split", split, ("samples", "time"))
        if split == "time" and test_path is not None:
            rule = "`split` must be 'samples' where there is a `test_path`"
            raise ValueError(message(rule, repr(split), "Leave one of them out."))
        super().__init__(
            path,
            n_train=n_train,
            n_validation=n_validation,
            n_test=n_test,
            subsample=subsample,
            in_memory=in_memory,
            dtype=dtype,
            boundary=boundary,
            test_path=test_path,
            split=split,
            normalization=normalization,
            axes=axes,
            variable=variable,
            spacing=spacing,
        )
        start = positive_int("start", start, minimum=0)
        n_in, stride = positive_int("n_steps_in", n_steps_in), positive_int("stride", stride)
        n_out = positive_int("n_steps_out", n_steps_out)
        beforehand = tuple(dict.fromkeys(input_only or []))
        for name in beforehand:
            one_of("input_only", name, self.source.fields)
        self.input_fields = self.target_fields = known_fields(self.source, fields, beforehand)
        for name in beforehand:
            if name in self.input_fields:
                rule = "`input_only` fields must not be among `fields`"
                raise ValueError(message(rule, repr(name), "Leave it out of one of them."))
        constant = self.source.layout.constant
        self.input_only = tuple(name for name in beforehand if name in constant)
        self.forcing = tuple(name for name in beforehand if name not in constant)
        self.window = Window(range(start, start + 1), n_in, n_out, stride)
        check_frames(self.source, start + self.window.span)
        n_step = positive_int("window_steps", window_steps) if windows else n_out
        learned = Window(range(1), n_in, n_step, stride)
        check_frames(self.source, learned.span)
        if split == "time":
            parts = split_frames(self.source, start, n_train, n_validation, n_test)
            self.windows = {
                name: windows_within(parts[name], learned if name == "train" else self.window, name)
                for name in SPLITS
            }
        else:
            self.windows = dict.fromkeys(SPLITS, self.window)
            if windows:
                whole = range(self.source.n_times)
                self.windows["train"] = windows_within(whole, learned, "train")

    @property
    def spec(self) -> FieldSpec:
        """Sizes, grid and boundary; `n_steps_out` is that of validation and test samples."""
        dt = self.source.dt
        return FieldSpec(
            fields=self.input_fields,
            n_steps_in=self.window.n_steps_in,
            n_steps_out=self.window.n_steps_out,
            n_fields_in=len(self.input_fields),
            n_fields_out=len(self.input_fields),
            dt=None if dt is None else dt * self.window.stride,
            input_only=self.input_only,
            forcing=self.forcing,
            **self._grid(),
        )


def windows_within(frames: range, window: Window, name: Split) -> Window:
    """Return the window with all starts that fit into these frames; ValueError if there are
    none.
    """
    if 0 < len(frames) < window.span:
        rule = f"`n_{name}` must be at least the {window.span} frames of a sample"
        raise ValueError(message(rule, len(frames), f"Raise `n_{name}`, or lower the steps."))
    starts = range(frames.start, max(frames.start, frames.stop - window.span + 1))
    return Window(starts, window.n_steps_in, window.n_steps_out, window.stride)
