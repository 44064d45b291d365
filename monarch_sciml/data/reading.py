"""What every reader shares: one error for a file that cannot be read, and complex parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from monarch_sciml._checks import existing_file, message


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a file library raises on a bad file into one line that names the file."""
    existing_file(path)
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise  # already says what is wrong with the file
        cause = f"{type(error).__name__}: {error}".splitlines()[0][:160].rstrip(".")
        remedy = "Copy or download the file again."
        raise ValueError(message(f"{path} must be readable", cause, remedy)) from error


COMPLEX_PARTS = ("real", "imag")


def real_names(name: str, is_complex: bool) -> tuple[str, ...]:
    """Names of the real fields of an array: itself, or `name.real` and `name.imag`."""
    return tuple(f"{name}.{part}" for part in COMPLEX_PARTS) if is_complex else (name,)


def is_complex_type(dtype: np.dtype[Any]) -> bool:
    """Whether values are complex: of numpy's type or of MATLAB 7.3's pairs (real, imag)."""
    return dtype.kind == "c" or dtype.names == COMPLEX_PARTS


def real_part(array: np.ndarray, name: str) -> np.ndarray:
    """Take the part that the field `name` names (see `real_names`), in this machine's byte order.

    Other byte orders, as MATLAB or a foreign machine may write them, torch does not read.
    """
    part = name.rpartition(".")[2]
    if array.dtype.names == COMPLEX_PARTS:
        array = array[part]
    elif array.dtype.kind == "c":
        array = np.real(array) if part == "real" else np.imag(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
