"""The list of transforms that networks know by name.

A new transform is one class, one entry here and its tests: layers, networks, conversions and the
command line read this list.

Letters: n grid size, K modes, d axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
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

    def of_axes(self, n_axes: int) -> list[TransformOptions]:
        """Return the options of each of d axes, whose numbers of blocks may differ.

        Raises
        ------
        ValueError
            When there are other numbers of blocks than one or d.
        """
        counts = {}
        for name in ("grid_blocks", "mode_blocks"):
            value = getattr(self, name)
            several = list(value) if isinstance(value, tuple | list) else [value] * n_axes
            if len(several) != n_axes:
                rule = f"`{name}` must be one number of blocks, or {n_axes} of them"
                remedy = "Give one number of blocks per axis."
                raise ValueError(message(rule, tuple(several), remedy))
            counts[name] = several
        pairs = zip(*counts.values())
        return [replace(self, grid_blocks=grid, mode_blocks=modes) for grid, modes in pairs]


@dataclass(frozen=True)
class NamedTransform:
    """Describe one entry of the list.

    Attributes
    ----------
    build
        Function that makes the transform of one axis.
    family
        Family of a fixed transform, "dft", "dct", "dst" or "pod". None for a learnable one, which
        can start from any of them; from "pod" only a corrected one.
    over_grid
        Function that makes one joint transform of several axes. None when there is no such
        transform.
    options
        Names of the attributes of `TransformOptions` that the transform has. Empty for a transform
        that is not learned.
    """

    build: Callable[[AxisSpec, TransformOptions], Transform]
    family: str | None = None
    over_grid: Callable[[Sequence[AxisSpec], TransformOptions], Transform] | None = None
    options: tuple[str, ...] = ()


def check_options(
    name: TransformName,
    options: TransformOptions,
    *,
    init: str = "dft",
    per_axis: bool = False,
    copies: str = "per_channel",
) -> None:
    """Raise ValueError when an option is given that the transform of this name does not have.

    Parameters
    ----------
    name
        One of `TRANSFORMS`.
    options, init, per_axis
        The arguments of a layer or network. Those that keep their default are not given.
    copies
        Name that the layer or network has for `n_copies`.
    """
    words = {"n_copies": copies, "rank": "transform_rank", "order": "transform_order"}
    given = [f.name for f in fields(options) if getattr(options, f.name) != f.default]
    refused = [
        (words.get(option, option), [n for n, t in TRANSFORMS.items() if option in t.options])
        for option in given
        if option not in TRANSFORMS[name].options
    ]
    if init not in ("dft", TRANSFORMS[name].family) and not TRANSFORMS[name].options:
        refused.append(("init", [n for n, named in TRANSFORMS.items() if named.options]))
    if per_axis and "grid_blocks" not in TRANSFORMS[name].options:
        refused.append(("per_axis", ["corrected"]))
    if init == "pod" and name not in ("pod", "corrected"):
        rule = "init='pod' is an option of transform='corrected'"
        raise ValueError(message(rule, f"transform={name!r}", "Set it, or choose another `init`."))
    if init == "pod" and per_axis:
        rule = "init='pod' is a basis of the whole grid, which has no axes"
        raise ValueError(message(rule, "per_axis=True", "Leave `per_axis` out."))
    for option, names in refused:
        rule = f"`{option}` is an option of transform={' or '.join(map(repr, names))}"
        raise ValueError(message(rule, f"transform={name!r}", f"Leave `{option}` out."))


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
    if init in ("pod", "ipod"):  # its rows come from data; a Fourier basis has the same sizes
        spec = axis_spec("fourier", init, n, n_modes, norm=norm)
        return replace(spec, family="pod")
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


@_words_of_layers()
def _corrected(spec: AxisSpec, options: TransformOptions) -> CorrectedTransform:
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
    start: PODTransform | SeparableTransform
    if specs[0].family == "pod":
        start = _pod(specs, options)
    else:
        start = SeparableTransform([fixed_transform(spec) for spec in specs])
    return CorrectedTransform(start, options.rank, options.grid_blocks, options.mode_blocks)


TRANSFORMS: dict[TransformName, NamedTransform] = {
    "fourier": NamedTransform(_fixed(FourierTransform), "dft"),
    "cosine": NamedTransform(_fixed(CosineTransform), "dct"),
    "sine": NamedTransform(_fixed(SineTransform), "dst"),
    "monarch": NamedTransform(_monarch, options=("n_copies", "rank", "order")),
    "dense": NamedTransform(_dense, options=("n_copies",)),
    "corrected": NamedTransform(
        _corrected,
        over_grid=_corrected_over_grid,
        options=("rank", "grid_blocks", "mode_blocks"),
    ),
    "pod": NamedTransform(lambda spec, options: _pod([spec], options), "pod", over_grid=_pod),
}
FIXED_NAMES: dict[str, TransformName] = {
    named.family: name for name, named in TRANSFORMS.items() if named.family
}
"""Name of the fixed transform of each family."""
