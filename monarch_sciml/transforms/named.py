"""The list of transforms that networks know by name.

A new transform is one class, one entry here and its tests: layers, networks, conversions and the
command line read this list.

Letters: n grid size, K modes, d axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from monarch_sciml._checks import message, one_of
from monarch_sciml.transforms.base import Transform
from monarch_sciml.transforms.basis import AxisSpec
from monarch_sciml.transforms.corrected import CorrectedTransform
from monarch_sciml.transforms.cosine import CosineTransform, SineTransform
from monarch_sciml.transforms.dense import DenseTransform
from monarch_sciml.transforms.fourier import FixedTransform, FourierTransform
from monarch_sciml.transforms.given import PODTransform
from monarch_sciml.transforms.monarch import MonarchTransform
from monarch_sciml.transforms.separable import SeparableTransform

TransformName = Literal["fourier", "cosine", "sine", "monarch", "dense", "corrected", "pod"]
"""Names for fields."""

ImageTransformName = Literal["fourier", "monarch", "dense", "corrected"]
"""Names for images, whose transform is the centred complex DFT or starts there."""


@dataclass(frozen=True)
class TransformOptions:
    """Hold the arguments that only some transforms have; each transform reads its own.

    Attributes
    ----------
    n_copies
        Number of matrices: one per channel, or 1 for all channels together.
    rank, order
        Rank and number of factors of a `MonarchTransform`. `CorrectedTransform` reads the rank too.
    grid_blocks, mode_blocks
        Numbers of patches and of blocks of modes of a `CorrectedTransform`.
    """

    n_copies: int = 1
    rank: int = 1
    order: int = 2
    grid_blocks: int | Sequence[int] | None = None
    mode_blocks: int | Sequence[int] | None = None


@dataclass(frozen=True)
class NamedTransform:
    """Describe one entry of the list.

    Attributes
    ----------
    build
        Function that makes the transform of one axis.
    family
        Family of a fixed transform, "dft", "dct" or "dst". None for a learnable one, which can
        start from any of them.
    over_grid
        Function that makes one joint transform of several axes. None when there is no such
        transform.
    real
        Whether the matrix is real whatever `init` is.
    """

    build: Callable[[AxisSpec, TransformOptions], Transform]
    family: str | None = None
    over_grid: Callable[[Sequence[AxisSpec], TransformOptions], Transform] | None = None
    real: bool = False


def fixed_transform(spec: AxisSpec) -> Transform:
    """Return the fixed transform that a description stands for.

    Raises
    ------
    ValueError
        When there is none, as for "random".
    """
    name = FIXED_NAMES[one_of("init", spec.family, tuple(FIXED_NAMES))]
    return TRANSFORMS[name].build(spec, TransformOptions())


def axis_spec(
    name: TransformName,
    init: str,
    n: int,
    n_modes: int | None,
    real_input: bool = False,
    centered: bool = False,
    norm: str = "ortho",
) -> AxisSpec:
    """Return the description of the transform of one axis.

    Parameters
    ----------
    name
        One of `TRANSFORMS`.
    init
        Name of the transform that a learnable one starts from. A fixed transform takes only its
        direction from it: "dft" is from the grid to modes, "idft" from modes to the grid.
    n, n_modes, real_input, centered, norm
        The arguments of `FourierTransform` with the same meaning.
    """
    one_of("transform", name, tuple(TRANSFORMS))
    family = TRANSFORMS[name].family
    if family is not None:
        init = ("i" if init.startswith("i") else "") + family
    return AxisSpec.create(init, n, n_modes, real_input=real_input, centered=centered, norm=norm)


def _fixed(cls: type[FixedTransform]) -> Callable[[AxisSpec, TransformOptions], Transform]:
    return lambda spec, _: cls.from_spec(spec)


@contextmanager
def _words_of_layers() -> Iterator[None]:
    """Name options as layers and networks do: a layer has a `rank` of its weights too."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        for name in ("rank", "order"):
            text = text.replace(f"`{name}`", f"`transform_{name}`")
        raise type(error)(text) from error


@_words_of_layers()
def _monarch(spec: AxisSpec, options: TransformOptions) -> Transform:
    return MonarchTransform(
        spec.n,
        spec.n_modes,
        spec.init,  # type: ignore[arg-type]
        spec.real_input,
        spec.centered,
        spec.norm,  # type: ignore[arg-type]
        rank=options.rank,
        n_copies=options.n_copies,
        order=options.order,
    )


def _dense(spec: AxisSpec, options: TransformOptions) -> Transform:
    return DenseTransform(
        spec.n,
        spec.n_modes,
        spec.init,  # type: ignore[arg-type]
        spec.real_input,
        spec.centered,
        spec.norm,  # type: ignore[arg-type]
        n_copies=options.n_copies,
    )


def _check_shared(options: TransformOptions) -> None:
    if options.n_copies > 1:
        rule = "a corrected transform must be one for all channels"
        got = f"{options.n_copies} copies"
        raise ValueError(message(rule, got, "Use transform='monarch', or share it."))


@_words_of_layers()
def _corrected(spec: AxisSpec, options: TransformOptions) -> CorrectedTransform:
    _check_shared(options)
    blocks = options.grid_blocks, options.mode_blocks
    return CorrectedTransform(fixed_transform(spec), options.rank, *blocks)


def _pod(specs: Sequence[AxisSpec], _: TransformOptions) -> PODTransform:
    """Make one POD basis of the whole grid, with as many modes as the axes have together."""
    n_modes = math.prod(spec.n_modes for spec in specs)
    grid = [spec.n for spec in specs]
    return PODTransform(grid, n_modes, inverse=specs[0].synthesis)


@_words_of_layers()
def _corrected_over_grid(
    specs: Sequence[AxisSpec], options: TransformOptions
) -> CorrectedTransform:
    if len(specs) == 1:
        return _corrected(specs[0], options)
    _check_shared(options)
    start = SeparableTransform([fixed_transform(spec) for spec in specs])
    return CorrectedTransform(start, options.rank, options.grid_blocks, options.mode_blocks)


TRANSFORMS: dict[TransformName, NamedTransform] = {
    "fourier": NamedTransform(_fixed(FourierTransform), "dft"),
    "cosine": NamedTransform(_fixed(CosineTransform), "dct"),
    "sine": NamedTransform(_fixed(SineTransform), "dst"),
    "monarch": NamedTransform(_monarch),
    "dense": NamedTransform(_dense),
    "corrected": NamedTransform(_corrected, over_grid=_corrected_over_grid),
    "pod": NamedTransform(lambda spec, options: _pod([spec], options), over_grid=_pod, real=True),
}
FIXED_NAMES: dict[str, TransformName] = {
    named.family: name for name, named in TRANSFORMS.items() if named.family
}
"""Name of the fixed transform of each family."""
