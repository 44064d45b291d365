"""Check that a trained network can be evaluated on a data set, and say how the set differs."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from monarch_sciml._checks import message
from monarch_sciml.data.spec import FieldSpec, ScanSpec, Spec
from monarch_sciml.transforms import SineTransform

_EQUAL = ("fields", "n_steps_in", "n_fields_in", "n_fields_out", "input_only", "forcing")
_KNOWN = ("domain_extent", "dt")
"""Lengths and times: compared where both sides know them."""
ACCELERATION_WITHIN = 1.2
"""Ratio of accelerations up to which they count as the same: masks are drawn at random."""
NOISE_WITHIN = 2.0
"""Ratio of noise levels up to which they count as the same."""


def check_transfer(name: str, trained: Spec, other: Spec) -> None:
    """Raise ValueError when a data set is of another kind than the training data of a network.

    The grid may differ, and so may the number of steps to predict. Fields, steps given, boundary
    conditions (where both are known), domain and time step must agree.

    Parameters
    ----------
    name
        Name of the data set in the error message.
    trained, other
        The specification that the network was built for, and that of the data set.
    """
    if type(trained) is not type(other):
        _refuse(name, "kind", type(trained).__name__, type(other).__name__)
    if not (isinstance(trained, FieldSpec) and isinstance(other, FieldSpec)):
        return
    for key in _EQUAL:
        if getattr(trained, key) != getattr(other, key):
            _refuse(name, key, getattr(trained, key), getattr(other, key))
    if len(trained.grid_shape) != len(other.grid_shape):
        _refuse(name, "number of grid axes", len(trained.grid_shape), len(other.grid_shape))
    for ours, theirs in zip(trained.boundary, other.boundary, strict=True):
        if ours != theirs and "unknown" not in (ours, theirs):
            _refuse(name, "boundary", trained.boundary, other.boundary)
    for key in _KNOWN:
        if not _close(getattr(trained, key), getattr(other, key)):
            _refuse(name, key, getattr(trained, key), getattr(other, key))


def _close(ours: Any, theirs: Any) -> bool:
    """Return whether two numbers, or two tuples of them, agree to 1e-3, or one is unknown."""
    if ours is None or theirs is None:
        return True
    if isinstance(ours, tuple):
        return all(_close(a, b) for a, b in zip(ours, theirs, strict=True))
    return math.isclose(ours, theirs, rel_tol=1e-3)


def _refuse(name: str, key: str, expected: Any, got: Any) -> None:
    rule = f"the evaluation set {name} must have the {key} of the training data, {expected}"
    raise ValueError(message(rule, got, "Pass data of the same problem."))


def mismatch(name: str, trained: Spec, here: Spec) -> str | None:
    """Return a line that states how scans differ from those of a training, or None if they do not.

    Parameters
    ----------
    name
        Name of the network in the line.
    trained, here
        Description of the scans that the network was trained on, and of those that it is used on.
        What either does not know is not compared; fields have nothing to compare.
    """
    if not (isinstance(trained, ScanSpec) and isinstance(here, ScanSpec)):
        return None
    found = [
        _ratio("acceleration", trained.acceleration, here.acceleration, ACCELERATION_WITHIN),
        _ratio("noise", trained.noise, here.noise, NOISE_WITHIN),
    ]
    if trained.mask and here.mask and trained.mask != here.mask:
        found.append(f"mask {trained.mask}, here {here.mask}")
    if trained.n_coils != here.n_coils:
        found.append(f"coils {trained.n_coils}, here {here.n_coils}")
    differing = [part for part in found if part]
    if not differing:
        return None
    return f"{name} was trained with {'; '.join(differing)}: its images may be the worse"


def _ratio(name: str, trained: float | None, here: float | None, within: float) -> str | None:
    if not (trained and here) or abs(math.log(trained / here)) <= math.log(within):
        return None
    return f"{name} {trained:.2g}, here {here:.2g}"


def check_basis(model: nn.Module, spec: Spec) -> None:
    """Raise ValueError when a fixed sine basis meets a periodic axis.

    All of its functions vanish at the ends of the axis, where a periodic field does not. Learnable
    transforms that start as sines are free to leave them, and "unknown" is never refused.

    Parameters
    ----------
    model
        The network.
    spec
        Description of the data.
    """
    if not isinstance(spec, FieldSpec) or "periodic" not in spec.boundary:
        return
    if any(isinstance(module, SineTransform) for module in model.modules()):
        rule = "`transform` must not be 'sine' where the data are periodic"
        remedy = "Use 'fourier', or say what the boundary is by the data's option `boundary`."
        raise ValueError(message(rule, f"the boundary {', '.join(spec.boundary)}", remedy))
