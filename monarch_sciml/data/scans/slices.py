"""The slices of a volume that a reader reads."""

from __future__ import annotations

from collections.abc import Callable

Slices = slice | Callable[[int], slice] | None
"""A slice object, a function from the number of slices to one, or None for all."""


def resolve(slices: Slices, n_slices: int) -> slice:
    """Return the slice object that `slices` stands for in a volume of `n_slices`.

    Examples
    --------
    >>> resolve(None, 5), resolve(middle, 5)
    (slice(None, None, None), slice(2, 3, None))
    """
    if slices is None:
        return slice(None)
    return slices(n_slices) if callable(slices) else slices


def numbers(slices: Slices, n_slices: int) -> range:
    """Return the numbers of the slices to read."""
    return range(*resolve(slices, n_slices).indices(n_slices))


def middle(n_slices: int) -> slice:
    """Return the slice object of the slice in the middle."""
    return slice(n_slices // 2, n_slices // 2 + 1)
