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


_FUNCTIONS = dict.fromkeys(
    ("load_run", "load_results"), "monarch_sciml.commands.comparison.loaded_run"
)
"""Functions of the package itself, and the module that holds each."""


def __getattr__(name: str) -> Any:
    """Import a subpackage when it is first used, so that `import monarch_sciml` costs nothing."""
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"monarch_sciml.{name}")
    return moved(__name__, name)
