"""Public names that moved, so that old configurations, run directories and imports still work."""

from __future__ import annotations

import importlib
from typing import Any

MOVED = {
    "monarch_sciml.solvers.CGSENSE": "monarch_sciml.models.CGSENSE",
    "monarch_sciml.solvers.L1Wavelet": "monarch_sciml.models.L1Wavelet",
    "monarch_sciml.data.FnoMatFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.data.GridMatFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.data.NeuralopPtFile": "monarch_sciml.data.ArrayFields",
    "monarch_sciml.physics.StoredMask": "monarch_sciml.data.StoredMask",
    "monarch_sciml.physics.sampling.StoredMask": "monarch_sciml.data.StoredMask",
    "monarch_sciml.benchmark": "monarch_sciml.commands.benchmark",
}
"""Dotted name of old -> dotted name of today."""


def moved(module: str, name: str) -> Any:
    """Return the object that a module of the package had under `name` in earlier versions.

    Parameters
    ----------
    module
        Dotted name of the module.
    name
        The attribute that it does not have.

    Raises
    ------
    AttributeError
        When the module never had an attribute of this name.
    """
    today = MOVED.get(f"{module}.{name}")
    if today is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    package, _, attribute = today.rpartition(".")
    return getattr(importlib.import_module(package), attribute)
