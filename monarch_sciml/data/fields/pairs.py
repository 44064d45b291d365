"""Data module of pairs of fields, which are steady or two frames of a trajectory.

Letters: F fields, then the grid.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from monarch_sciml._checks import message, positive_int
from monarch_sciml._signatures import parameters_of
from monarch_sciml.data.fields.axes import Axes
from monarch_sciml.data.fields.module import SPLITS, FieldModule, Spacing, known_fields
from monarch_sciml.data.fields.samples import Window
from monarch_sciml.data.normalization import UnitGaussian
from monarch_sciml.data.spec import FieldNormalization, FieldSpec


@parameters_of(FieldModule)
class PairModule(FieldModule):
    """Give a field and the one it maps to: `input` (1, F, *grid), `target` (1, F', *grid).

    Either both are steady (the coefficient and the solution of Darcy's problem), or they are two
    frames of a trajectory: u(0) -> u(T).

    Parameters
    ----------
    path
        A file, or a folder of files of one problem, that `open_fields` reads: of steady fields
        (neuralop's Darcy, the FNO paper's), or of trajectories, with `input_frame` and
        `target_frame`.
    input_frame, target_frame
        Indices of the frames of a trajectory, 0 the first and −1 the last. Give both, or neither
        for steady fields.
    input_fields, target_fields
        Names of the fields. By default the input of a steady file is the array with the name of an
        input (`x`, `a`, `input`) or else the first array, with all its parts and channels, and any
        number stored for each sample. The target is the rest. For trajectories the default of both
        is every field that varies in time.

    Raises
    ------
    FileNotFoundError
        When a file is missing; the line names the command that makes it.
    ValueError
        When a file cannot be read as fields, has too few samples or grid points, or two files are
        of different problems or grids. When the choice of frames is ambiguous: trajectories without
        both frames, steady fields with one, or the same fields of the same frame.

    Notes
    -----
    Samples are not normalised; `input_statistics` and `target_statistics` hold mean and std of the
    training samples, and `normalization` gives them to the networks.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "burgers.pt"
    >>> u = torch.randn(4, 6, 16)  # trajectories, frames, grid
    >>> torch.save({"x": u[:, 0], "y": u}, path)
    >>> data = PairModule(path, n_train=3, n_test=1, input_frame=0, target_frame=-1)
    >>> bool((data.train[2]["target"] == u[2, 5]).all())
    True
    """

    def __init__(
        self,
        path: Path,
        *,
        test_path: Path | None = None,
        n_train: int,
        n_validation: int = 0,
        n_test: int,
        input_frame: int | None = None,
        target_frame: int | None = None,
        input_fields: list[str] | None = None,
        target_fields: list[str] | None = None,
        subsample: int = 1,
        in_memory: bool | None = None,
        boundary: list[str] | None = None,
        dtype: Literal["float32", "float64"] = "float32",
        normalization: FieldNormalization | None = None,
        axes: Axes | None = None,
        variable: str | None = None,
        spacing: Spacing = "even",
    ) -> None:
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
            normalization=normalization,
            axes=axes,
            variable=variable,
            spacing=spacing,
        )
        self._frames = self._chosen(input_frame, target_frame)
        steady = self.source.n_times == 1
        given, wanted = self.source.layout.pair
        self.input_fields = known_fields(
            self.source, list(given) if steady and input_fields is None else input_fields
        )
        self.target_fields = known_fields(
            self.source, list(wanted) if steady and target_fields is None else target_fields
        )
        given, wanted = self._frames
        if not steady and given == wanted and set(self.input_fields) & set(self.target_fields):
            rule = "`input_frame` and `target_frame` must differ, or their fields"
            raise ValueError(message(rule, f"{given} twice", "Name another frame."))
        self.windows = dict.fromkeys(SPLITS, _pair(given, wanted))

    def _chosen(self, input_frame: int | None, target_frame: int | None) -> tuple[int, int]:
        """Return the frames of input and target, counted from the first."""
        n_times, given = self.source.n_times, (input_frame, target_frame)
        if n_times == 1:
            if given != (None, None):
                rule = f"`input_frame` and `target_frame` must not be given: {self.path} is steady"
                raise ValueError(message(rule, given, "Leave them out."))
            return 0, 0
        frames = []
        for name, frame in zip(("input_frame", "target_frame"), given):
            if frame is None:
                rule = f"`{name}` must be given for {self.path}, which holds {n_times} frames"
                remedy = "Name both frames, for example 0 and -1, or use TrajectoryModule."
                raise ValueError(message(rule, "none", remedy))
            index = positive_int(name, frame, minimum=-n_times)
            if index >= n_times:
                rule = f"`{name}` must be below the {n_times} frames of {self.path}"
                raise ValueError(message(rule, frame, f"Lower `{name}`."))
            frames.append(index % n_times)
        return frames[0], frames[1]

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

    @cached_property
    def input_statistics(self) -> UnitGaussian:
        """Mean and std of each input field over the training samples."""
        return self._statistics(self.input_fields, self._frames[0])

    @cached_property
    def target_statistics(self) -> UnitGaussian:
        """Mean and std of each target field over the training samples."""
        return self._statistics(self.target_fields, self._frames[1])

    def _statistics(self, fields: tuple[str, ...], frame: int) -> UnitGaussian:
        window = Window(range(frame, frame + 1), 1, 0)
        changes = {"input_fields": fields, "target_fields": fields, "in_memory": False}
        return UnitGaussian.fit(self._samples("train", window, **changes).blocks(fields=fields))


def _pair(given: int, wanted: int) -> Window:
    """Return the window of two frames of a trajectory in either order, or of one frame."""
    if given == wanted:
        return Window(range(given, given + 1), 1, 0)
    first, last = sorted((given, wanted))
    return Window(range(first, first + 1), 1, 1, last - first, reverse=given > wanted)
