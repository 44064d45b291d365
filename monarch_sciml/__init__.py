"""Learnable Monarch transforms in place of the FFT, for neural operators and MRI reconstruction."""

from __future__ import annotations

import importlib
from typing import Any

from monarch_sciml._moved import moved

__version__ = "0.1.0"

_SUBPACKAGES = (
    "commands",
    "data",
    "evaluation",
    "kernels",
    "layers",
    "metrics",
    "models",
    "monarch",
    "physics",
    "solvers",
    "training",
    "transforms",
)


def __getattr__(name: str) -> Any:
    """Import a subpackage when it is first used, so that `import monarch_sciml` costs nothing."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"monarch_sciml.{name}")
    return moved(__name__, name)
