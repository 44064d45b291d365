"""Refuse a saved network that would take more memory or time than its weights explain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from monarch_sciml._checks import message
from monarch_sciml.training.checkpoint import WEIGHTS, find_checkpoint

SPARE_TENSORS, SPARE_BYTES = 1_000, 2**26
"""What a network may have beyond four times the tensors and bytes of its weights."""


@contextmanager
def limited_by_weights(run: Path, checkpoint: str) -> Iterator[None]:
    """Stop building a network when it outgrows the file of its weights.

    Parameters
    ----------
    run
        The run directory.
    checkpoint
        The checkpoint that is to be loaded into the network, "best" or "last". A missing or damaged
        one is left to the function that loads it.

    Raises
    ------
    ValueError
        When the network has many more or larger parameters than the file.
    """
    folder = run / "checkpoints" / checkpoint
    weights = (find_checkpoint(folder) or folder) / WEIGHTS
    try:
        with safe_open(weights, framework="pt") as file:
            most = 4 * len(file.keys()) + SPARE_TENSORS
    except (SafetensorError, OSError):
        yield
        return
    largest = 4 * weights.stat().st_size + SPARE_BYTES
    rule = f"the network of {run / 'config.yaml'} must be that of {weights}"
    remedy = "Restore the file, or train again."
    outgrown = ValueError(message(rule, "one of many more or larger parameters", remedy))
    count = size = 0

    def counted(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal count, size
        count += 1
        size += 0 if parameter is None else parameter.numel() * parameter.element_size()
        if count > most or size > largest:
            raise outgrown

    handle = register_module_parameter_registration_hook(counted)
    try:
        with _Allocations(largest, outgrown):
            yield
    finally:
        handle.remove()


class _Allocations(TorchFunctionMode):
    """Refuse new tensors of more than a number of bytes before they are allocated."""

    def __init__(self, largest: int, refused: ValueError) -> None:
        super().__init__()
        self.largest, self.refused = largest, refused

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _FACTORIES:
            stated = args[:1] if func is torch.full else [*args, (kwargs or {}).get("size")]
            nested = [size if isinstance(size, list | tuple) else (size,) for size in stated]
            sizes = [n for size in nested for n in size if isinstance(n, int) and n > 0]
            if 4 * math.prod(sizes) > self.largest:
                raise self.refused
        return func(*args, **(kwargs or {}))


_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
_FACTORIES |= {torch.arange, torch.linspace, torch.eye}
"""Functions whose whole numbers are the sizes of a new tensor."""
