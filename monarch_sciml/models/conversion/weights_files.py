"""The record of the structured layers of a network in the metadata of its weights file.

Weights files carry the record, because a network that is built by its configuration may have been
converted or multiplied out afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.models.conversion.record import conversion_record, restore_conversion
from monarch_sciml.models.conversion.replacements import dense_pairs, put_pairs

STRUCTURE = "structure"
"""Key of the record in the metadata of a weights file."""


def structure_metadata(model: nn.Module) -> dict[str, str]:
    """Return the record of the structure for a weights file, empty for a dense network.

    A dense network has no record, so that files of networks without structured layers do not
    change.
    """
    record = conversion_record(model)
    return {STRUCTURE: json.dumps(record)} if record["layers"] else {}


def stored_structure(path: Path) -> dict[str, Any] | None:
    """Return the record in a weights file, or None for a dense network."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(STRUCTURE)
    except (SafetensorError, OSError):  # reading the weights raises the full error
        return None
    return None if text is None else json.loads(text)


def names_of(path: Path) -> set[str]:
    """Return the names in a weights file, none of a damaged one."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (SafetensorError, OSError):  # reading the weights raises the full error
        return set()


def match_structure(model: nn.Module, path: Path) -> bool:
    """Change a network in place to the structure of the weights that it is to load.

    Parameters
    ----------
    model
        Network of the same architecture. It may have been multiplied out after the file was
        written, or have its structured layers while the file is of the dense network.
    path
        A weights file.

    Returns
    -------
    Whether the network was changed. New layers hold no meaningful values until the weights are
    loaded.

    Raises
    ------
    ValueError
        When the network does not have the layers of the record.
    """
    stored, own = stored_structure(path), conversion_record(model)
    if json.dumps(stored) == json.dumps(own) or (stored is None and not own["layers"]):
        return False
    if own["layers"]:  # whatever optimiser there is is made anew
        put_pairs(model, dense_pairs(model))
    if stored is not None:
        restore_conversion(model, stored)
    return True


def check_structure(model: nn.Module, path: Path) -> None:
    """Raise ValueError unless the weights and the model have the same structured layers."""
    stored = (stored_structure(path) or {"layers": {}})["layers"]
    own = conversion_record(model)["layers"]
    if stored.keys() != own.keys():
        rule = "the weights must be of a network of the same structure"
        got = f"{_count(stored)} in {path}, and {_count(own)} in the network"
        remedy = "Convert the network alike: monarchize, restore_conversion or densify."
        raise ValueError(message(rule, got, remedy))


def _count(layers: Mapping[str, Any]) -> str:
    return f"{len(layers)} structured layers" if layers else "none (dense)"
