"""A problem is its physics: parameters, equation, what is stored, and how samples are solved.

    @dataclass(frozen=True, kw_only=True)
    class Heat(FieldProblem):
        \"\"\"Generate the cooling of a rod. (Then the parameters, documented.)\"\"\"

        name = "heat"
        equation = "u_t = κ u_xx"
        usual_n_samples, usual_batch_size = 1200, 20
        diffusivity: float = 0.01

        def layout(self, n_samples): ...    # fields, sizes, times and walls of the set
        def parameters(self): ...           # all that the samples depend on, as JSON values
        def solve(self, batch): ...         # the fields (n, T, F, *grid) of a batch

    generate_heat = generator(Heat)

`generate_heat(output, diffusivity=..., n_samples=...)` takes the parameters of the problem and the
options that all problems share; both are documented once, in their dataclasses, and the command
line is made from them.

Letters: n samples of a batch, T times, F fields, then the grid.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import usage_errors
from monarch_sciml._signatures import arguments, describe, documentation
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.generators.generate import (
    Advance,
    Problem,
    generate,
    sample_generator,
    sample_rng,
)
from monarch_sciml.data.generators.options import SetOptions, stored_dtype
from monarch_sciml.data.threads import one_thread


@dataclass(frozen=True)
class Batch:
    """Describe the samples of a batch, which are solved together.

    `samples` are their numbers in the set, `seed` is that of the set, `dtype` is stored. `advance`
    may be called with the fraction of the batch that has just been done.
    """

    samples: range
    seed: int
    dtype: torch.dtype
    advance: Advance

    def rngs(self) -> list[np.random.Generator]:
        """Return numpy's generator of the random numbers of each sample."""
        return [sample_rng(self.seed, sample) for sample in self.samples]

    def generators(self) -> list[torch.Generator]:
        """Return torch's generator of the random numbers of each sample."""
        return [sample_generator(self.seed, sample) for sample in self.samples]

    def uniform(self, lowest: float, highest: float) -> Tensor:
        """Draw one uniform random number between both ends for each sample, (n,)."""
        drawn: Any = [rng.uniform(lowest, highest) for rng in self.rngs()]
        return torch.tensor(drawn, dtype=torch.float64)


class FieldProblem(ABC):
    """Base class of the problems, whose subclasses are frozen dataclasses of physical parameters.

    The class variables are the name on the command line and in the file, the equation as text, and
    the usual numbers of samples in a set and in a batch.

    Parameters
    ----------
    n_dims
        1 for the interval, 2 for the square.
    t_end
        Last time.
    n_times
        Number of evenly spaced frames from 0 to the last time, both included.
    dt
        Largest time step of the solver.

    Notes
    -----
    A problem has those of these parameters that it names as fields. It documents its own parameters
    only, or one of these whose meaning differs.
    """

    name: ClassVar[str]
    equation: ClassVar[str]
    usual_n_samples: ClassVar[int] = 1200
    usual_batch_size: ClassVar[int] = 20

    @abstractmethod
    def layout(self, n_samples: int) -> FieldLayout:
        """Return fields, sizes, times and walls of a set of this many samples."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return all that the samples depend on beside seed, equation and dtype, as JSON values."""

    @abstractmethod
    def solve(self, batch: Batch) -> Tensor:
        """Return the fields (n, T, F, *grid) of a batch, each a function of seed and number alone.

        All random numbers of a sample come from its own generator.
        """

    def coordinates(self) -> Sequence[np.ndarray] | None:
        """Return the grid points along each axis; None when they begin at 0 and follow the
        layout.
        """
        return None

    def generate(self, options: SetOptions) -> Path:
        """Generate the data set of this problem, or one share of it, and return its file.

        Raises
        ------
        FileExistsError, OSError, ValueError
            When `monarch_sciml.data.generate` raises one of these.
        """
        dtype = stored_dtype(options.dtype)
        itself: Any = self  # a dataclass
        with one_thread():  # so is its solver, which may have been built by several
            own: FieldProblem = replace(itself)
            stated = {"equation": own.equation, **own.parameters(), "dtype": options.dtype}
            made = Problem(
                own.name,
                own.layout(options.n_samples),
                stated,
                lambda samples, advance: own.solve(Batch(samples, options.seed, dtype, advance)),
                options.batch_size,
                dtype,
                own.coordinates(),
            )
        return generate(
            made,
            options.output,
            seed=options.seed,
            shard=options.shard,
            progress=options.progress,
            exist_ok=options.exist_ok,
        )


def generator(problem: type[FieldProblem]) -> Callable[..., Path]:
    """Return the function `generate_NAME(output, *, ...)` of a problem.

    Its keyword arguments are the fields of the problem and of `SetOptions`; signature and
    documentation are put together from both.
    """
    usual = {"n_samples": problem.usual_n_samples, "batch_size": problem.usual_batch_size}
    own, shared = arguments(problem), arguments(SetOptions, usual)
    physical = [argument.name for argument in own]
    bases = [cls.__doc__ for cls in problem.__mro__ if issubclass(cls, FieldProblem)]

    def function(*args: Any, **kwargs: Any) -> Path:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        options = {k: v for k, v in bound.arguments.items() if k not in physical}
        with usage_errors():
            made = problem(**{k: bound.arguments[k] for k in physical})
            common = SetOptions(**{**options, "output": Path(options["output"])})
            made.layout(common.n_samples)  # checks times and resolution
        return made.generate(common)

    function.__name__ = function.__qualname__ = f"generate_{problem.name}"
    function.__module__ = problem.__module__
    names = [argument.name for argument in shared]
    text = documentation(bases, physical, SetOptions.__doc__, names, _RESULT)
    describe(function, own, shared, text, Path)
    return function


_RESULT = """
Returns
-------
Path
    `output`, or the file of the share.

Raises
------
FileExistsError
    When that file exists and `exist_ok` is false.
OSError
    When the disk has no room; nothing written is lost.
ValueError
    When an argument is out of range, a solution is not finite, or the file, the unfinished file or
    a shard beside it holds something else.
"""
