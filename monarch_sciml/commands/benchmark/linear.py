"""Structured linear layers against nn.Linear, by width and number of vectors.

Letters: n width, N vectors (samples times tokens).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from monarch_sciml._checks import message, one_of
from monarch_sciml.commands.benchmark.measure import (
    Effort,
    MeasuredRow,
    Pass,
    Work,
    compare_modules,
)
from monarch_sciml.layers import STRUCTURES, StructuredLinear
from monarch_sciml.layers.rivals import structured_options

OTHER = "torch-structured"
"""The Monarch layer of that package, a candidate where it is installed."""
LINEAR = ("Monarch", "Monarch, contiguous", "low rank", "block-diagonal", "Kronecker", "butterfly")
"""Our candidates; nn.Linear is the baseline."""
_STRUCTURE = {
    "Monarch": "monarch",
    "Monarch, contiguous": "monarch",
    "low rank": "low_rank",
    "block-diagonal": "block_diagonal",
    "Kronecker": "kronecker",
    "butterfly": "butterfly",
}


def linear_layers(
    width: int, n_blocks: int, parameters: float, names: Sequence[str] = LINEAR
) -> dict[str, nn.Module]:
    """Return square layers without bias, structured ones within a share of the parameters.

    Parameters
    ----------
    width
        n, in and out.
    n_blocks
        Blocks of the Monarch layers.
    parameters
        Largest share of the n² parameters; a butterfly takes one butterfly, its usual size.
    names
        Which of `LINEAR` and `OTHER`.
    """
    layers: dict[str, nn.Module] = {"nn.Linear": nn.Linear(width, width, bias=False)}
    for name in names:
        one_of("candidates", name, (*LINEAR, OTHER))
        if name == OTHER:
            layers[name] = _torch_structured(width, n_blocks)
            continue
        given: dict[str, Any] = {}
        if _STRUCTURE[name] == "monarch":
            given["n_blocks"] = n_blocks
        if name == "butterfly":
            given["n_butterflies"] = 1
        if name == "Monarch, contiguous":
            given["order"] = "contiguous"
        options = structured_options(_STRUCTURE[name], width, width, parameters, **given)
        if options is None:
            rule = f"`widths` must leave {name} a layer within {parameters:g} of the parameters"
            raise ValueError(message(rule, width, "Raise the width, or leave the candidate out."))
        cls: Any = STRUCTURES[_STRUCTURE[name]]
        layers[name] = cls(width, width, False, **options)
    return layers


def linear_work(width: int, n_vectors: int, n_weights: int, itemsize: int) -> dict[Pass, Work]:
    """Count the least work of a layer that multiplies by each of its numbers once.

    Its traffic is the bytes of input, output and weights. The backward pass reads the gradient of
    the output, the input and the weights, writes the gradients of input and weights, and has twice
    the operations.
    """
    io, weights = 2.0 * itemsize * n_vectors * width, float(itemsize * n_weights)
    operations = 2.0 * n_vectors * n_weights
    return {
        "forward": Work(io + weights, operations),
        "forward+backward": Work(2.5 * io + 3 * weights, 3 * operations),
    }


def benchmark_linear_case(
    width: int,
    n_vectors: int,
    *,
    n_blocks: int,
    parameters: float,
    effort: Effort,
    names: Sequence[str],
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    case: Mapping[str, object] | None = None,
) -> list[MeasuredRow]:
    """Time layers of one width on a number of vectors, with the roofline of each layer."""
    torch.manual_seed(0)
    made = linear_layers(width, n_blocks, parameters, names)
    layers = {name: layer.to(device, dtype) for name, layer in made.items()}
    x = torch.randn(n_vectors, width, device=device, dtype=dtype)
    about = {
        "width": width,
        "vectors": n_vectors,
        "blocks": n_blocks,
        "dtype": str(dtype).removeprefix("torch."),
    }
    rows = compare_modules(
        layers, [x], baseline="nn.Linear", case={**(case or {}), **about}, effort=effort
    )
    for row in rows:
        layer = layers[row["candidate"]]
        n_weights = sum(p.numel() for p in layer.parameters())
        row["n_parameters"] = n_weights
        work = linear_work(width, n_vectors, n_weights, x.element_size())[cast(Pass, row["pass"])]
        if isinstance(layer, nn.Linear | StructuredLinear) and row["candidate"] != "Kronecker":
            row["work_bytes"], row["work_operations"] = work.n_bytes, work.n_operations
    return rows


def _torch_structured(width: int, n_blocks: int) -> nn.Module:
    """Return the Monarch layer of torch-structured: `n_blocks` square blocks in both factors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has no CUDA kernels here
        try:
            from torch_structured.monarch.monarch_linear import MonarchLinear
        except ModuleNotFoundError as error:
            rule = f"the candidate {OTHER!r} needs the package torch-structured"
            remedy = "pip install torch-structured, or leave the candidate out."
            raise ModuleNotFoundError(message(rule, f"no module {error.name}", remedy)) from error
        return MonarchLinear(width, width, bias=False, nblocks=n_blocks)
