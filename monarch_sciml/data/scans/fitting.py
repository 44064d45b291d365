"""Find the axes of coil maps and masks by their sizes, in any usual order."""

# Letters: s slices, M map sets, c coils, H, W matrix of k-space.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from monarch_sciml.data.array_files import open_arrays
from monarch_sciml.data.reading import ArrayFile, complex_values

Sizes = dict[str, int]
"""Sizes of axes by their letter, in the order in which they are wanted."""


def fitting_axes(
    shape: Sequence[int], sizes: Sizes, optional: Sequence[str] = ()
) -> list[str] | None:
    """Return a letter for each axis of an array, "1" for length 1, or None if no letters fit.

    The first choice that fits is taken: all letters before fewer of them, and the usual order
    before others. H always comes before W, because sizes cannot distinguish them in a square
    matrix.

    Parameters
    ----------
    shape
        Shape of the array.
    sizes
        Sizes of the axes to find, such as {"c": 8, "H": 230, "W": 180}. For M it is the least size.
    optional
        Letters of axes that may be missing because the array serves all of their entries.

    Examples
    --------
    >>> fitting_axes((230, 180, 1, 8), {"s": 3, "c": 8, "H": 230, "W": 180}, ["s"])
    ['H', 'W', '1', 'c']
    """
    long = [axis for axis, n in enumerate(shape) if n > 1]
    for letters in _choices(sizes, optional):
        if len(letters) != len(long):
            continue
        for order in permutations(letters):  # the usual one first
            placed = list(zip(order, long))
            fits = all(_fits(letter, shape[axis], sizes) for letter, axis in placed)
            if fits and not _is_transposed(order):
                found = ["1"] * len(shape)
                for letter, axis in placed:
                    found[axis] = letter
                return found
    return None


def _choices(sizes: Sizes, optional: Sequence[str]) -> Iterator[list[str]]:
    """Yield the letters that an array may have, all of them first."""
    letters = [letter for letter, n in sizes.items() if n > 1 or letter == "M"]
    droppable = [letter for letter in optional if letter in letters]
    for count in range(2 ** len(droppable)):
        dropped = {letter for i, letter in enumerate(droppable) if count >> i & 1}
        yield [letter for letter in letters if letter not in dropped]


def _fits(letter: str, n: int, sizes: Sizes) -> bool:
    return n >= sizes[letter] if letter == "M" else n == sizes[letter]


def _is_transposed(order: Sequence[str]) -> bool:
    return "H" in order and "W" in order and order.index("H") > order.index("W")


def in_order(array: np.ndarray, found: Sequence[str], letters: Sequence[str]) -> np.ndarray:
    """Return an array with its axes in the order of `letters`, with length 1 for missing ones."""
    kept = [axis for axis, letter in enumerate(found) if letter != "1"]
    array = array.reshape([array.shape[axis] for axis in kept])
    used = [found[axis] for axis in kept]
    order = [used.index(letter) for letter in letters if letter in used]
    missing = tuple(i for i, letter in enumerate(letters) if letter not in used)
    return np.expand_dims(array.transpose(order), missing)


class NamedArray:
    """Read one array of a file: the named one, one with a usual name, or the only one.

    Parameters
    ----------
    path
        A file that `open_arrays` knows.
    names
        Usual names in order of preference.
    dataset
        Name of the array. None looks for the usual names.
    """

    def __init__(self, path: Path, names: Sequence[str], dataset: str | None = None) -> None:
        self.file: ArrayFile = open_arrays(path)
        held = [name for name, shape in self.file.shapes.items() if shape]
        known = [name for name in names if name in held]
        if dataset is not None:
            self.name = self.file.find(dataset)
        elif known or len(held) == 1:
            self.name = (known or held)[0]
        else:
            self.name = ""
        self.held = held
        self.shape = self.file.shapes[self.name] if self.name else ()

    def window(self, found: Sequence[str], slices: range | None) -> np.ndarray:
        """Return the array with only some of its slices."""
        index = tuple(
            slice(slices.start, slices.stop)
            if letter == "s" and slices is not None
            else slice(None)
            for letter in found
        )
        return complex_values(self.file.window(self.name, index))
