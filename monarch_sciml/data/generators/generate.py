"""Generate a data set of a problem, which can be resumed, reproduced and shared among machines.

A generator describes its problem and calls `generate`, which does the rest:

    problem = Problem(
        name="heat",                        # `generator` in the file
        layout=FieldLayout(fields=("u",), n_samples=n_samples, n_times=..., ...),
        parameters={"equation": "u_t = κ u_xx", "diffusivity": 0.01},  # plain JSON values
        solve=solve,                        # (samples: range, advance) -> Tensor (n, T, F, *grid)
        batch_size=20,                      # samples handed to `solve` at a time
    )
    return generate(problem, output, seed=seed, shard=shard, progress=progress, exist_ok=exist_ok)

`solve(samples, advance)` returns the fields of these samples, in order, as float32 or float64. All
random numbers of sample i must come from `sample_rng(seed, i)` (numpy) or `sample_generator(seed,
i)` (torch). Within a long batch `solve` may call `advance(share)` with the fraction of the batch
just done, so that the progress bar moves.

Letters: n samples of a batch, T times, F fields, then the grid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message, positive_int
from monarch_sciml.data.fields.formats.monarch_h5 import FieldFile
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.data.generators.sharding import Share, copy_shards
from monarch_sciml.data.threads import one_thread

Advance = Callable[[float], object]
Solve = Callable[[range, Advance], Tensor]


@dataclass(frozen=True)
class Problem:
    """Describe a data set and the way its samples are solved.

    Parameters
    ----------
    name
        Name of the generator, stored in the file.
    layout
        Fields, sizes, times and walls of the whole set.
    parameters
        Everything except the seed on which the samples depend, as JSON values: equation,
        coefficients, random initial data, resolution of the solver, times, dtype.
    solve
        Function that returns the fields (n, T, F, *grid) of a range of samples, each of which
        depends only on the seed and its index.
    batch_size
        Samples solved together.
    dtype
        Type of the stored values, torch.float32 or torch.float64.
    coordinates
        Grid points along each axis. None when they begin at 0 and are not cell centres.
    """

    name: str
    layout: FieldLayout
    parameters: Mapping[str, Any]
    solve: Solve
    batch_size: int = 1
    dtype: torch.dtype = torch.float32
    coordinates: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        positive_int("n_samples", self.layout.n_samples)
        positive_int("batch_size", self.batch_size)


def generate(
    problem: Problem,
    output: str | Path,
    *,
    seed: int = 0,
    shard: str | None = None,
    progress: bool = True,
    exist_ok: bool = False,
) -> Path:
    """Generate the data set of a problem, or one share of it.

    After an interruption the same call continues where it stopped and makes the same file. With
    `shard` only that share is solved, into a separate file beside `output`. Without it, samples
    that such files hold are copied from them and only the missing ones are solved.

    Parameters
    ----------
    problem
        The problem to generate.
    output
        The file (HDF5, see `monarch_sciml.data.FieldFile`).
    seed
        Seed of the set, at least 0, below 2^63; sample i depends on (seed, i) alone.
    shard
        "i/n" generates the i-th of n shares, counted from 1, as a file with the stem of `output`
        and the ending .shard-i-of-n.h5. None generates the whole set.
    progress
        Whether to show a bar that counts samples.
    exist_ok
        Whether to return at once when the file exists already with exactly these samples.

    Returns
    -------
    The file that was made.

    Raises
    ------
    FileExistsError
        When that file exists and `exist_ok` is false.
    ValueError
        When `shard` or `seed` is out of range, a solution is not finite, or the file, the
        unfinished file or a shard beside it holds something else.
    OSError
        When the disk has no room; nothing written is lost.

    Notes
    -----
    Samples are solved on one CPU thread, so that their bits do not depend on the number of threads;
    shares use several cores. If there are enough batches, shares end between them. A set joined
    from shards then equals the unsharded one bit for bit, even if the rounding of a solver depends
    on the batch. The shards are kept after they have been joined.
    """
    seed, output = positive_int("seed", seed, minimum=0), Path(output)
    if seed >= 2**63:
        raise ValueError(message("`seed` must be below 2^63", seed, "Take a smaller one."))
    share = Share.parse(shard, problem.layout.n_samples, problem.batch_size)
    path, first = share.path(output), share.samples.start
    layout = replace(problem.layout, n_samples=len(share.samples))
    parameters = json.loads(json.dumps({**problem.parameters, **share.stated()}))
    about: dict[str, Any] = {"generator": problem.name, "parameters": parameters, "seed": seed}
    if exist_ok and path.exists():
        _check_same(FieldFile(path), layout, about)
        return path
    options: dict[str, Any] = {"dtype": problem.dtype, "coordinates": problem.coordinates}
    with FieldWriter(path, layout, **about, **options) as writer:
        if share.of is None:
            copy_shards(writer, output, about)
        n_done = len(share.samples) - sum(len(missing) for missing in writer.missing)
        with one_thread(), _bar(layout, n_done, progress) as bar:
            for batch in _batches(writer.missing, first, problem.batch_size):
                end = bar.n + len(batch)
                values = problem.solve(batch, _advance(bar, end, len(batch)))
                writer.write(batch.start - first, values)
                bar.update(end - bar.n)
    return path


def sample_seed(seed: int, sample: int) -> int:
    """Return the seed of one sample of a set, 63 bits that depend only on (seed, sample)."""
    entropy = np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0]
    return int(entropy >> np.uint64(1))


def sample_generator(seed: int, sample: int) -> torch.Generator:
    """Return torch's generator of the random numbers of one sample of a set."""
    return torch.Generator().manual_seed(sample_seed(seed, sample))


def sample_rng(seed: int, sample: int) -> np.random.Generator:
    """Return numpy's generator of the random numbers of one sample of a set."""
    return np.random.default_rng([seed, sample])


def _batches(missing: Sequence[range], first: int, batch_size: int) -> Iterator[range]:
    """Yield the missing samples in batches that end at multiples of the batch size from `first`
    on.
    """
    for gap in missing:
        start, end = first + gap.start, first + gap.stop
        while start < end:
            stop = min(end, (start // batch_size + 1) * batch_size)
            yield range(start, stop)
            start = stop


def _check_same(found: FieldFile, layout: FieldLayout, about: dict[str, Any]) -> None:
    """Raise ValueError when an existing file does not hold what would be generated."""
    odd = [key for key, value in about.items() if found.about[key] != value]
    odd += [
        key
        for key in ("fields", "n_samples", "n_times", "grid_shape")
        if getattr(found.layout, key) != getattr(layout, key)
    ]
    if odd:
        rule = f"{found.path} must hold the samples asked for"
        raise ValueError(message(rule, f"another `{odd[0]}`", "Remove it, or pass another name."))


@contextmanager
def _bar(layout: FieldLayout, n_done: int, shown: bool) -> Iterator[Any]:
    """Yield a bar that counts samples, fractions allowed."""
    from tqdm import tqdm

    unit = "trajectories" if layout.n_times > 1 else "samples"
    counter = "{l_bar}{bar}| {n:.0f}/{total_fmt} " + unit + " [{elapsed}<{remaining}]"
    with tqdm(
        total=layout.n_samples,
        initial=n_done,
        bar_format=counter,
        disable=not shown,
        desc="Generating",
    ) as bar:
        yield bar


def _advance(bar: Any, end: float, size: int) -> Advance:
    """Return a function that advances the bar by a fraction of a batch, never beyond `end`."""
    return lambda share: bar.update(max(0.0, min(share * size, end - bar.n)))
