"""Read the tensors and arrays of a .pt file without running any code in it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml._memory import check_memory
from monarch_sciml._reading import reading
from monarch_sciml.data.reading import ArrayFile, Index

_SHORT = (torch.bfloat16, torch.float16)


class TorchArrays(ArrayFile):
    """Read the tensors and NumPy arrays of a .pt file: of a dict, also nested, or a lone tensor.

    A single tensor has the name `u`; those of a list or tuple are numbered.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is damaged, holds objects of other classes (it is loaded with weights_only=True), or
        no tensors, or when it is of torch before 1.6 and larger than the free memory.

    Notes
    -----
    The tensors are mapped into memory, not copied: only the windows asked for are read (a file of
    torch before 1.6 is read whole). Values of 16 bits are read as float32.
    """

    container = "torch .pt"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Tensor] | None = None
        held = self._values
        if not held:
            rule = f"{path} must hold tensors or arrays, by name in a dict"
            remedy = "Save one with torch.save({'x': x, 'y': y}, 'set.pt')."
            raise ValueError(message(rule, self._content, remedy))
        self.shapes = {name: tuple(value.shape) for name, value in held.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # a spawned worker maps the file itself

    @property
    def _values(self) -> dict[str, Tensor]:
        if self._kept is None:
            content = _load(self.path)
            self._kept = dict(_tensors("", content))
            self._content = type(content).__name__
            if isinstance(content, dict):
                self._content = f"a dict of {', '.join(map(str, content))}"[:160]
        return self._kept

    def dtype(self, name: str) -> np.dtype[Any]:
        """Type of the values of an array, as they are read."""
        value = self._values[name].new_empty(0)
        return (value.float() if value.dtype in _SHORT else value).numpy().dtype

    def window(self, name: str, index: Index = ()) -> np.ndarray:
        """Read part of an array."""
        part = self._values[name][index]
        return (part.float() if part.dtype in _SHORT else part.resolve_conj()).numpy()


def _load(path: Path) -> Any:
    """Load a file without running its code, mapped into memory if its format allows."""
    with path.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    if not is_zip:
        remedy = "Save it again, torch.save(torch.load(path), path): newer files are read in parts."
        check_memory(f"the content of {path}", path.stat().st_size, remedy=remedy)
    try:
        with reading(path), torch.serialization.safe_globals(_STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except ValueError as error:
        if isinstance(error.__cause__, _NoNumbersError):
            rule = f"{path} must hold tensors or arrays of numbers"
            remedy = "Keep those alone in it, and save the others elsewhere."
            raise ValueError(message(rule, error.__cause__, remedy)) from error
        found = re.search(r"GLOBAL (\S+) was not", str(error.__cause__))
        if not isinstance(error.__cause__, pickle.UnpicklingError) or found is None:
            raise
        rule = f"{path} must hold tensors or arrays alone: nothing in it is run"
        example = "torch.save({'x': x, 'y': y}, 'set.pt')"
        if found[1].endswith("TensorDataset"):
            example = "x, y = loaded.tensors; " + example
        remedy = f"Load it with weights_only=False if you trust it, and save its tensors: {example}"
        raise ValueError(message(rule, f"a {found[1]}", remedy)) from error


class _NoNumbersError(ValueError):
    """Report an array of text or objects."""


class _NumpyType:
    """The type of an array in a pickle. numpy.dtype itself crashes on states that do not fit it."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufc]\d{1,2}", code):
            raise _NoNumbersError(f"an array of {str(code)[:20]!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or state[1:2] not in (("<",), (">",), ("=",), ("|",)):
            raise ValueError("an array whose type is damaged")
        self.dtype = self.dtype.newbyteorder(state[1])


class _NumpyArray:
    """An array in a pickle, of numbers; `values` when it is complete."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple(shape), _NumpyType() as kind, by_columns, bytes(content)):
                flat = np.frombuffer(content, kind.dtype)
                self.values = flat.reshape(shape, order="F" if by_columns else "C").copy()
            case _:
                raise ValueError("an array whose parts do not fit together")


_NUMPY = {
    "numpy._core.multiarray._reconstruct": _NumpyArray,
    "numpy.core.multiarray._reconstruct": _NumpyArray,  # before NumPy 2
    "numpy.ndarray": _NumpyArray,
    "numpy.dtype": _NumpyType,
}
"""What a pickled NumPy array consists of, and what is made in its place."""
_STAND_INS: list[Any] = [(made, name) for name, made in _NUMPY.items()]


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors and arrays of numbers inside a value, with the path to each."""
    if isinstance(value, _NumpyArray) and value.values is not None:
        values = value.values
        value = torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
    if isinstance(value, Tensor) and value.layout == torch.strided:
        yield name or "u", value.detach()
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _tensors(f"{name}.{key}".strip("."), member)
    elif isinstance(value, list | tuple):
        for place, member in enumerate(value):
            yield from _tensors(f"{name}.{place}".strip("."), member)
