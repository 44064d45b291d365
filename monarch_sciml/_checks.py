"""Input checks shared by every module: one wording for every error (rule, value got, remedy)."""

from __future__ import annotations

import importlib
import math
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def message(rule: str, got: object, remedy: str) -> str:
    """Return one line that states the rule, the value got and the remedy."""
    return f"{rule}, got {got}. {remedy}"


class UsageError(ValueError):
    """Report an option that cannot be used: the command line ends with status 2, not 1."""


class UsageTypeError(UsageError, TypeError):
    """Report an option of the wrong type."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn the errors of checked options into `UsageError`, with the same words."""
    try:
        yield
    except UsageError:
        raise
    except TypeError as error:
        raise UsageTypeError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


_MARKS = {*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that change the direction of what follows: text could look like other text."""


def printable(text: str, *, keep: str = "") -> str:
    """Return text with escape codes and other control characters written out.

    Parameters
    ----------
    text
        Text that may hold names and values from a file.
    keep
        Control characters that are not changed.
    """
    return "".join(
        c
        if c in keep or not (unicodedata.category(c) in ("Cc", "Cs") or ord(c) in _MARKS)
        else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def positive_int(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as int; TypeError when it is no whole number, ValueError below `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(message(f"`{name}` must be an int", repr(value), "Pass a whole number."))
    if int(value) < minimum:
        raise ValueError(message(f"`{name}` must be at least {minimum}", value, f"Raise `{name}`."))
    return int(value)


def positive_number(name: str, value: float, *, or_zero: bool = False) -> float:
    """Return `value` as float; TypeError when it is no number, ValueError unless it is finite and
    positive (or zero).
    """
    if not hasattr(value, "__float__"):
        raise TypeError(message(f"`{name}` must be a number", repr(value), "Pass a number."))
    if not (0 < value < math.inf or (or_zero and value == 0)):
        rule = f"`{name}` must be {'zero or ' if or_zero else ''}positive and finite"
        raise ValueError(message(rule, value, f"Change `{name}`."))
    return float(value)


def one_of(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Return `value`; ValueError when it is not among `choices`."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(message(f"`{name}` must be one of {known}", repr(value), "Pick one."))
    return value


def finite(name: str, value: torch.Tensor, *, remedy: str) -> torch.Tensor:
    """Return `value`; ValueError with the count when it holds NaN or infinity."""
    bad = value.numel() - int(torch.isfinite(value).sum())
    if bad:
        rule = f"`{name}` must be finite"
        raise ValueError(message(rule, f"{bad} NaN or infinite values of {value.numel()}", remedy))
    return value


def inexact(name: str, value: torch.Tensor) -> torch.Tensor:
    """Return `value`; ValueError when it holds integers or truth values."""
    if not (value.is_floating_point() or value.is_complex()):
        rule = f"`{name}` must hold floating-point or complex numbers"
        raise ValueError(message(rule, value.dtype, "Convert it by `.float()`."))
    return value


def present_device(device: str) -> torch.device:
    """Return the device of this name; ValueError when it is a CUDA device and there is none."""
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        rule = "`device` must be there"
        raise ValueError(message(rule, f"{device!r} and no CUDA device", "Pass cpu."))
    return place


def optional_package(name: str, purpose: str, extra: str) -> Any:
    """Return a package that not every installation has; ValueError with the command to install it.

    Parameters
    ----------
    name
        Name of the package, or of a module in it.
    purpose
        Task that needs the package, such as "writing NIfTI".
    extra
        The optional dependencies of this package that it is among.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"{purpose} needs the package {name.partition('.')[0]}"
        remedy = f'Install it: pip install "monarch_sciml[{extra}]".'
        raise ValueError(message(rule, str(error), remedy)) from error
