"""Data modules of PDE fields: trajectories to roll out, steady pairs to map.

Shapes: T frames, F fields, then the grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.field_module import FieldModule, check_frames, known_fields
from monarch_sciml.data.field_samples import Window
from monarch_sciml.data.spec import FieldSpec


class TrajectoryModule(FieldModule):
    """Give the first frames of a trajectory and the frames that follow: the 2-D + time protocol.

    A sample is `input` (n_steps_in, F, *grid), frames start, start + stride, ..., and `target`
    (n_steps_out, F, *grid), the frames after them, one sample a trajectory.

    Parameters
    ----------
    path
        A file of trajectories that `open_fields` reads.
    n_train, n_validation, n_test
        Numbers of trajectories: the first ones train, the next validate, the LAST ones test.
    n_steps_in, n_steps_out
        Frames given and frames to predict.
    start
        First frame of a sample.
    stride
        Keep each n-th frame.
    subsample
        Keep each n-th grid point along every axis.
    windows
        Train on single steps (Markov): every window of `n_steps_in` frames and the `window_steps`
        after them, anywhere in a training trajectory, whatever `start` is. Validation and test
        samples stay those of the protocol.
    window_steps
        Target frames of a training window.
    in_memory
        Read the frames once and keep them; else read the file for every sample.
    fields
        Names of the fields to use; all by default.
    dtype
        "float32" or "float64", of the samples.

    Raises
    ------
    FileNotFoundError
        When the file is missing; the line names the command that makes it.
    ValueError
        When the file is no such file, or has too few samples, frames or grid points.

    Notes
    -----
    Nothing is normalised: neither is it in the FNO authors' fourier_2d_time.py. `input_statistics`
    offers mean and std of the training samples.

    References
    ----------
    Li et al., Fourier Neural Operator, ICLR 2021, section 5.3; Tran et al., Factorized Fourier
    Neural Operators, ICLR 2023, section 3.2 (Markov training).
    """

    def __init__(
        self,
        path: Path,
        *,
        n_train: int,
        n_validation: int = 0,
        n_test: int,
        n_steps_in: int = 10,
        n_steps_out: int = 10,
        start: int = 0,
        stride: int = 1,
        subsample: int = 1,
        windows: bool = False,
        window_steps: int = 1,
        in_memory: bool = True,
        fields: list[str] | None = None,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        super().__init__(
            path,
            n_train=n_train,
            n_validation=n_validation,
            n_test=n_test,
            subsample=subsample,
            in_memory=in_memory,
            dtype=dtype,
        )
        start = positive_int("start", start, minimum=0)
        n_in, stride = positive_int("n_steps_in", n_steps_in), positive_int("stride", stride)
        n_out = positive_int("n_steps_out", n_steps_out)
        self.input_fields = self.target_fields = known_fields(self.source, fields)
        self.window = Window(range(start, start + 1), n_in, n_out, stride)
        check_frames(self.source, start + self.window.span)
        self.train_window = self.window
        if windows:
            step = Window(range(1), n_in, positive_int("window_steps", window_steps), stride)
            check_frames(self.source, step.span)
            starts = range(self.source.n_times - step.span + 1)
            self.train_window = Window(starts, n_in, step.n_steps_out, stride)

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
            **self._grid(),
        )


class PairModule(FieldModule):
    """Give a steady field and the one it maps to: `input` (1, F, *grid), `target` (1, F', *grid).

    Parameters
    ----------
    path
        A file of steady fields that `open_fields` reads (neuralop's Darcy, the FNO paper's).
    test_path
        Take the test samples from this file, of the same grid; else from `path`.
    n_train, n_validation, n_test
        Numbers of samples: the first ones train, the next validate, the LAST ones test.
    input_fields, target_fields
        Names; by default the first field of the file is the input, the others are the target.
    subsample
        Keep each n-th grid point along every axis.
    in_memory
        Read the fields once and keep them; else read the file for every sample.
    dtype
        "float32" or "float64", of the samples.

    Raises
    ------
    FileNotFoundError
        When a file is missing; the line names the command that makes it.
    ValueError
        When a file is no such file, holds trajectories, or has too few samples or grid points.

    Notes
    -----
    Nothing is normalised; `input_statistics` and `target_statistics` offer mean and std of the
    training samples.
    """

    def __init__(
        self,
        path: Path,
        *,
        test_path: Path | None = None,
        n_train: int,
        n_validation: int = 0,
        n_test: int,
        input_fields: list[str] | None = None,
        target_fields: list[str] | None = None,
        subsample: int = 1,
        in_memory: bool = True,
        dtype: Literal["float32", "float64"] = "float32",
    ) -> None:
        super().__init__(
            path,
            n_train=n_train,
            n_validation=n_validation,
            n_test=n_test,
            subsample=subsample,
            in_memory=in_memory,
            dtype=dtype,
            test_path=test_path,
        )
        if self.source.n_times != 1:
            rule = f"{path} must hold steady fields, one frame a sample"
            raise ValueError(message(rule, self.source.n_times, "Use TrajectoryModule."))
        self.window = self.train_window = Window(range(1), 1, 0)
        names = self.source.fields
        self.input_fields = known_fields(self.source, input_fields or list(names[:1]))
        self.target_fields = known_fields(self.source, target_fields or list(names[1:]))

    @property
    def spec(self) -> FieldSpec:
        """Sizes, grid and boundary; `fields` names the target's fields."""
        return FieldSpec(
            fields=self.target_fields,
            n_steps_in=1,
            n_steps_out=1,
            n_fields_in=len(self.input_fields),
            n_fields_out=len(self.target_fields),
            **self._grid(),
        )
